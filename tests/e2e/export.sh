#!/bin/sh
# quantd export: integers and vectors that a checker written after the documentation finds right; tables as text.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..14
few="--limit 12 --evaluate 3 --golden 1"
check_vectors() { python3 "$QD_SRC/tests/e2e/check_accelerator.py" "$1"; }
"$quantd" export "$model" --accelerator "$work/acc" $few >"$work/body" 2>&1
check "integers of the bundled model" body_has "golden vectors of 1 pictures"
check "  off by one at most, step by step" grep -q 'differ by at most [01] step by step' "$work/body"
check "  with the same class" body_has "same class 3"
check "  and its Softmax named as left out" body_has "/Softmax (Softmax: the operator has no int8 form)"
check "  recomputed byte for byte" check_vectors "$work/acc"
printf '\177' | dd of="$work/acc/weights.bin" bs=1 seek=4000 conv=notrunc 2>/dev/null
fails() { ! "$@"; }
check "  but not with another weight" fails check_vectors "$work/acc"

# Every form of activation, a residual, depthwise and dense, with multipliers of 15 and of 4 bits.
mkdir -p "$work/tiny/1"
python3 -B "$QD_SRC/tests/e2e/tiny_onnx.py" "$work/tiny/1/model.onnx"
printf '{"preprocess":{"color":"gray","resize":"stretch","size":[28,28],"scale":0.00392156862745098,"mean":[0.286],"std":[0.353]},
"calibration":{"images":"%s"}}' "$model/calibration" >"$work/tiny/model.json"
for bits in 15 4; do
    "$quantd" export "$work/tiny" --accelerator "$work/acc$bits" --multiplier-bits $bits $few >"$work/body" 2>&1
    check "every activation, multipliers of $bits bits" check_vectors "$work/acc$bits"
done
check "  narrow indeed" python3 -c '
import json, sys
model = json.load(open(sys.argv[1] + "/model.json"))
assert {s["activation"]["form"] for s in model["steps"] if "activation" in s} == {"clamp", "leaky", "hardswish", "curve"}
for s in (s for s in model["steps"] if s["kind"] != "average_pool"):  # which divides too
    for m in s.get("multiplier", []):
        assert m % 2 ** max(m.bit_length() - 4, 0) == 0, s["name"]
' "$work/acc4"
printf '{"layers":{"c2":{"precision":"fp32"}},"preprocess":{"color":"gray","resize":"stretch","size":[28,28]},"calibration":{"images":"%s"}}' \
    "$model/calibration" >"$work/tiny/model.json"
"$quantd" export "$work/tiny" --accelerator "$work/acc" $few >"$work/body" 2>&1
check "a layer in float is refused by name" body_has "node 'c2' (Conv) runs in float (asked for) in front of 'c3'"

"$quantd" export "$model" --limit 12 --json --ncnn-table "$work/table" --tensorrt-cache "$work/cache" --qdq "$work/qdq.onnx" \
    --tensorrt-version 8503 >"$work/body" 2>"$work/stderr"
check "tables and QDQ in one run" python3 -c '
import json, os, sys
files = json.load(open(sys.argv[1]))["files"]
assert [f["format"] for f in files] == ["qdq", "ncnn", "tensorrt"]
assert all(os.path.getsize(f["file"]) == f["bytes"] for f in files)' "$work/body"
check "  their text" python3 "$QD_SRC/tests/e2e/check_tables.py" "$work/table" "$work/cache" "$model/1/model.onnx"
"$quantd" export "$model" --limit 12 --weight-bits 4 --ncnn-table "$work/table" >"$work/body" 2>&1
check "ncnn has 8 bits only" body_has "expected weights of 8 bits, found 4"
"$quantd" export "$model" >"$work/body" 2>&1
check "no format is refused" test $? = 2
