#!/bin/sh
# The monitor: agreement, saturation and drift of what is served, live; and that it goes with its model.
. "${QD_SRC:?}/tests/e2e/lib.sh"
"$quantd" evaluate "$model" --json --cache "$work/cache" >"$work/evaluation.json"
"$QD_BUILD/tests/unit/preprocess_dump" "$work/pixels" decode 1 "$model"/evaluation/*.jpg
cache=$work/cache # of its own: new generations of scales outlive the daemon
mkdir -p "$work/models/given/1"
ln -s "$model" "$work/models/fashion-mnist"
"$quantd" export "$model" --qdq "$work/models/given/1/model.onnx" --cache "$work/cache" >/dev/null
cat >"$work/models/given/model.json" <<END
{ "preprocess": { "color": "gray", "resize": "stretch", "size": [28, 28], "scale": 0.00392156862745098, "mean": [0.286], "std": [0.353] } }
END
models=$work/models
start --monitor-every 1
/usr/bin/python3 "$QD_SRC/tests/e2e/monitor.py" every "$url" "$pid" "$model" "$work/evaluation.json" "$work/pixels"
stop
start --monitor-every 7
/usr/bin/python3 "$QD_SRC/tests/e2e/monitor.py" seventh "$url" "$pid" "$model" "$work/evaluation.json" "$work/pixels"
stop
start --monitor-every 0
/usr/bin/python3 "$QD_SRC/tests/e2e/monitor.py" none "$url" "$pid" "$model" "$work/evaluation.json" "$work/pixels"
stop
number=28
check "SIGTERM ends it with 0" test "$code" = 0
echo "1..$number"
