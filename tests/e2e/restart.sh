#!/bin/sh
# Stopping and replacing: drain, exit codes, the second signal, a hot restart on a shared port, what systemd is told.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..26
log_has() { grep -qF -- "$1" "$work/log"; }
cache=$QD_BUILD/tests/e2e/cache
# instance NAME OPTIONS...: starts another one beside; its process id in $other. Waits until it is loaded.
instance() {
    name=$1
    shift
    : >"$work/$name.log"
    "$quantd" --models "$model" --cache "$cache" "$@" >"$work/$name.log" 2>&1 &
    other=$!
    for _ in $(seq 300); do
        grep -q 'models loaded' "$work/$name.log" && break
        kill -0 "$other" 2>/dev/null || break
        sleep 0.1
    done
}
# handed_over PID NAME LOG: once it says so, all new connections are in the other one's access log.
handed_over() {
    kill "$1"
    for _ in $(seq 100); do grep -q 'takes the new connections' "$work/$2.log" && break; sleep 0.01; done
    curl -s -o /dev/null -H 'Connection: close' "$url/healthz?[1-20]" --next -s -o /dev/null "$url/healthz?last"
    for _ in $(seq 20); do grep -q 'healthz?last' "$3" && break; sleep 0.05; done
    check "the other one has all new connections" test "$(grep -c 'healthz?' "$3")" = 21
    code=0
    wait "$1" || code=$?
}
# end PID: SIGTERM, and its exit code in $code.
end() {
    code=0
    kill "$1"
    wait "$1" || code=$?
}

# One after the other takes over the port; then a rollback: the newer one of two is stopped.
instance a --listen 127.0.0.1:0 --reuse-port 1
a=$other
port=$(sed -n 's/.*listens on port \([0-9]*\).*/\1/p' "$work/a.log")
url=http://127.0.0.1:$port
/usr/bin/python3 "$QD_SRC/tests/e2e/restart_load.py" "$url" "$picture" "$work/enough" >"$work/load" 2>&1 &
load=$!
sleep 0.5
instance b --listen "127.0.0.1:$port" --reuse-port 1 --access-log "$work/b.access"
b=$other
handed_over "$a" a "$work/b.access"
check "the first of two on a port ends with 0" test "$code" = 0
check "  having handed over" grep -q "another instance takes the new connections" "$work/a.log"
instance c --listen "127.0.0.1:$port" --reuse-port 1 --access-log "$work/c.access"
c=$other
end "$b"
check "the second, too" test "$code" = 0
instance d --listen "127.0.0.1:$port" --reuse-port 1
handed_over "$other" d "$work/c.access"
check "a newer one that is stopped again, too" test "$code" = 0
sleep 0.5
touch "$work/enough"
code=0
wait "$load" || code=$?
cp "$work/load" "$work/body"
check "no request was lost" test "$code" = 0
"$quantd" --listen "127.0.0.1:$port" --models "$model" --cache "$cache" >"$work/second" 2>&1
check "without reuse_port the port is in use: exit code 1" test "$?" = 1
end "$c"

