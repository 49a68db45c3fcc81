#!/bin/sh
# Quantized models (QDQ, QLinear) in quantd's int8 and in ONNX Runtime, over their evaluation sets: top-1 and agreement.
# Usage: bench/ort/quantized.sh DUMP_OUTPUTS N MODEL-FOLDER...     (make bench/dump_outputs; npm install --ignore-scripts in bench/ort)
set -eu
dump=$1 n=$2
shift 2
here=$(dirname "$0")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
status=0
for model; do
    "$dump" "$model" "$out" "$n" int8
    shape=$(python3 -c '
import json, sys
p = json.load(open(sys.argv[1]))["preprocess"]
h, w = p.get("crop") or p["size"]
print(1 if p["color"] == "gray" else 3, h, w)' "$model/model.json")
    printf '%s: ' "$(basename "$model")"
    # shellcheck disable=SC2086
    node "$here/quantized.js" "$(ls -d "$model"/[0-9]*/model.onnx | tail -n 1)" "$out" "$n" $shape || status=1
done
exit $status
