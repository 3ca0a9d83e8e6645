#!/usr/bin/env bash
# Makes what four cameras would send: tools/demo/media.sh DIR
# Each camera leaves segments of two seconds of H.264 (two cameras MPEG-TS, two fragmented MP4)
# and a JPEG thumbnail for every second. Key frames come twice a second, so that a player can
# begin in the middle of a segment; the noise of a cheap sensor keeps the files from being small.
set -euo pipefail

readonly dir=$1 length_s=${DEMO_SECONDS:-40}

ts_segments() {
    echo "-f segment -segment_time 2 -segment_format mpegts $1/%04d.ts"
}

mp4_segments() {
    echo "-f hls -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4" \
        "-hls_segment_filename $1/%04d.m4s $1/index.m3u8"
}

# camera NAME PICTURE SEGMENTS
camera() {
    mkdir -p "$1/video" "$1/thumbnails"
    # shellcheck disable=SC2046 # The options of the segments are words, and their paths have no spaces.
    ffmpeg -nostdin -loglevel error -threads 1 -filter_threads 1 -filter_complex_threads 1 \
        -filter_complex "$2,noise=alls=14:allf=t,format=yuv420p,split[video][still];
            [still]fps=1,scale=160:-2[thumbnail]" \
        -map '[video]' -t "$length_s" -c:v libx264 -preset ultrafast -threads 1 -crf 29 -g 12 \
        $("$3" "$1/video") \
        -map '[thumbnail]' -t "$length_s" "$1/thumbnails/%04d.jpg"
}

cd "$dir"
pids=()
camera entrance "testsrc2=size=640x360:rate=25" ts_segments & pids+=($!)
camera garage "mandelbrot=size=640x360:rate=25:maxiter=200" ts_segments & pids+=($!)
camera garden "gradients=size=640x360:rate=25" mp4_segments & pids+=($!)
camera street "smptehdbars=size=640x360:rate=25" mp4_segments & pids+=($!)
for pid in "${pids[@]}"; do
    wait "$pid"
done
