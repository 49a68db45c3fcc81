#!/bin/sh
# quantd's outputs against ONNX Runtime's on the same preprocessed tensors, for every classifier of a repository: fp32 with
# the original file, int8 with the QDQ file that quantd exports, which holds the integers of quantd's standard graph.
# LIMIT: of calibration pictures. MODELS: names of the folders, instead of all.
# Usage: [MODELS="NAME..."] [LIMIT=N] bench/ort/run.sh DUMP_OUTPUTS REPOSITORY [N]     (make bench/dump_outputs; npm install --ignore-scripts in bench/ort)
set -eu
dump=$1 repository=$2 n=${3:-8}
quantd=$(dirname "$dump")/../quantd
here=$(dirname "$0")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0
for name in ${MODELS:-$(ls "$repository")}; do
    model=$repository/$name
    [ -f "$model/evaluation.tsv" ] || continue
    "$dump" "$model" "$out/$name" "$n" 2>/dev/null || { echo "$name: not supported yet"; continue; }
    shape=$(python3 -c '
import json, sys
p = json.load(open(sys.argv[1]))["preprocess"]
h, w = p.get("crop") or p["size"]
print(1 if p["color"] == "gray" else 3, h, w)' "$model/model.json")
    printf '%s: ' "$name"
    # shellcheck disable=SC2086
    node "$here/compare.js" "$(ls -d "$model"/[0-9]*/model.onnx | tail -n 1)" "$out/$name" "$n" $shape || status=1
    "$quantd" export --qdq "$out/qdq.onnx" "$model" --cache "$out/cache" ${LIMIT:+--limit "$LIMIT"} >"$out/log" 2>&1 || { tail -n 1 "$out/log"; status=1; continue; }
    "$dump" "$model" "$out/$name" "$n" standard "$out/cache" ${LIMIT:-} 2>/dev/null
    printf '%s, int8: ' "$name"
    # shellcheck disable=SC2086
    node "$here/compare.js" "$out/qdq.onnx" "$out/$name" "$n" $shape 0.9 || status=1
done
exit $status
