#!/bin/sh
# The same picture gives the same scores, and a calibration the same scales, on every ISA; int8 is within 0.3 points of fp32.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..3
top1() { sed -n "/\"$1\"/,/}/s/.*\"top1\": \([0-9.]*\).*/\1/p" "$work/$2"; }
for isa in scalar best; do
    [ "$isa" = best ] && chosen= || chosen=$isa
    QUANTD_ISA=$chosen "$quantd" evaluate "$model" --cache "$QD_BUILD/tests/e2e/cache" --limit 200 --json >"$work/$isa" 2>/dev/null
    sed -i '/seconds/d' "$work/$isa"
done
check "scalar and the best tier agree to the last digit" cmp "$work/scalar" "$work/best"
for isa in scalar best; do
    [ "$isa" = best ] && chosen= || chosen=$isa
    QUANTD_ISA=$chosen "$quantd" evaluate "$model" --cache "$work/cache-$isa" --limit 1 --json >"$work/log" 2>&1
    sed -i '/seconds/d' "$work/cache-$isa"/*
done
check "scalar and the best tier calibrate to the same scales" diff -r "$work/cache-scalar" "$work/cache-best"
"$quantd" evaluate "$model" --cache "$QD_BUILD/tests/e2e/cache" --json >"$work/all" 2>/dev/null
near() { python3 -c "import json; r = json.load(open('$work/all')); assert round(1000 * abs(r['fp32']['top1'] - r['int8']['top1'])) <= 3 and r['images'] == 1000, r"; }
check "int8 within 0.3 points of fp32 on 1000 pictures" near
