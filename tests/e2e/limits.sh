#!/bin/sh
# A full queue and a passed deadline answer at once, with their status, and nothing is lost for the next request.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..8
jpeg='Content-Type: image/jpeg'
start --queue-limit 2
ask -F "a=@$picture" -F "b=@$picture" -F "c=@$picture" "$url/infer"
check "three pictures for a queue of two: 429" test "$status" = 429
check "  with the reason" body_has '"code":"queue_full"'
check "  and Retry-After" grep -qi '^Retry-After: ' "$work/headers"
ask "$url/metrics"
check "  counted" grep -q '^quantd_rejected_total{model="fashion-mnist",reason="queue_full"} 1' "$work/body"
ask -F "a=@$picture" -F "b=@$picture" "$url/infer"
check "two pictures fit" test "$status" = 200
stop
# The batch waits 50 ms to fill; the deadline is 1 ms.
start --max-delay-us 50000 --deadline-ms 1
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "past the deadline: 504" test "$status" = 504
check "  with the reason" body_has "the deadline is 1 ms"
ask "$url/readyz"
check "and the server is well" test "$status" = 200
