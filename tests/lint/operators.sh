#!/bin/sh
# docs/operators.md is what the program says of itself.
: "${QD_SRC:?run by make check}" "${QD_BUILD:?run by make check}"
echo 1..1
if "$QD_BUILD/quantd" operators | diff - "$QD_SRC/docs/operators.md"; then
    echo "ok 1 - docs/operators.md is up to date"
else
    echo "not ok 1 - docs/operators.md differs: quantd operators >docs/operators.md"
fi
