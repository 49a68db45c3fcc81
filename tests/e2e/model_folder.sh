#!/bin/sh
# A model's folder with the usual names and hardly a model.json.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..12
cache=$work/cache
bundled=$model
models=$work/models
mkdir -p "$models/plain/1" "$work/outside"
cp "$bundled/1/model.onnx" "$models/plain/1"
labels=$models/plain/labels.txt
cp "$bundled/labels.txt" "$labels"
# pictures N FOLDER: the first of the bundled model's own.
pictures() {
    mkdir -p "$2"
    ls "$bundled/calibration" | head -n "$1" | while read -r file; do cp "$bundled/calibration/$file" "$2"; done
}
infer() { ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"; }
fails() { ! "$@" >"$work/body" 2>&1; }

: >"$models/plain/calibration" # something else of that name
start_fails "no pictures to calibrate on" "no calibration pictures: expected a folder 'calibration' beside the versions"

rm "$models/plain/calibration"
pictures 40 "$models/plain/calibration"
start
infer
check "a network, a folder of pictures and labels.txt serve without a model.json" test "$status" = 200
check "  with those labels" body_has '"label":"Ankle boot"'
check "  and without an evaluation" fails "$quantd" evaluate "$models/plain" --cache "$cache"
stop

cp -r "$bundled/evaluation" "$models/plain/evaluation"
"$quantd" evaluate "$models/plain" --cache "$cache" >"$work/body" 2>&1
check "pictures without classes are no evaluation set" body_has "expected folder 'evaluation' and evaluation.tsv"
cp "$bundled/evaluation.tsv" "$models/plain"
"$quantd" evaluate "$models/plain" --cache "$cache" --limit 40 >"$work/body" 2>&1
check "evaluation and evaluation.tsv are one" body_has "top-1"

pictures 30 "$work/outside/calibration"
sed 's/^/other /' "$labels" >"$work/outside/labels.txt"
printf '{"labels": "%s", "calibration": {"images": "%s", "method": "minmax"}}' \
    "$work/outside/labels.txt" "$work/outside/calibration" >"$models/plain/model.json"
counts() { /usr/bin/python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(r["images"] + r["gate"]["images"] != 30)' "$work/report"; }
"$quantd" calibrate "$models/plain" --json >"$work/report" 2>/dev/null
check "folders that model.json names come before those" counts
start
infer
check "  and so do labels" body_has '"label":"other Ankle boot"'

# A model that waits for its pictures is loaded when they come.
mkdir -p "$models/waits/1"
cp "$bundled/1/model.onnx" "$models/waits/1"
until_models() {
    for _ in $(seq 100); do
        ask "$url/models"
        body_has "$1" && return 0
        sleep 0.1
    done
    return 1
}
check "a model without pictures says so in /models" until_models "expected a folder 'calibration'"
# The folder is made first and filled slowly: what is there after the first second is not all.
mkdir "$models/waits/calibration"
sleep 2
pictures 5 "$models/waits/calibration"
sleep 0.7
pictures 40 "$models/waits/calibration"
infer_waits() { for _ in $(seq 300); do ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=waits"; [ "$status" = 200 ] && return 0; sleep 0.1; done; return 1; }
check "  and is loaded when they come" infer_waits
ask "$url/models/waits"
all_of_them() { /usr/bin/python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(r["calibration"]["images"] + r["gate"]["held_out"]["images"] != 40)' "$work/body"; }
check "    with all of them" all_of_them
