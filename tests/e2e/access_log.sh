#!/bin/sh
# The access log: what a line says, what a client can write into it, a new file on SIGHUP, a full disk; request ids.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..29
jpeg='Content-Type: image/jpeg'
log=$work/access.log
# logged NAME PYTHON: an expression over r, the last line, and lines, all of them.
# A line comes when the answer has left, which its client may notice before.
logged() {
    check "$1" /usr/bin/python3 -c '
import json, sys, time
for _ in range(30):
    lines = [json.loads(line) for line in open(sys.argv[1]) if line.endswith("\n")]
    r = lines[-1] if lines else {}
    try:
        if eval(sys.argv[2]):
            sys.exit()
    except (KeyError, IndexError):
        pass
    time.sleep(0.1)
sys.exit(f"{r}")' "$log" "$2"
}
header_is() { tr -d '\r' <"$work/headers" | grep -qix -- "$1"; }

start --access-log "$log" --body-timeout-s 1
check "the file is not for everybody" test "$(stat -c %a "$log")" = 640
ask -H "$jpeg" --data-binary "@$picture" -H 'X-Request-Id: my-id.1' "$url/infer?top_k=1"
logged "who, what, how it went" 'r["client"] == "127.0.0.1" and r["method"] == "POST" and r["path"] == "/infer?top_k=1" and r["status"] == 200 and r["tls"] is False and r["aborted"] is False'
logged "  when, as RFC 3339" '__import__("datetime").datetime.fromisoformat(r["time"].replace("Z", "+00:00"))'
logged "  bytes and duration" "r['bytes_in'] == $(stat -c %s "$picture") and r['bytes_out'] == $(stat -c %s "$work/body") and 0 < r['duration_us'] < 10e6"
logged "  by which model" 'r["model"] == "fashion-mnist" and r["version"] == 1 and r["generation"] == 1 and r["batch_size"] == 1'
logged "  its id" 'r["request_id"] == "my-id.1"'
check "the id is in the answer" header_is 'x-request-id: my-id.1'
ask "$url/healthz"
logged "an id is made where none came" 'len(r["request_id"]) > 16'
first=$(sed -n 's/^X-Request-Id: //Ip' "$work/headers")
ask "$url/healthz"
check "  each time another one" test "$first" != "$(sed -n 's/^X-Request-Id: //Ip' "$work/headers")"
ask -H 'X-Request-Id: "};{"evil' "$url/nowhere"
logged "an id of other characters is not taken" '"evil" not in r["request_id"] and r["status"] == 404 and len(lines) == 4'
ask -H "X-Request-Id: $(head -c 200 /dev/zero | tr '\0' a)" "$url/healthz"
logged "  nor a long one" '"a" * 20 not in r["request_id"] and len(lines) == 5'
/usr/bin/python3 - "${url##*:}" <<'PYTHON'
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b'GET /%22%0a"{}\\\x01\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
while s.recv(4096):
    pass
PYTHON
logged "a path is escaped" 'r["path"] == "/%22%0a\"{}\\\x01\xff" and len(lines) == 6'
parent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
ask -H "traceparent: $parent" -H 'tracestate: a=1,b=2' "$url/healthz"
logged "traceparent: its trace id" 'r["trace_id"] == "0af7651916cd43dd8448eb211c80319c"'
check "  passed on" header_is "traceparent: $parent"
check "  with tracestate" header_is 'tracestate: a=1,b=2'
for bad in 00-00000000000000000000000000000000-b7ad6b7169203331-01 ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 \
    00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x nonsense; do
    ask -H "traceparent: $bad" -H 'tracestate: a=1' "$url/healthz"
    grep -qi '^trace' "$work/headers" && break
done
check "invalid ones are not passed on" sh -c "! grep -qi '^trace' '$work/headers'"
ask -H "traceparent: cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later" "$url/healthz"
logged "  a later version's is" 'r["trace_id"] == "0af7651916cd43dd8448eb211c80319c"'
/usr/bin/python3 - "${url##*:}" <<'PYTHON'
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
s.settimeout(5)
s.recv(4096)
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
time.sleep(0.1)
s.close()
time.sleep(0.2)
PYTHON
logged "a slow client: 408" 'lines[-2]["status"] == 408 and lines[-2]["aborted"] is True and lines[-2]["bytes_in"] == 3'
logged "  one that left: no status" 'r["status"] == 0 and r["aborted"] is True'
mv "$log" "$log.1"
ask "$url/healthz"
kill -HUP "$pid"
for _ in $(seq 100); do test -e "$log" && break; sleep 0.1; done
ask "$url/readyz"
logged "SIGHUP: a new file" 'len(lines) == 1 and r["path"] == "/readyz"'
check "  nothing is lost between" test "$(tail -n 1 "$log.1" | grep -c '"/healthz"')" = 1
for _ in 1 2 3 4 5 6 7 8 9 10; do
    curl -s "$url/healthz" "$url/healthz" "$url/healthz" "$url/healthz" >"$work/body" &
    last=$!
done
wait "$last"
sleep 0.5
logged "many at once: whole lines" 'len(lines) >= 5'
stop

if [ -c /dev/full ]; then
    start --access-log /dev/full
    ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
    check "a full disk: serves" test "$status" = 200
    ask "$url/healthz"
    check "  on" test "$status" = 200
    check "  and says what is lost" grep -q "access_log: [0-9]* lines lost: No space left on device" "$work/log"
    stop
else
    number=$((number + 3))
    printf 'ok %d - /dev/full # SKIP\nok %d - /dev/full # SKIP\nok %d - /dev/full # SKIP\n' $((number - 2)) $((number - 1)) "$number"
fi
mkfifo "$work/pipe"
exec 9<>"$work/pipe"
start --access-log "$work/pipe"
curl -s -o /dev/null "$url/healthz?[1-2000]$(head -c 300 /dev/zero | tr '\0' x)" 2>"$work/curl"
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "a pipe that nobody reads from: serves" test "$status" = 200
stop
exec 9>&-
check "  and stops" test "$code" = 0
: >"$work/log" # as in start: what the last daemon wrote is not this one's
"$quantd" --listen 127.0.0.1:0 --models "$model" --cache "$QD_BUILD/tests/e2e/cache" --access-log - >"$work/out" 2>"$work/log" &
pid=$!
for _ in $(seq 300); do grep -q 'models loaded' "$work/log" && break; sleep 0.1; done
url=http://127.0.0.1:$(sed -n 's/.*listens on port \([0-9]*\).*/\1/p' "$work/log")
ask "$url/healthz"
stop
check "-: standard output" grep -q '"path":"/healthz","status":200' "$work/out"
start
ask "$url/healthz"
stop
check "off by default" sh -c "! grep -q '/healthz' '$work/log'"
