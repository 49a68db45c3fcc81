#!/bin/sh
# The gate of a network whose output is a map, not a row of classes.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..8
/usr/bin/python3 "$QD_SRC/tests/e2e/sizes.py" make "$work/map" map
# calibrate GATE: in four bits, where the largest of 784 numbers is another one for many pictures.
calibrate() {
    cat >"$work/map/model.json" <<EOF
{"preprocess": {"color": "gray", "crop": [28, 28], "scale": 0.00392156862745098, "mean": [0], "std": [1]}, "gate": $1,
 "calibration": {"images": "$model/calibration", "method": "minmax", "max_images": 60, "weight_bits": 4, "activation_bits": 4}}
EOF
    "$quantd" calibrate "$work/map" --json >"$work/body" 2>&1
}
# report FIELD: of the gate.
report() { /usr/bin/python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["gate"][sys.argv[2]])' "$work/body" "$1"; }
is_less() { /usr/bin/python3 -c 'import sys; sys.exit(not float(sys.argv[1]) < float(sys.argv[2]))' "$1" "$2"; }

calibrate '{}'
check "its largest number is another one for many pictures" is_less "$(report agreement)" 0.95
check "  and that does not count" body_has '"gate_passed": true'
check "  since its numbers are near enough" is_less 10 "$(report sqnr_db)"
calibrate '{"min_agreement": 0.95}'
check "agreement counts where model.json asks for it" body_has '"gate_passed": false'
check "  and the text says that alone" body_has 'at least 0.950 wanted), output SQNR'
calibrate '{"min_sqnr_db": 40}'
check "so does the outputs' SQNR" body_has '"gate_passed": false'
check "  and the text says that alone" body_has 'at least 40.0 wanted); worst'
calibrate '{"min_sqnr_db": 10}'
check "and no more than that" body_has '"gate_passed": true'
