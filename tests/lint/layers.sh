#!/bin/sh
# The layers hold, and the check that says so fails on a violation.
: "${QD_SRC:?run by make check}"
check="$QD_SRC/tests/lint/check-layers"
echo 1..3
if "$check" "$QD_SRC/src"; then echo "ok 1 - layers hold"; else echo "not ok 1 - layers hold"; fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/util" "$dir/http"
echo '#include "http/server.h"' >"$dir/util/bad.c"
if "$check" "$dir" >/dev/null; then echo "not ok 2 - upward include is found"; else echo "ok 2 - upward include is found"; fi
echo '#include "bare.h"' >"$dir/util/bad.c"
if "$check" "$dir" >/dev/null; then echo "not ok 3 - bare include is found"; else echo "ok 3 - bare include is found"; fi
