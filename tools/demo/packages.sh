#!/usr/bin/env bash
# Installs those of the named Debian packages that are missing: tools/demo/packages.sh g++ ffmpeg
# Without root or sudo, or on another system, it says what is needed and fails.
set -euo pipefail

is_there() {
    case $1 in
        g++) command -v g++ ;;
        ffmpeg) command -v ffmpeg && command -v ffprobe ;;
        libclang-dev) [[ -n ${LIBCLANG_PATH:-} ]] || is_installed "$1" || has_llvm_config ;;
        python3-venv) python3 -c 'import ensurepip, venv' ;;
        *) is_installed "$1" ;;
    esac >/dev/null 2>&1
}

is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1") == installed ]]
}

has_llvm_config() {
    compgen -G "$(llvm-config --libdir)/libclang*.so*"
}

missing=()
for package in "$@"; do
    is_there "$package" || missing+=("$package")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID != 0)); then
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! command -v sudo >/dev/null; }; then
    echo "Missing: ${missing[*]}. On Debian, as root:" >&2
    echo "    apt-get install ${missing[*]}" >&2
    exit 1
fi

echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
