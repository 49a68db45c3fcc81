#!/bin/sh
# Networks that are quantized already, in QDQ and in QLinear form: served by their own scales, with no pictures, the same.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..26
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

# A network that takes bytes gets the pixels as they are, stated or not.
for m in bytes stated; do
    ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=$m&top_k=10"
    scores "$work/$m"
done
check "a uint8 input gets the pixels, stated or not" cmp "$work/bytes" "$work/stated"
check "  which is something" test -s "$work/bytes"
check "what is inferred is a warning" log_has "model 'bytes': model.json states no preprocess; taken is: gray, stretched to 28 x 28"
check "  and only that" test "$(grep -c 'states no preprocess' "$work/log")" = 1
ask "$url/models/bytes"
check "  and said of the model" body_has '"preprocess_is_stated":false'
ask "$url/v2/models/bytes"
check "V2 knows the type" body_has '"datatype":"UINT8"'
sed 's/"scale":1,/"scale":0.00392156862745098,/' "$models/stated/model.json" >"$work/json" && cp "$work/json" "$models/stated/model.json"
ask -X POST -d '{}' "$url/v2/repository/models/stated/load"
check "values that are no bytes: refused" test "$status" = 400
check "  and why" body_has "the network's input is uint8 and takes pixels as they are, so expected scale 1"
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
