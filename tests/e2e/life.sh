#!/bin/sh
# Start, cache, broken models, reload, stop.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..20
log_has() { grep -qF -- "$1" "$work/log"; }
cache=$work/cache
start
check "first start calibrates" log_has "scales calibrated by adlq"
kill -HUP "$pid"
for _ in $(seq 100); do log_has 'generation 1: scales from the cache' && break; sleep 0.1; done
check "SIGHUP loads again: the same scales are the same generation" log_has "generation 1: scales from the cache"
port=${url##*:}
"$quantd" --listen "127.0.0.1:$port" --models "$model" >"$work/second" 2>&1
code=$?
check "a port in use: exit code 1" test "$code" = 1
check "  and says so" grep -q "cannot listen on .*Address already in use" "$work/second"
stop
start
check "second start takes the scales from the cache" log_has "scales from the cache"
stop
entry=$(ls "$cache"/*.json)
sed -i 's/"zero_point": 0/"zero_point": 1/' "$entry"
start
check "a damaged entry is not served" log_has "checksum does not match"
check "  but calibrated anew" log_has "scales calibrated"
stop
sed -i 's/"key": "./"key": "x/' "$entry"
start
check "a foreign entry is not served" log_has "belongs to another key"
stop
touch "$work/file"
cache=$work/file/cache
start
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "an unwritable cache: serves without" test "$status" = 200
check "  and says so" log_has "warning: model 'fashion-mnist': cannot make folder"
stop
cache=$work/cache
mkdir -p "$work/models/cut/1" "$work/models/noise/1" "$work/models/keys/1"
ln -s "$model" "$work/models/fashion-mnist"
head -c 100000 "$model/1/model.onnx" >"$work/models/cut/1/model.onnx"
head -c 5000 /dev/urandom >"$work/models/noise/1/model.onnx"
cp "$model/1/model.onnx" "$work/models/keys/1/"
echo '{"preproces": {}}' >"$work/models/keys/model.json"
models=$work/models
start
check "a truncated model: a clear error" log_has "model 'cut': '$work/models/cut/1/model.onnx': not an ONNX file"
check "a random model: a clear error" log_has "model 'noise': '$work/models/noise/1/model.onnx': "
check "an unknown key in model.json: the nearest" log_has "did you mean 'preprocess'?"
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=fashion-mnist"
check "the good one beside them serves" test "$status" = 200
ask "$url/readyz"
check "  and the server is ready" test "$status" = 200
ask "$url/models/cut"
check "  and /models says what is wrong with the others" body_has '"state":"failed"'
stop
rm "$work/models/fashion-mnist"
start
wait "$pid"
code=$?
pid=
check "no model at all: exit code 1" test "$code" = 1
"$quantd" --check-config --config "$QD_SRC/conf/quantd.conf" --models "$model" >"$work/out" 2>&1
check "--check-config: good" test "$?" = 0
printf '[batching]\nmax_bacth = 3\n' >"$work/bad.conf"
"$quantd" --check-config --config "$work/bad.conf" >"$work/out" 2>&1
check "an unknown key: file, line, nearest" grep -q "bad.conf:2: unknown key 'max_bacth'; did you mean 'max_batch'?" "$work/out"
printf '; comment\n[batching]\nmax_batch = 9999\n' >"$work/bad.conf"
"$quantd" --check-config --config "$work/bad.conf" >"$work/out" 2>&1
check "out of range: file, line, range" grep -q "bad.conf:3: max_batch: expected 2 to 256, found '9999'" "$work/out"
