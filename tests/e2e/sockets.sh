#!/bin/sh
# Unix sockets, several addresses, passed sockets, limits of connections.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..44
jpeg='Content-Type: image/jpeg'
socket=$work/quantd.sock
# connect NAME EXPECTED N
connect() {
    /usr/bin/python3 "$QD_SRC/tests/e2e/connections.py" "$url" "$3" >"$work/body" 2>&1
    check "$1" grep -qx "$2" "$work/body"
}

start --listen "127.0.0.1:0, unix:$socket"
ask --unix-socket "$socket" -H "$jpeg" --data-binary "@$picture" http://quantd/infer
check "a unix socket serves" body_has '"label":"Ankle boot"'
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "  and the port beside it" test "$status" = 200
fastest=$(for _ in 1 2 3 4 5 6; do
    curl -s -o "$work/body" -w '%{time_total}\n' -H "$jpeg" --data-binary "@$picture" "$url/infer"
done | sort -n | head -n 1)
check "  an answer does not wait for the server's next look around" test "$(echo "$fastest" | tr -d .)" -lt 200000
check "  its mode is 660" test "$(stat -c %a "$socket")" = 660
ask --unix-socket "$socket" -H 'Content-Type: application/json' -d '{"modle":1}' http://quantd/recalibrate
check "  who may connect may change state" body_has "unknown key 'modle'"
"$quantd" --listen "unix:$socket" --models "$model" >"$work/second" 2>&1
check "a socket that is in use: exit code 1" test "$?" = 1
check "  and says so" grep -q "another server listens on it" "$work/second"
ask --unix-socket "$socket" http://quantd/readyz
check "  and the first one goes on" test "$status" = 200
stop
check "SIGTERM removes the file" test ! -e "$socket"
start --listen "unix:$socket" --socket-mode 600
kill -9 "$pid"
wait "$pid" 2>/dev/null
check "kill -9 leaves it" test -S "$socket"
start --listen "unix:$socket" --socket-mode 600
ask --unix-socket "$socket" http://quantd/readyz
check "  the next start takes it over" test "$status" = 200
check "  with its mode" test "$(stat -c %a "$socket")" = 600
check "  and says what it listens on" log_has "listens on unix:$socket"
stop
echo precious >"$work/file"
start_fails "a file that is not a socket" "there is a file that is not a socket" --listen "unix:$work/file"
check "  is left alone" grep -q precious "$work/file"
start_fails "no folder" "No such file or directory" --listen "unix:$work/nowhere/socket"
start_fails "no port" "expected HOST:PORT or unix:/PATH, found 'localhost'" --listen localhost
start_fails "a bad port" "a port of 0 to 65535, found" --listen 127.0.0.1:99999
start_fails "a bad mode" "socket_mode: expected octal digits such as 660, found '9'" --listen "unix:$socket" --socket-mode 9
start_fails "an unwritable access log" "access_log: cannot open '$work/nowhere/log'" --access-log "$work/nowhere/log"

: >"$work/log"
/usr/bin/python3 "$QD_SRC/tests/e2e/pass_sockets.py" "$work/port" "$socket" "$quantd" --models "$model" \
    --cache "$QD_BUILD/tests/e2e/cache" --listen 127.0.0.1:1 >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 300); do log_has 'models loaded' && break; sleep 0.1; done
ask "http://127.0.0.1:$(cat "$work/port")/readyz"
check "passed sockets: the port" test "$status" = 200
ask --unix-socket "$socket" http://quantd/readyz
check "  and the path" test "$status" = 200
stop
check "  which stays where it is" test -S "$socket"
if command -v systemd-socket-activate >/dev/null; then
    rm -f "$socket"
    systemd-socket-activate -l "$socket" "$quantd" --models "$model" --cache "$QD_BUILD/tests/e2e/cache" >"$work/log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do test -S "$socket" && break; sleep 0.1; done
    ask --unix-socket "$socket" http://quantd/healthz
    check "systemd-socket-activate: the first connection is answered" test "$status" = 200
    stop
else
    number=$((number + 1))
    echo "ok $number - systemd-socket-activate # SKIP it is not installed"
fi

if grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null; then
    start --listen "[::1]:0"
    url=http://[::1]:${url##*:}
    ask -g -H "$jpeg" --data-binary "@$picture" "$url/infer"
    check "IPv6 serves" test "$status" = 200
    ask -g -H 'Content-Type: application/json' -d '{"modle":1}' "$url/recalibrate"
    check "  and its loopback may change state" body_has "unknown key 'modle'"
    stop
else
    number=$((number + 2))
    echo "ok $((number - 1)) - IPv6 # SKIP this machine has none"
    echo "ok $number - IPv6 # SKIP this machine has none"
fi

start --max-connections 4
connect "max_connections: 4 of 6 are served" "200:4 503:2" 6
check "  the others are told to come back" grep -q "Retry-After: 1" "$work/body"
check "  why" body_has '"code":"too_many_connections"'
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "  and the next good request works" test "$status" = 200
stop
start --max-connections-per-client 3
connect "max_connections_per_client: 3 of 5" "200:3 503:2" 5
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "  and the next good request works" test "$status" = 200
stop
start --max-body-bytes 1000000 --max-held-bytes 2500000
/usr/bin/python3 - "$url" >"$work/body" 2>&1 <<'PYTHON'
import socket, sys
host, port = sys.argv[1].split("//")[1].split(":")
sockets = [socket.create_connection((host, int(port)), timeout=10) for _ in range(6)]
for s in sockets:
    s.sendall(b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 900000\r\n\r\n" + b"x" * 899999)
for s in sockets:
    s.sendall(b"x")
answers = [s.recv(65536) for s in sockets]
print(b" ".join(a[9:12] for a in answers).decode())
print(next(a for a in answers if a[9:12] == b"503").decode())
PYTHON
check "max_held_bytes: two bodies fit, four do not" test "$(head -n 1 "$work/body" | tr ' ' '\n' | sort | tr '\n' ' ')" = "422 422 503 503 503 503 "
check "  which are told so" grep -q "bodies and answers of at most 2500000 bytes at once" "$work/body"
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "  and the next good request works" test "$status" = 200
stop
: >"$work/log"
(ulimit -n 64 && exec "$quantd" --listen 127.0.0.1:0 --models "$model" --cache "$QD_BUILD/tests/e2e/cache") >"$work/log" 2>&1 &
pid=$!
for _ in $(seq 300); do log_has 'models loaded' && break; sleep 0.1; done
url=http://127.0.0.1:$(sed -n 's/.*listens on port \([0-9]*\).*/\1/p' "$work/log")
check "few descriptors: warned of at the start" log_has "only 64 files may be open"
/usr/bin/python3 "$QD_SRC/tests/e2e/connections.py" "$url" 100 >"$work/body" 2>&1
check "  100 connections: some are served, the rest closed, none hangs" grep -qE '^200:[0-9]+ closed:[0-9]+$' "$work/body"
ask -H "$jpeg" --data-binary "@$picture" "$url/infer"
check "  and the next good request works" test "$status" = 200
stop
