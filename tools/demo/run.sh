#!/usr/bin/env bash
# The demo: tools/demo/run.sh KOGIA [MEDIA]
#
# Stores a directory of media over two disk directories, kills the import twice in the middle
# with SIGKILL, and checks each time that all that was acknowledged is there, byte for byte.
# Without MEDIA the media are made first. Everything happens in a temporary directory, below
# TMPDIR if that is set, which needs room for three times the media and goes at the end.
set -euo pipefail

readonly kogia=$1 own_media=${2:-} kills=2 jobs=8
demo=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${TMPDIR:-target}"
work=$(mktemp -d "$(cd "${TMPDIR:-target}" && pwd)/demo.XXXXXX")
readonly demo work
readonly store=$work/store acks=$work/acks out=$work/out
media=$work/media
importer=
table=()
row_began_ms=$((${EPOCHREALTIME/[.,]/} / 1000))

main() {
    step "The media"
    get_media
    local files bytes
    files=$(find "$media" -type f -printf . | wc -c)
    bytes=$(du --apparent-size --block-size=1 --summarize "$media" | cut -f1)
    ((files >= 20)) || die "$files files are too few: an import of them cannot be killed in the middle"
    row "media" "$files files" "$((bytes / 1000000)) MB"

    step "A store on two disks"
    "$kogia" init "$store" --disk "$work/disk-a" --disk "$work/disk-b"

    local kill
    for ((kill = 1; kill <= kills; kill++)); do
        step "Import, killed in the middle ($kill of $kills)"
        import_until_killed "$((files * kill / (kills + 1)))" "$files"
        check_acknowledged "$kill"
    done

    step "Import of the rest"
    "$kogia" import "$store" "$media" --jobs "$jobs" --acks "$acks"
    row "import, finished" "$(acknowledged_count) acknowledged" "the others were there"

    step "Check of everything"
    "$kogia" verify "$store"
    check_everything "$files"

    step "The store as a tree"
    show_tree

    step "A range out of the middle of an object"
    play_range

    step "What was done"
    printf '  %-28s %-24s %-26s %8s\n' "${table[@]}"
}

step() {
    printf '\n== %s\n' "$1"
}

# Adds a row to the table, with the time since the last one.
row() {
    local now_ms=$((${EPOCHREALTIME/[.,]/} / 1000))
    local ms=$((now_ms - row_began_ms))
    table+=("$1" "$2" "$3" "$((ms / 1000)).$((ms % 1000 / 100)) s")
    row_began_ms=$now_ms
}

die() {
    echo "demo: $*" >&2
    exit 1
}

clean_up() {
    if [[ -n $importer ]]; then
        kill -KILL "$importer" 2>/dev/null || true
    fi
    rm -rf "$work"
}

get_media() {
    if [[ -n $own_media ]]; then
        media=$(cd "$own_media" && pwd)
    else
        mkdir "$media"
        "$demo/media.sh" "$media"
    fi
    echo "$media"
}

acknowledged_count() {
    if [[ -e $acks ]]; then wc -l <"$acks"; else echo 0; fi
}

# import_until_killed ACKNOWLEDGED FILES: starts an import and kills it once so many files are
# acknowledged. A machine may be too fast for that and finish first: then the store begins anew,
# and the kill comes earlier.
import_until_killed() {
    local wanted=$1 files=$2 before try
    for try in 1 2 3 4 5; do
        before=$(acknowledged_count)
        "$kogia" import "$store" "$media" --jobs "$jobs" --acks "$acks" &
        importer=$!
        while (($(acknowledged_count) < wanted)) && kill -0 "$importer" 2>/dev/null; do
            sleep 0.002
        done
        kill -KILL "$importer" 2>/dev/null || true
        if ! wait "$importer" 2>/dev/null && (($(acknowledged_count) < files)); then
            importer=
            echo "killed when $(acknowledged_count) of $files files were acknowledged"
            row "import, killed" "$(acknowledged_count) acknowledged" "$before of them before"
            return
        fi
        importer=
        echo "too fast to be killed in the middle: once more"
        wanted=$((wanted / 4 + 1))
        rm -rf "$store" "$work/disk-a" "$work/disk-b" "$acks"
        "$kogia" init "$store" --disk "$work/disk-a" --disk "$work/disk-b" --quiet >/dev/null
    done
    die "the import could not be killed in the middle"
}

