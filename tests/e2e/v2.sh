#!/bin/sh
# The Open Inference Protocol V2, as Triton's clients speak it.
. "${QD_SRC:?}/tests/e2e/lib.sh"
start
/usr/bin/python3 "$QD_SRC/tests/e2e/v2.py" "$url" "$model/evaluation"
