#!/bin/sh
# A full queue and a passed deadline answer at once, with their status, and nothing is lost for the next request.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..12
jpeg='Content-Type: image/jpeg'
# The batch waits 2 s to fill: two pictures stay in the queue meanwhile.
start --queue-limit 2 --max-delay-us 2000000
ask -F "a=@$picture" -F "b=@$picture" -F "c=@$picture" "$url/infer"
check "three pictures for a queue of two never fit: 413" test "$status" = 413
check "  with the reason" body_has "a queue holds at most 2"
curl -sS -o "$work/first" --max-time 30 -F "a=@$picture" -F "b=@$picture" "$url/infer" &
first=$!
for _ in $(seq 50); do
    curl -sS "$url/metrics" | grep -q '^quantd_queue_images{model="fashion-mnist"} 2' && break
    sleep 0.02
done
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "one picture more than the queue holds: 429" test "$status" = 429
check "  with the reason" body_has '"code":"queue_full"'
check "  and Retry-After" grep -qi '^Retry-After: ' "$work/headers"
ask "$url/metrics"
check "  counted" grep -q '^quantd_rejected_total{model="fashion-mnist",reason="queue_full"} 1' "$work/body"
# Clients that leave in the middle of a request, the end coming together with its last bytes.
open_files() { ls "/proc/$pid/fd" | wc -l; }
before=$(open_files)
python3 - "${url##*:}" <<'EOF'
import socket, sys
for rest in (b"\r\nx", b"\r\n" + b"x" * 50000, b""):
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
            s.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n" + rest)
EOF
for _ in $(seq 100); do
    [ "$(open_files)" -gt $((before + 3)) ] || break
    sleep 0.1
done
check "clients that left hold no connection" test "$(open_files)" -le $((before + 3))
wait "$first"
check "the two that fit are answered" grep -q '"results"' "$work/first"
stop
start --max-delay-us 3000000
ask -H "$jpeg" --data-binary "@$picture" "$url/infer?timeout_us=1"
check "past the deadline: 504" test "$status" = 504
check "  with the reason" body_has "the deadline is 0 ms"
ask -H "$jpeg" --data-binary "@$picture" "$url/infer?timeout_us=1000000"
check "a batch does not wait to fill beyond the deadline of one" test "$status" = 200
ask "$url/readyz"
check "and the server is well" test "$status" = 200
