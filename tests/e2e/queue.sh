#!/bin/sh
# Two models, a long queue: who waits for whom.
. "${QD_SRC:?}/tests/e2e/lib.sh"
mkdir -p "$work/models"
ln -s "$model" "$work/models/one"
ln -s "$model" "$work/models/two"
models=$work/models
start --max-images 4096 --queue-limit 20000 --max-batch 2
/usr/bin/python3 "$QD_SRC/tests/e2e/queue.py" "$url" "$picture" one two
