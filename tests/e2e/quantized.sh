#!/bin/sh
# Networks that are quantized already, in QDQ and in QLinear form: served by their own scales, with no pictures, the same.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..18
python3 -B "$QD_SRC/tests/e2e/quantized_onnx.py" "$work/models"
models=$work/models
cache=$work/cache # of its own: new generations of scales outlive the daemon
"$quantd" inspect "$work/models/qdq" --json >"$work/body" 2>&1
check "QDQ runs in int8 as a whole" body_has '"int8_macs_share": 1.0'
check "  by the model's scales" body_has '"method": "model"'
"$quantd" inspect "$work/models/qlinear" --json >"$work/body" 2>&1
check "QLinear too" body_has '"int8_macs_share": 1.0'
check "  by the model's scales" body_has '"method": "model"'
start
ask "$url/models/qdq"
check "it serves with no picture to calibrate on" body_has '"state":"ready"'
check "  and says where scales come from" body_has '"method":"model"'
check "  and that no gate ran" body_has '"status":"not run"'
scores() { python3 -c '
import json, sys
results = json.load(open(sys.argv[1]))
def walk(x):
    if isinstance(x, dict):
        for k in sorted(x):
            if k in ("index", "class", "score", "probability"):
                print(k, x[k])
            walk(x[k])
    elif isinstance(x, list):
        for y in x:
            walk(y)
walk(results)' "$work/body" >"$1"; }
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=qdq&top_k=10"
check "QDQ answers" test "$status" = 200
scores "$work/a"
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=qlinear&top_k=10"
check "QLinear answers" test "$status" = 200
scores "$work/b"
check "  the same" cmp "$work/a" "$work/b"
check "  which is something" test -s "$work/a"
ask -X POST -d "{\"model\":\"qdq\",\"method\":\"minmax\",\"images\":\"$QD_SRC/models/fashion-mnist/calibration\"}" "$url/recalibrate"
wait_job() {
    for _ in $(seq 300); do
        ask "$url/recalibrate/1"
        body_has '"state":"running"' || return 0
        sleep 0.2
    done
    return 1
}
check "a named method calibrates it" wait_job
ask "$url/models/qdq"
check "  as a float network" body_has '"method":"minmax"'
stop
start
ask "$url/models/qdq"
check "  a restart goes on with that, still without pictures" body_has '"method":"minmax"'
ask -X POST "$url/models/qdq/rollback"
check "  a rollback gives its own scales back" body_has '"method":"model"'
ask -X POST -d '{"generation":2}' "$url/models/qdq/rollback"
check "  and forward again" body_has '"method":"minmax"'
stop
for entry in "$cache"/*.g2.json; do echo '{' >"$entry"; done
start
ask "$url/models/qdq"
check "  where the kept scales are broken, its own serve" body_has '"method":"model"'
stop
"$quantd" inspect "$model" --method model >"$work/body" 2>&1
check "a float network has no scales of its own" body_has "'model' is for networks that are quantized already"
