#!/bin/sh
# Makes docs/accuracy.md: every classifier of a model repository through 'quantd evaluate'.
# Usage: bench/accuracy.sh QUANTD REPOSITORY... >docs/accuracy.md      (LIMIT=N: at most N pictures each)
set -eu
quantd=$1
shift
echo "# Accuracy"
echo
echo "Calibrated by \`adlq\` on each model's own pictures, compared on its evaluation set${LIMIT:+ (the first $LIMIT by content hash)}."
echo "SQNR and KL are of the output in front of the softmax, against fp32. Made by"
echo "\`bench/accuracy.sh build/quantd models ../shared/zoo/models >docs/accuracy.md\`."
echo
echo "| network | pictures | fp32 top-1 | int8 top-1 | agreement | SQNR dB | KL | seconds to calibrate |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for repository in "$@"; do
    for model in "$repository"/*/; do
        [ -f "$model/evaluation.tsv" ] || continue
        "$quantd" evaluate "$model" --json ${LIMIT:+--limit "$LIMIT"} 2>/dev/null | python3 -c '
import json, sys
try:
    r = json.load(sys.stdin)
except ValueError:
    sys.exit(0)  # a kind of model that is not supported yet
print("| {} | {} | {:.2f} % | {:.2f} % | {:.2f} % | {:.1f} | {:.4f} | {:.0f} |".format(
    r["model"], r["images"], 100 * r["fp32"]["top1"], 100 * r["int8"]["top1"], 100 * r["agreement"], r["sqnr_db"], r["kl"],
    r["calibration_seconds"]))'
    done
done
