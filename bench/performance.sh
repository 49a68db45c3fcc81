#!/bin/sh
# Makes docs/performance.md: each table under the command that made it. Run it on a machine that does nothing else.
# Usage: bench/performance.sh BUILD MODEL... >docs/performance.md
# Environment: THREADS (2), SCALING (the models of the scaling table; all), ISAS (of the oneDNN tables; the best alone),
# REPEATS (30), ROUNDS (3), CACHE (scale cache folder; a fresh one).
# A part whose program or package is not there says so: 'make bench/onednn' needs libdnnl-dev, bench/compare needs
# 'npm install --ignore-scripts' in bench/ort.
set -eu
build=$1
shift
here=$(dirname "$0")
threads=${THREADS:-2} repeats=${REPEATS:-30}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cache=${CACHE:-$out/cache}
quantd=$build/quantd

heading() {
    printf '\n## %s\n\n%s\n\n' "$1" "$2"
}

echo "# Performance"
echo
echo "Made by \`bench/performance.sh build MODEL... >docs/performance.md\` on: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1),"
echo "$(getconf _NPROCESSORS_ONLN) cores, $("$quantd" --version). Times are best and median of $repeats runs; whatever is compared ran in turn. The networks of"
echo "torchvision come from \`bench/torchvision/export.py\` (random weights, 224 px)."

heading "Whole networks" "\`quantd bench MODEL --batch N --threads $threads\`: from the picture's bytes to the scores. The peak is the tier's multiply-accumulates in registers."
echo "| network | batch | ms per image | median | GMAC/s | of the peak | fp32 steps and conversions | loaded from cache, s |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for model in "$@"; do
    "$quantd" inspect "$model" --cache "$cache" >/dev/null 2>&1 || continue # so that what follows loads from the cache
    for batch in 1 8; do
        "$quantd" bench "$model" --json --batch "$batch" --threads "$threads" --repeats "$repeats" --cache "$cache" 2>/dev/null |
            python3 -c '
import json, sys
r = json.load(sys.stdin)
ms = r["ms_per_image"]
print("| {} | {} | {:.3f} | {:.3f} | {:.0f} | {:.1f} % | {:.1f} % | {:.2f} |".format(
    r["model"], r["batch"], ms["best"], ms["median"], r["macs"] / ms["best"] / 1e6, r["percent_of_peak"],
    100 * r["float_share"], r["load_seconds"]))'
    done
done

heading "Against oneDNN" "\`bench/onednn MODEL --batch N --threads $threads\`: the whole network against the sum of its convolutions and fully connected layers in oneDNN, held to the same instructions; the ratio is oneDNN's best time over quantd's. Worst layer: \`--layers\`."
if [ -x "$build/bench/onednn" ]; then
    echo "| network | instructions | batch | quantd ms | median | oneDNN ms | median | ratio | worst layer | its ratio |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for isa in ${ISAS:-best}; do
        flag=
        [ "$isa" = best ] || flag="--isa $isa"
        for model in "$@"; do
            for batch in 1 8; do
                for layers in "" --layers; do
                    # shellcheck disable=SC2086
                    "$build/bench/onednn" "$model" --json $layers --batch "$batch" --threads "$threads" \
                        --repeats "$repeats" --cache "$cache" $flag >"$out/onednn$layers" 2>/dev/null ||
                        continue 2
                done
                python3 -c '
import json, sys
r, layers = (json.load(open(path)) for path in sys.argv[1:])
worst = layers["layers"][0]
print("| {} | {} | {} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.2f} | {} | {:.2f} |".format(
    r["model"], r["isa"], r["batch"], r["quantd_ms"]["best"], r["quantd_ms"]["median"], r["onednn_ms"]["best"],
    r["onednn_ms"]["median"], r["ratio"], worst["shape"], worst["ratio"]))' "$out/onednn" "$out/onednn--layers"
            done
        done
    done
else
    echo "Not measured: there was no bench/onednn."
fi

heading "Against ONNX Runtime" "\`bench/compare build/quantd MODEL...\`: the same files; int8 is the QDQ file that \`quantd export --qdq\` writes."
CACHE=$cache THREADS=$threads "$here/compare" "$quantd" "$@" 2>"$out/log" || {
    [ $? -ne 77 ] || echo "Not measured: there was no onnxruntime-node."
}

heading "As work grows" "\`quantd bench MODEL --batch N --threads N\`: best ms per image; memory of the weights and plan (once per model) and of a frame (per runner, at that batch)."
echo "| network | threads | 1 | 2 | 4 | 8 | 16 | 32 | weights and plan, MB | frame at 1, MB | frame at 32, MB |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
# shellcheck disable=SC2086
for model in ${SCALING:-$*}; do
    for n in 1 2; do
        for batch in 1 2 4 8 16 32; do
            "$quantd" bench "$model" --json --batch "$batch" --threads "$n" --repeats "$repeats" --cache "$cache" \
                2>/dev/null >"$out/batch$batch" || continue 2
        done
        python3 -c '
import json, sys
rows = [json.load(open(path)) for path in sys.argv[1:]]
print("| {} | {} | {} | {:.1f} | {:.1f} | {:.1f} |".format(
    rows[0]["model"], rows[0]["threads"], " | ".join("{:.3f}".format(r["ms_per_image"]["best"]) for r in rows),
    rows[0]["plan_bytes"] / 1e6, rows[0]["frame_bytes"] / 1e6, rows[-1]["frame_bytes"] / 1e6))' \
            "$out/batch1" "$out/batch2" "$out/batch4" "$out/batch8" "$out/batch16" "$out/batch32"
    done
done
