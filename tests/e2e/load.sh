#!/bin/sh
# Many clients, good and bad bodies mixed, a small queue: only the expected answers, and it stops cleanly.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..3
start --queue-limit 8
check "64 clients for 5 s get only the expected answers" /usr/bin/python3 "$QD_SRC/tests/e2e/mixed_load.py" "$url" "$picture" 5 64
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "and the next request works" test "$status" = 200
stop
check "SIGTERM ends it with 0" test "$code" = 0
