#!/bin/sh
# Clients that are slow, lie about lengths, or do not speak HTTP.
. "${QD_SRC:?}/tests/e2e/lib.sh"
start --timeout-s 1 --body-timeout-s 2 --max-header-bytes 8192 --max-body-bytes 100000
/usr/bin/python3 "$QD_SRC/tests/e2e/odd_clients.py" "$url" "$picture"
stop
test "$code" = 0 || echo "Bail out! exit code $code"
