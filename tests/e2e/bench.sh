#!/bin/sh
# quantd bench with decoding, and bench/load: what docs/serving.md is measured with counts what it says it counts.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..13
bench() { "$quantd" bench "$model" --json --batch 4 --repeats 5 --cache "$QD_BUILD/tests/e2e/cache" "$@" >"$work/body" 2>"$work/stderr"; }
holds() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert eval(sys.argv[2]), r' "$work/body" "$1"; }
bench --decode "$model/evaluation"
check "decodes in front of every run" holds 'r["decode"]["images"] > 100 and 0 < r["decode"]["ms_per_image"] <= r["ms_per_image"]["mean"]'
check "  which is no share of the peak" holds 'r["percent_of_peak"] is None'
bench
check "without it neither" holds '"decode" not in r and r["percent_of_peak"] > 0'
mkdir "$work/pictures"
head -c 300 "$picture" >"$work/pictures/cut.jpg"
bench --decode "$work/pictures" || true
check "a picture that does not decode is named" grep -q 'cut.jpg.*truncated' "$work/stderr"

load() { timeout 60 "$QD_BUILD/bench/load" "${url#http://}" "$model/calibration" --json --seconds 1 --warmup 0.2 --pid "$pid" "$@" >"$work/body"; }
start --queue-limit 4
load --connections 2
check "closed loop" holds 'r["200"]["count"] > 10 and r["429"]["count"] == r["other"]["count"] == r["broken"] == 0'
check "  quantiles in order" holds 'sorted(r["200"]["ms"].values()) == list(r["200"]["ms"].values())'
check "  processor time of both" holds 'r["client_cpu_s"] > 0 and r["server_cpu_s"] > 0 and r["server_rss_mb"]["before"] > 1'
load --rate 50 --connections 64
check "open loop: as many as arrive" holds '20 <= r["200"]["count"] + r["429"]["count"] <= 90 and r["unsent"] == r["broken"] == 0'
# The server stands still for half of the second: of the pictures that arrive then every one has waited, not one.
{ sleep 0.4; kill -STOP "$pid"; sleep 0.5; kill -CONT "$pid"; } &
load --rate 50 --connections 1
check "  and those that had to wait say so" holds 'r["200"]["ms"]["p90"] > 200 and r["waited_for_connection"] > 5'
load --connections 64 --path "/infer?model=fashion-mnist"
check "a full queue is counted apart" holds 'r["429"]["count"] > 0 and r["200"]["count"] > 0'
load --connections 1 --path /nowhere && failed=no || failed=yes
check "other answers too, and fail the run" holds 'r["other"]["count"] > 0 and r["200"]["count"] == 0'
check "  with its exit code" test $failed = yes
"$QD_BUILD/bench/load" 192.0.2.1:80 "$model/calibration" 2>"$work/body" || true
check "only the loopback interface" body_has "loopback"
stop
