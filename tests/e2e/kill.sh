#!/bin/sh
# kill -9 while it calibrates, while it writes its cache, while it loads: the next start serves what served before.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..26
cache=$work/cache
models=$work/models
mkdir -p "$models/m/1"
cp "$model/1/model.onnx" "$models/m/1/"
cat >"$models/m/model.json" <<END
{"preprocess": {"color": "gray", "resize": "stretch", "size": [28, 28], "scale": 0.00392156862745098, "mean": [0.286], "std": [0.353]},
 "calibration": {"images": "$model/calibration", "max_images": 128}, "gate": {"min_agreement": 0}}
END
infer() { ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"; }
scores() { grep -o '"generation":.*"timing' "$work/body"; }
# Does not wait for the models.
launch() {
    : >"$work/log"
    "$quantd" --listen 127.0.0.1:0 --models "$models" --cache "$cache" >"$work/log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do grep -q 'listens on port' "$work/log" && break; sleep 0.05; done
    url=http://127.0.0.1:$(sed -n 's/.*listens on port \([0-9]*\).*/\1/p' "$work/log")
}
kill_now() {
    kill -9 "$pid"
    wait "$pid" 2>/dev/null
    pid=
}
# watch_writes N: kills the daemon at the N-th temporary file of the cache from now on; killed waits for it.
watch_writes() {
    : >"$work/watch"
    /usr/bin/python3 "$QD_SRC/tests/e2e/kill_at_write.py" "$pid" "$cache" 30 "$1" >"$work/watch" &
    watcher=$!
    for _ in $(seq 100); do grep -q watching "$work/watch" && break; sleep 0.05; done
}
killed() {
    code=0
    wait "$watcher" || code=$?
    wait "$pid" 2>/dev/null
    pid=
    return $code
}
is_first_as_3() { test "$(scores)" = "$(echo "$first" | sed 's/"generation":1/"generation":3/')"; }
# serves NAME WHAT: a start serves what it should; WHAT is the beginning of the answers that are known.
serves() {
    start
    infer
    check "$1: the next start serves" test "$status" = 200
    check "  the same scores" test "$(scores)" = "$2"
    if grep -q 'error' "$work/log"; then clean=false; else clean=true; fi
    check "  without an error" $clean
}

# In the middle of the first calibration.
launch
sleep 0.7
if grep -q 'models loaded' "$work/log"; then early=false; else early=true; fi
kill_now
check "killed while it calibrates" $early
start
infer
check "  the next start serves" test "$status" = 200
first=$(scores)
stop

# In the middle of the first write of the cache.
rm -r "$cache"
mkdir "$cache"
launch
watch_writes 1
check "killed while it writes the cache" killed
start
infer
check "  the next start serves the same scores" test "$(scores)" = "$first"
stop
rm -f "$cache"/*.tmp
echo '{' >"$cache/old.json.1.0.tmp"
touch -d '2 hours ago' "$cache/old.json.1.0.tmp"
echo '{' >"$cache/new.json.1.0.tmp"
start
check "  what was left long ago is taken away, what others may be writing is not" test "$(ls "$cache" | grep 'tmp$')" = new.json.1.0.tmp

# In the middle of a recalibration, and of the writes of a new generation.
ask -X POST "$url/recalibrate"
sleep 0.5
kill_now
serves "killed in the middle of a recalibration" "$first"
stop
cp -r "$cache" "$work/saved"
start
ask -X POST -d '{"method":"mse"}' "$url/recalibrate"
for _ in $(seq 100); do infer; body_has '"generation":2' && break; sleep 0.05; done
second=$(scores)
check "a generation that is known" test "$second" != "$first"
stop
# The calibration's entry, the old generation's and what names it, the new one's and what names both.
for write in 1 2 3 4 5; do
    rm -r "$cache"
    cp -r "$work/saved" "$cache"
    start
    watch_writes "$write"
    ask -X POST -d '{"method":"mse"}' "$url/recalibrate"
    check "killed at write $write of a new generation" killed
    start
    infer
    now=$(scores)
    if [ "$now" = "$first" ] || { [ "$write" = 5 ] && [ "$now" = "$second" ]; }; then known=true; else known=false; fi
    check "  whole scores serve" $known
    kill_now
done
rm -r "$cache"
cp -r "$work/saved" "$cache"
start
ask -X POST -d '{"method":"mse"}' "$url/recalibrate"
for _ in $(seq 400); do grep -qs '"current": 2' "$cache"/*.generations.json && break; sleep 0.01; done
kill_now
start
infer
check "killed right after a new generation was named: it serves" test "$(scores)" = "$second"
stop
for file in "$cache"/*.g2.json; do head -c 1000 "$file" >"$work/cut" && cp "$work/cut" "$file"; done
start
infer
check "a cut generation is a warning, and the model serves" test "$status" = 200
check "  by its own calibration, under a new number" is_first_as_3
stop

# In the middle of loads.
rm -r "$cache"
start
for delay in 0.01 0.03 0.06 0.1; do
    kill -HUP "$pid"
    sleep "$delay"
    kill_now
    start
done
infer
check "killed in the middle of loads: serves" test "$(scores)" = "$first"
printf '{' >"$cache/$(ls "$cache" | grep -v tmp | head -n 1)"
stop
start
check "a torn entry is ignored" grep -q "not JSON" "$work/log"
infer
check "  and the model serves" test "$(scores)" = "$first"
stop
check "SIGTERM ends it with 0" test "$code" = 0
