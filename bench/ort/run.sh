#!/bin/sh
# quantd's fp32 outputs against ONNX Runtime's on the same preprocessed tensors, for every classifier of a repository.
# Usage: bench/ort/run.sh DUMP_OUTPUTS REPOSITORY [N]     (make bench/dump_outputs; npm install --ignore-scripts in bench/ort)
set -eu
dump=$1 repository=$2 n=${3:-8}
here=$(dirname "$0")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0
for model in "$repository"/*/; do
    [ -f "$model/evaluation.tsv" ] || continue
    name=$(basename "$model")
    "$dump" "$model" "$out/$name" "$n" 2>/dev/null || { echo "$name: not supported yet"; continue; }
    shape=$(python3 -c '
import json, sys
p = json.load(open(sys.argv[1]))["preprocess"]
h, w = p.get("crop") or p["size"]
print(1 if p["color"] == "gray" else 3, h, w)' "$model/model.json")
    printf '%s: ' "$name"
    # shellcheck disable=SC2086
    node "$here/compare.js" "$(ls -d "$model"/[0-9]*/model.onnx | tail -n 1)" "$out/$name" "$n" $shape || status=1
done
exit $status
