#!/bin/sh
# Recalibration as a job: progress, one at a time, serving goes on, the swap is atomic, failures keep the old scales.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..13
cache=$work/cache # of its own: new generations of scales outlive the daemon
start
# Until job $1 is over.
wait_job() {
    for _ in $(seq 300); do
        ask "$url/recalibrate/$1"
        cat "$work/body" >>"$work/answers$1"
        echo >>"$work/answers$1"
        body_has '"state":"running"' || return 0
        sleep 0.2
    done
    return 1
}
infer() { ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"; }
ask -X POST -d '{"model":"fashion-mnist","method":"mse"}' "$url/recalibrate"
check "202" test "$status" = 202
check "  with a Location" grep -qi '^Location: /recalibrate/1' "$work/headers"
ask -X POST "$url/recalibrate"
check "409 while it runs" test "$status" = 409
infer
check "serving goes on, by the old generation" body_has '"generation":1'
check "the job ends" wait_job 1
check "  done, generation 2" body_has '"generation":2'
check "  its progress grew to the end, with what is left" python3 -c '
import json, sys
answers = [json.loads(line) for line in open(sys.argv[1]) if line.strip()]
shares = [a["progress"] for a in answers if a["state"] == "running"]
assert shares == sorted(shares) and all(0 <= s <= 1 for s in shares), shares
for a in answers:
    if a["state"] == "running":
        assert a["stage"] and 0 <= a["done"] <= max(a["total"], a["done"]), a
        assert a["eta_s"] is None or a["eta_s"] >= 0, a
assert answers[-1]["state"] == "done" and "stage" not in answers[-1], answers[-1]
' "$work/answers1"
infer
check "the new generation serves" body_has '"generation":2'
mkdir "$work/empty" "$work/broken"
for i in 1 2 3; do echo "broken $i" >"$work/broken/$i.jpg"; done
fails() { # JOB TEXT
    wait_job "$1" && body_has '"state":"failed"' && body_has "$2"
}
ask -X POST -d "{\"images\":\"$work/nothing\"}" "$url/recalibrate"
check "a missing folder fails the job" fails 2 "cannot open the image folder"
ask -X POST -d "{\"images\":\"$work/empty\"}" "$url/recalibrate"
check "an empty set fails the job" fails 3 "found none"
ask -X POST -d "{\"images\":\"$work/broken\"}" "$url/recalibrate"
check "an all-broken set fails the job" fails 4 "can be read; the first"
infer
check "and generation 2 serves on" body_has '"generation":2'
ask -X POST "$url/recalibrate"
ask -X DELETE "$url/recalibrate/5"
cancelled() { wait_job 5 && body_has '"state":"cancelled"'; }
check "DELETE cancels" cancelled
