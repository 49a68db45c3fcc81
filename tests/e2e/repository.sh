#!/bin/sh
# The model repository under a running daemon: versions, load, unload, index, what inotify sees, rollback, restarts.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..63
cache=$work/cache
models=$work/models
# network FILE SEED: of a few kilobytes; each seed gives other answers.
network() { /usr/bin/python3 "$QD_SRC/tests/e2e/tiny_onnx.py" "$1" "$2"; }
# make_model FOLDER SEED: calibrates in a fraction of a second.
make_model() {
    mkdir -p "$1/1"
    cat >"$1/model.json" <<END
{"preprocess": {"color": "gray", "resize": "stretch", "size": [28, 28], "scale": 0.00392156862745098},
 "calibration": {"images": "$model/calibration", "method": "minmax", "max_images": 24}, "gate": {"min_agreement": 0}}
END
    network "$1/1/model.onnx" "$2"
}
infer() { ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?$1"; }
# What the last answer says of the picture, without times.
results() { grep -o '"results":.*"timing' "$work/body"; }
post() { ask -X POST "$url$1"; }
load() { post "/v2/repository/models/$1/load"; }
unload() { post "/v2/repository/models/$1/unload"; }
# until_body TEXT CURL-OPTIONS: asks until the answer holds it, for ten seconds.
until_body() {
    wanted=$1
    shift
    for _ in $(seq 100); do
        ask "$@"
        body_has "$wanted" && return 0
        sleep 0.1
    done
    return 1
}
until_log() {
    for _ in $(seq 100); do
        grep -qF -- "$1" "$work/log" && return 0
        sleep 0.1
    done
    return 1
}
is() { test "$status" = "$1" && body_has "$2"; }
as_before() { test "$(results)" = "$before"; }
recalibrated() { # MODEL METHOD GENERATION
    ask -X POST -d "{\"model\":\"$1\",\"method\":\"$2\"}" "$url/recalibrate"
    until_body '"state":"done"' "$url$(sed -n 's/^Location: \([^\r]*\).*/\1/p' "$work/headers")" && body_has "\"generation\":$3"
}

make_model "$models/a" 1
make_model "$models/b" 2
mkdir "$models/pictures"
start
post /v2/repository/index
check "the index lists both models" is 200 '{"name":"a","version":"1","state":"READY","reason":""},{"name":"b","version":"1"'
infer model=a
a1=$(results)
infer model=b
b1=$(results)
check "they answer differently" test "$a1" != "$b1"

# New folders.
make_model "$work/c" 3
mv "$work/c" "$models/"
check "a folder moved in is loaded by itself" until_body '"state":"ready"' "$url/models/c"
make_model "$work/elsewhere" 4
ln -s "$work/elsewhere" "$models/d"
check "so is a link to one" until_body '"state":"ready"' "$url/models/d"
infer model=d
before=$(results)
network "$work/new" 5
mv "$work/new" "$work/elsewhere/1/model.onnx"
check "a file changed behind the link is loaded, as a new generation" until_body '"generation":2' "$url/models/d"
infer model=d
check "  and answers differently" test "$(results)" != "$before"
mkdir -p "$models/e/1"
cp "$models/a/model.json" "$models/e/"
head -c 1000 "$models/a/1/model.onnx" >"$models/e/1/model.onnx"
check "half a copy fails to load" until_body '"state":"failed"' "$url/models/e"
infer model=e
check "  which requests are told" is 503 "not an ONNX file"
ask "$url/readyz"
check "  and takes nobody out of service" is 200 ready
cp "$models/a/1/model.onnx" "$models/e/1/model.onnx"
check "the whole copy loads" until_body '"state":"ready"' "$url/models/e"

# A failed load keeps what serves.
infer model=a
before=$(results)
head -c 3000 /dev/urandom >"$work/noise"
cp "$models/a/1/model.onnx" "$work/good"
mv "$work/noise" "$models/a/1/model.onnx"
check "a broken file is noticed" until_body '"last_error"' "$url/models/a"
load a
check "  load says what is wrong with it" is 400 "a/1/model.onnx'"
infer model=a
check "  the old model serves" as_before
post /v2/repository/index
check "  and is READY, with a reason" body_has '"name":"a","version":"1","state":"READY","reason":"model'
mv "$work/good" "$models/a/1/model.onnx"
load a
check "the good file loads again" test "$status" = 200
infer model=a
check "  with the same answers" as_before
check "  as the same generation" body_has '"generation":1'

# Versions.
mkdir "$work/2"
network "$work/2/model.onnx" 6
mv "$work/2" "$models/a/"
check "a higher version takes over" until_body '"version":2' -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=a"
a2=$(results)
check "  with other answers" test "$a2" != "$a1"
until_log "version 2 takes the place of version 1"
ask "$url/models/a"
check "  the lower one is unloaded" body_has '{"version":1,"state":"unloaded"'
infer "model=a&version=1"
check "the first request for it: 503" is 503 "model 'a' version 1 is being loaded"
check "  with Retry-After" grep -qi '^Retry-After: ' "$work/headers"
until_body '"version":1' -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=a&version=1"
check "  then it answers" test "$(results)" = "$a1"
infer "model=a&version=2"
check "  beside the highest" test "$(results)" = "$a2"
infer "model=a&version=7"
check "an unknown version: 404 with those there are" is 404 "model 'a' has no version 7; found: 1, 2"
infer "model=a&version=1.5"
check "no version: 400" is 400 "version: expected a number of 1 to 999999999, found '1.5'"
rm -r "$models/a/2"
check "a vanished version makes room for the next" until_body '"version":1' -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=a"

cp -r "$models/b/1" "$models/b/4"
network "$models/b/4/model.onnx" 8
load b
until_log "b' version 4 takes the place of version 1"
infer model=b
check "version 4 takes over" body_has '"version":4'
mv "$models/b/4" "$work/4"
head -c 1000 "$models/b/1/model.onnx" >"$work/half"
cp "$models/b/1/model.onnx" "$work/good"
mv "$work/half" "$models/b/1/model.onnx"
check "where the next is broken" until_body '"version":1,"state":"failed"' "$url/models/b"
sleep 0.5
infer model=b
check "  the vanished one serves on" body_has '"version":4'
mv "$work/good" "$models/b/1/model.onnx"
check "  until the next is good" until_body '"version":1' -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=b"
check "  with its answers" test "$(results)" = "$b1"

# Unload and load.
unload b
check "unload: 200" test "$status" = 200
infer model=b
check "  requests are refused" is 503 "model 'b' version 1 is not loaded"
post /v2/repository/index
check "  the index says UNAVAILABLE" body_has '"name":"b","version":"1","state":"UNAVAILABLE"'
ask -X POST -d '{"ready": true}' "$url/v2/repository/index"
if body_has '"name":"b"'; then ready=false; else ready=true; fi
check "  and leaves it out where only ready ones are wanted" $ready
kill -HUP "$pid"
until_log "SIGHUP"
sleep 1
infer model=b
check "  SIGHUP does not bring it back" test "$status" = 503
load b
check "load: 200" test "$status" = 200
infer model=b
check "  the same answers" test "$(results)" = "$b1"
load nobody
check "an unknown model: 404" is 404 "unknown model 'nobody'"
ask --path-as-is -X POST "$url/v2/repository/models/../load"
check "a hidden name: 400" is 400 "it begins with a dot"
ask -X POST -d '[1' "$url/v2/repository/models/b/load"
check "a broken body: 400" is 400 "JSON, line 1"
ask -X POST -d '{"parameters":{"config":"{}"}}' "$url/v2/repository/models/b/load"
check "files of the client's: 400" is 400 "'config' is not supported"
rm -r "$models/c"
check "a vanished model is unloaded" until_body "unknown model 'c'" "$url/models/c"

# Generations.
check "a recalibration: generation 2" recalibrated a mse 2
check "  another: generation 3" recalibrated a aciq 3
infer model=a
check "  which serves" body_has '"generation":3'
post /models/a/rollback
check "rollback: generation 2, with what else is kept" is 200 '"generation":3,"method":"aciq"'
infer model=a
check "  which serves" body_has '"generation":2'
stop
start
infer model=a
check "  after a restart, too" body_has '"generation":2'
post /models/a/rollback
infer model=a
check "rollback goes further" body_has '"generation":1'
check "  to the first answers" test "$(results)" = "$a1"
post /models/a/rollback
check "before the first there is none" is 404 "no generation of scales before the one that serves"
ask -X POST -d '{"generation":3}' "$url/models/a/rollback"
check "forward by number" is 200 '"generation":3'
ask -X POST -d '{"generation":9}' "$url/models/a/rollback"
check "a generation that is not kept" is 404 "no generation 9 of its scales is kept"
stop
sed -i 's/"current": 3/"current": 7/' "$cache"/*.generations.json
start
check "damaged generations are a warning" until_log "current: expected one of the generations, found 7"
infer model=a
check "  and the model serves by its own calibration" test "$(results)" = "$a1"
stop
check "SIGTERM ends it with 0" test "$code" = 0
start --watch 0
make_model "$models/f" 7
sleep 2
ask "$url/models/f"
check "watch = 0: nothing happens by itself" test "$status" = 404
kill -HUP "$pid"
check "  but at SIGHUP" until_body '"state":"ready"' "$url/models/f"

# A load that takes a while.
mkdir -p "$models/slow"
cp -r "$model/1" "$models/slow/"
sed 's/"method": "minmax", "max_images": 24/"max_images": 128/' "$models/a/model.json" >"$models/slow/model.json"
curl -s --max-time 1 -X POST "$url/v2/repository/models/slow/load" # leaves before it is over
post /v2/repository/index
check "while a model loads: LOADING" body_has '"name":"slow","version":"1","state":"LOADING"'
infer model=b
check "  others serve" test "$status" = 200
load slow
check "  a second load waits, and both are well" test "$status" = 200