# A shared port opens when the models are there: before, the other instance has all connections.
start --reuse-port 1
port=${url##*:}
mkdir -p "$work/small/calibration"
cp -r "$model/1" "$model/labels.txt" "$work/small/"
cp $(ls "$model"/calibration/* | head -n 40) "$work/small/calibration/"
sed -e '/"evaluation"/d' -e 's/"calibration" },/"calibration" }/' "$model/model.json" >"$work/small/model.json"
"$quantd" --models "$work/small" --cache "$work/cold" --listen "127.0.0.1:$port" --reuse-port 1 >"$work/e.log" 2>&1 &
other=$!
ready=0 tries=0
until grep -q 'models loaded' "$work/e.log" || [ "$tries" = 500 ]; do
    tries=$((tries + 1))
    ask --max-time 1 "$url/readyz"
    [ "$status" = 200 ] && ready=$((ready + 1))
done
check "while another instance loads, every connection is served" test "$ready" = "$tries"
end "$other"
stop

# Drain: what is open is answered, what is idle is closed, what comes later is refused.
start --max-delay-us 1000000
curl -sS -o "$work/late" -w '%{http_code}' -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer" >"$work/code" &
late=$!
/usr/bin/python3 - "$url" "$work" >"$work/kept" 2>&1 <<'PYTHON' &
import http.client, os, sys, time
connections = [http.client.HTTPConnection(sys.argv[1].split("//")[1], timeout=20) for _ in range(2)]
def get(connection):
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    answer.read()
    return f"{answer.status} {answer.headers.get('Connection')}"
first = [get(c) for c in connections]
open(sys.argv[2] + "/kept-open", "w").close()
for _ in range(200):
    if os.path.exists(sys.argv[2] + "/draining"):
        break
    time.sleep(0.02)
print(get(connections[0]))
begin = time.time()
print("closed" if connections[1].sock.recv(1) == b"" and time.time() - begin < 5 else "open")
PYTHON
kept=$!
for _ in $(seq 100); do test -e "$work/kept-open" && break; sleep 0.05; done
kill "$pid"
for _ in $(seq 100); do log_has 'stopping: ' && break; sleep 0.01; done
touch "$work/draining"
sleep 0.1
ask "$url/healthz"
check "draining: a new connection is refused" test "$status" = 000
wait "$kept"
check "  a kept one is told that the server is not ready, and to close" grep -q '^503 close' "$work/kept"
check "  an idle one is closed" grep -q '^closed' "$work/kept"
wait "$late"
check "  what was open is answered" test "$(cat "$work/code")" = 200
code=0
wait "$pid" || code=$?
pid=
check "  exit code 0" test "$code" = 0

# drain_s bounds it; a second signal ends it at once.
start --max-delay-us 9000000 --drain-s 1
curl -s -o /dev/null -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer" &
client=$!
sleep 0.3
begin=$(date +%s)
stop
check "drain_s: over after a second or so" test "$(($(date +%s) - begin))" -lt 5
check "  exit code 0" test "$code" = 0
check "  what was given up is said" log_has "1 requests are given up"
wait "$client"
start --max-delay-us 9000000
curl -s -o /dev/null -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer" &
client=$!
sleep 0.3
kill "$pid"
sleep 0.3
begin=$(date +%s)
stop
check "a second signal: at once" test "$(($(date +%s) - begin))" -lt 3
check "  exit code 1" test "$code" = 1
check "  and says so" log_has "second signal: ended at once"
wait "$client"

# What systemd is told: a datagram each.
/usr/bin/python3 - "$work/notify" >"$work/told" 2>&1 <<'PYTHON' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(20)
while True:
    text = s.recv(4096).decode()
    print(text.replace("\n", " "), flush=True)
    if text == "STOPPING=1":
        break
PYTHON
listener=$!
for _ in $(seq 100); do test -S "$work/notify" && break; sleep 0.05; done
NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=400000
export NOTIFY_SOCKET WATCHDOG_USEC
start
kill -HUP "$pid"
for _ in $(seq 100); do log_has 'generation 2' && break; sleep 0.05; done
sleep 1
stop
unset NOTIFY_SOCKET WATCHDOG_USEC
wait "$listener"
cp "$work/told" "$work/body"
check "READY=1 after loading" test "$(head -n 1 "$work/told")" = READY=1
check "RELOADING=1 with its time" grep -q '^RELOADING=1 MONOTONIC_USEC=[0-9]' "$work/told"
check "  and READY=1 again" test "$(grep -c '^READY=1' "$work/told")" = 2
check "WATCHDOG=1 while it lives" test "$(grep -c '^WATCHDOG=1' "$work/told")" -ge 3
check "STOPPING=1 at the end" test "$(tail -n 1 "$work/told")" = STOPPING=1

"$quantd" --no-such-key 1 >"$work/out" 2>&1
check "an unknown flag: exit code 2" test "$?" = 2
