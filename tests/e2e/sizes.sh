#!/bin/sh
# Height and width left open, several outputs.
. "${QD_SRC:?}/tests/e2e/lib.sh"
python3 "$QD_SRC/tests/e2e/sizes.py" make "$work/models/open"
cat >"$work/models/open/model.json" <<EOF
{"preprocess": {"color": "gray", "crop": [28, 28], "scale": 0.00392156862745098, "mean": [0], "std": [1]},
 "calibration": {"images": "$model/calibration", "method": "minmax"}}
EOF
models=$work/models
# Two runners, two pictures at a time: they share requests.
start --runners 2 --max-batch 2
/usr/bin/python3 "$QD_SRC/tests/e2e/sizes.py" test "$url" "$picture"
