#!/usr/bin/env bash
# Fills file systems of 1 GiB to the last byte and sees that a store on them compacts, resumes and
# loses nothing (examples/full_disk.rs): tests/full-disk.sh [ext4] [xfs] [btrfs] [tmpfs]
# Needs root, loop devices and mkfs.*. A file system that can't be made here is passed over, and named
# at the end; without ext4 the test fails. Without arguments all of them. Images go below
# KOGIA_FULL_DIR (default: a temporary directory), 1 GiB at a time, and nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
kinds=("$@")
((${#kinds[@]})) || kinds=(ext4 xfs btrfs tmpfs)
ran=() passed_over=() failed=()

work=$(mktemp -d "${KOGIA_FULL_DIR:-${TMPDIR:-/tmp}}/kogia-full.XXXXXX")
image=$work/image
mount_point=$work/mount
mkdir "$mount_point"

leave() {
    if mountpoint -q "$mount_point"; then
        umount "$mount_point" || umount -l "$mount_point"
    fi
    rm -f "$image"
}
trap 'leave; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM

# Mounts an empty file system of a kind; fails where that is not possible here.
enter() {
    local kind=$1
    if [[ $kind == tmpfs ]]; then
        mount -t tmpfs -o size=1g kogia-full "$mount_point"
    else
        command -v "mkfs.$kind" >/dev/null || { echo "mkfs.$kind is not installed"; return 1; }
        truncate -s 1G "$image"
        local options=(-q -f)
        # Without blocks that only root may use: when it is full, nobody has room.
        [[ $kind == ext4 ]] && options=(-q -F -m 0)
        "mkfs.$kind" "${options[@]}" "$image" >/dev/null
        mount -o loop "$image" "$mount_point"
    fi
    # Nothing else is ever filled up.
    mountpoint -q "$mount_point"
}

"$cargo" build --release --locked --example full_disk
program=${CARGO_TARGET_DIR:-target}/release/examples/full_disk

for kind in "${kinds[@]}"; do
    for value_bytes in 1024 65536; do
        for way in deleted overwritten; do
            what="$kind, values of $value_bytes bytes, half of them $way"
            # Each in a file system of its own.
            if ! enter "$kind"; then
                leave
                passed_over+=("$what")
                continue
            fi
            echo "$what"
            if timeout 600 "$program" "$mount_point" "$value_bytes" "$way"; then
                ran+=("$what")
            else
                failed+=("$what")
            fi
            leave
        done
    done
done

for what in "${ran[@]}"; do echo "passed: $what"; done
for what in "${passed_over[@]}"; do echo "PASSED OVER, it can't be made here: $what"; done
for what in "${failed[@]}"; do echo "FAILED: $what"; done
((${#failed[@]} == 0)) || exit 1
for what in "${passed_over[@]}"; do
    [[ $what != ext4* ]] || exit 1
done
