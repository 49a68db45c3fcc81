#!/bin/sh
# quantd calibrate --compare: a row for every method, the same in text, JSON and Markdown.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..13
methods=$("$quantd" calibrate --help | sed -n 's/.*calibration method: //p' | tr -d ,)
few="--limit 12 --evaluate 20"
"$quantd" calibrate "$model" --compare $few --output "$work/table.md" >"$work/body" 2>&1
check "compares" grep -q 'compared with fp32 on 20 of the evaluation set; fp32 top-1 ' "$work/body"
each_has_a_row() { for m in $methods; do grep -qE "$1$m$2" "$3" || { echo "no $m"; return 1; }; done; }
check "a row for each method" each_has_a_row '^' ' ' "$work/body"
check "and in the Markdown table" each_has_a_row '^\| `' '` \|( [0-9.]+( %)? \|)+( -? \|)?' "$work/table.md"
check "  as many as there are methods" test "$(grep -c '^| `' "$work/table.md")" = "$(echo $methods | wc -w)"
# A gate that refuses all does not stop a comparison; without an evaluation set the gate's pictures are compared.
mkdir "$work/m" "$work/m/1"
cp "$model/1/"* "$work/m/1"
printf '{"preprocess":{"color":"gray","resize":"stretch","size":[28,28],"scale":0.00392156862745098,"mean":[0.286],"std":[0.353]},
"calibration":{"images":"%s"},"gate":{"min_sqnr_db":99,"required":true}}' "$model/calibration" >"$work/m/model.json"
"$quantd" calibrate "$work/m" --compare --json $few >"$work/body" 2>"$work/stderr"
check "JSON, of a model that its gate refuses" python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))
assert [r["method"] for r in rows] == sys.argv[2].split(), rows
for r in rows:
    assert r["int8_top1"] is None and r["fp32_top1"] is None, r
    assert 0 <= r["agreement"] <= 1 and r["kl"] >= 0 and r["sqnr_db"] > 0 and r["seconds"] > 0, r
    assert r["images"] > 0 and r["calibration_images"] > 0, r
    assert r["peak_mib"] is None or 1 < r["peak_mib"] < 1000, r
' "$work/body" "$methods"
"$quantd" calibrate "$work/m" --limit 12 >"$work/body" 2>&1
check "  which does stop a calibration" body_has "gate.required is set"
# Weights of 4 bits: the gate lets them pass, and not where the correction of biases is left out.
sed -i 's/"min_sqnr_db":99/"min_sqnr_db":23/' "$work/m/model.json"
"$quantd" calibrate "$work/m" --weight-bits 4 >"$work/body" 2>&1
check "4 bits pass a gate" test $? = 0
"$quantd" calibrate "$work/m" --weight-bits 4 --without "bias correction,global" >"$work/body" 2>&1
check "  which refuses them with biases not corrected" test $? = 1
check "    and says what is missing" body_has "(at least 23.0 wanted)"
"$quantd" calibrate "$work/m" --without "bias correction,glob" >"$work/body" 2>&1
check "a stage that there is not" body_has "--without: expected some of weights, channel steps, equalisation, "
"$quantd" calibrate "$model" --output "$work/x.md" >"$work/body" 2>&1
check "--output alone is refused" body_has "expected --compare"
"$quantd" calibrate "$model" --method magic >"$work/body" 2>&1
check "an unknown method gets the list" body_has "expected one of adlq, mse, minmax, percentile-99.99"
"$quantd" calibrate "$model" --compare $few --output "$work/none/table.md" >"$work/body" 2>&1
check "a table that cannot be written is an error" test $? = 1