# check_acknowledged KILL: opens the store, which recovers it, and compares each acknowledged
# object with its source. A last line without its end is no acknowledgement.
check_acknowledged() {
    local objects
    objects=$("$kogia" ls "$store" | wc -l)
    row "reopened and recovered" "$objects objects" "$(acknowledged_count) acknowledged"
    "$kogia" export "$store" "$out"
    head --lines="$(acknowledged_count)" "$acks" >"$work/acknowledged"
    while IFS= read -r key; do
        printf '%b\0' "$key"
    done <"$work/acknowledged" >"$work/acknowledged-files"
    same_as_source "$work/acknowledged-files"
    echo "all $(acknowledged_count) acknowledged objects have the SHA-256 of their sources"
    row "checked by SHA-256" "$(acknowledged_count) acknowledged" "all there, all the same"
}

check_everything() {
    local files=$1 objects
    row "verified" "every checksum" "every cross-reference"
    objects=$("$kogia" ls "$store" | wc -l)
    ((objects == files)) || die "$objects objects, but $files files"
    "$kogia" export "$store" "$out"
    (cd "$media" && find . -type f -print0) >"$work/all-files"
    same_as_source "$work/all-files"
    echo "all $files objects have the SHA-256 of their sources"
    row "checked by SHA-256" "$objects objects" "all there, all the same"
}

# same_as_source LIST: compares exported files, named with a NUL behind each, with their sources.
same_as_source() {
    (cd "$media" && xargs --null --no-run-if-empty sha256sum --) <"$1" >"$work/sums"
    if [[ -s $work/sums ]]; then
        (cd "$out" && sha256sum --quiet --check "$work/sums") || die "the store gave wrong bytes"
    fi
}

# The first lines of the tree, and the last with the totals.
show_tree() {
    local lines shown=24
    mapfile -t lines < <("$kogia" ls "$store" --tree --long)
    printf '%s\n' "${lines[@]:0:shown}"
    if ((${#lines[@]} > shown + 4)); then
        echo "... $((${#lines[@]} - shown - 4)) more lines ..."
        shown=$((${#lines[@]} - 4))
    fi
    printf '%s\n' "${lines[@]:shown}"
}

# Plays the middle third of the first object from which a player can make sense of that: streams
# such as MPEG-TS, of which a packet has 188 bytes.
play_range() {
    local key len packets range found
    while IFS= read -r key; do
        len=$("$kogia" head "$store" "$key" --json | sed 's/.*"len":\([0-9]*\).*/\1/')
        packets=$((len / 188 / 3))
        ((packets)) || continue
        range=$((packets * 188))-$((packets * 2 * 188 - 1))
        found=$("$kogia" get "$store" --range "$range" -- "$key" | probe) || continue
        [[ -n $found ]] || continue
        found=${found%%$'\n'*}
        echo "$key, bytes $range of $len: $found frames"
        row "played a range" "$key" "$found frames"
        return
    done < <(candidates)
    [[ -n $own_media ]] || die "no range of an object could be played"
    echo "none of the media can be played from its middle"
    row "played a range" "no" "no such media"
}

candidates() {
    local keys
    keys=$("$kogia" ls "$store")
    grep --max-count=20 '[.]ts$' <<<"$keys" || true
    grep --max-count=20 --invert-match '[.]ts$' <<<"$keys" || true
}

# Codec, width, height and number of frames of the first stream of pictures.
probe() {
    ffprobe -loglevel quiet -count_frames -select_streams v:0 -of csv=p=0:nk=1 \
        -show_entries stream=codec_name,width,height,nb_read_frames -
}

trap clean_up EXIT
main
