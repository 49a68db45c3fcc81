#!/bin/sh
# Once a model serves, its evaluation pictures give its accuracy, beside serving: in /models and /metrics.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..16
cache=$work/cache # of its own: new generations of scales outlive the daemon
mkdir -p "$work/models/a"
cp -r "$model/." "$work/models/a"
models=$work/models
"$quantd" evaluate "$work/models/a" --json --limit 300 --cache "$cache" >"$work/evaluated" 2>"$work/stderr"

until_evaluated() {
    for _ in $(seq 600); do
        ask "$url/models/a"
        body_has '"evaluation"' && return 0
        sleep 0.1
    done
    return 1
}
same() { python3 -c '
import json, sys
with open(sys.argv[1]) as a, open(sys.argv[2]) as b:
    a, b = json.load(a), json.load(b)["evaluation"]
for key in ("images", "fp32", "int8", "agreement", "sqnr_db", "kl"):
    assert a[key] == b[key], (key, a[key], b[key])
' "$work/evaluated" "$work/body"; }
metric() { grep -F "quantd_model_accuracy{model=\"a\",precision=\"$1\",metric=\"$2\"}" "$work/body" | cut -d' ' -f2; }

start --evaluation-images 300
check "a model that serves is evaluated" until_evaluated
check "  as quantd evaluate has it" same
ask "$url/metrics"
check "top-1 of fp32 is a metric" test "$(metric fp32 top1)" = "$(python3 -c 'import json, sys; print("%.6g" % json.load(open(sys.argv[1]))["fp32"]["top1"])' "$work/evaluated")"
check "  of int8, too" test -n "$(metric int8 top1)"
check "it is logged" log_has "on 300 evaluation pictures top-1"
ask -X POST -d '{"model":"a","method":"minmax"}' "$url/recalibrate"
check "new scales" test "$status" = 202
until_again() { for _ in $(seq 600); do test "$(grep -c 'evaluation pictures top-1' "$work/log")" = 2 && return 0; sleep 0.1; done; cat "$work/log"; return 1; }
check "  are evaluated anew" until_again
stop

start --evaluation-images 0
sleep 2
ask "$url/metrics"
check "--evaluation-images 0: none is" test -z "$(metric fp32 top1)"
stop

printf 'nothing.jpg\t0\n' >"$work/models/a/evaluation.tsv"
start
until_said() { for _ in $(seq 300); do log_has "model 'a': not evaluated: " && return 0; sleep 0.1; done; cat "$work/log"; return 1; }
check "labels of no picture: a warning" until_said
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "  and it serves" test "$status" = 200
sleep 2
check "  and is not tried again and again" test "$(grep -c 'not evaluated' "$work/log")" = 1
stop

cp "$model/evaluation.tsv" "$work/models/a/evaluation.tsv"
start
stop
check "a stop in the middle of it: exit code 0" test "$code" = 0
check "  and nothing is said of it" test "$(grep -c 'not evaluated' "$work/log")" = 0

# A model that goes in the middle of it does not wait for its end: here the second of two.
mkdir -p "$work/models/b"
cp -r "$model/." "$work/models/b"
start --calibration-threads 1
until_first() { for _ in $(seq 6000); do log_has 'evaluation pictures top-1' && return 0; sleep 0.01; done; cat "$work/log"; return 1; }
check "two models: one is evaluated" until_first
ask -X POST "$url/v2/repository/models/a/unload"
ask -X POST "$url/v2/repository/models/b/unload"
check "  then both are unloaded" test "$status" = 200
sleep 8
check "  and the other one is left" test "$(grep -c 'evaluation pictures top-1' "$work/log")" = 1
stop
