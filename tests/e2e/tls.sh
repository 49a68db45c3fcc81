#!/bin/sh
# TLS: a certificate made here; a new one on SIGHUP while connections are open; what cannot work is said at the start.
. "${QD_SRC:?}/tests/e2e/lib.sh"
if ! command -v openssl >/dev/null; then
    echo "1..0 # SKIP openssl is not installed"
    exit 0
fi
echo 1..24
log_has() { grep -qF -- "$1" "$work/log"; }
# certificate NAME: NAME.crt, which is its own authority, and NAME.key.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -addext 'subjectAltName=IP:127.0.0.1' -keyout "$work/$1.key" -out "$work/$1.crt" 2>/dev/null
}
# serial: of the certificate that the server shows.
serial() { openssl s_client -connect "${url#https://}" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
serial_of() { openssl x509 -noout -serial -in "$1"; }
start_fails() {
    what=$1 text=$2
    shift 2
    start "$@"
    kill -0 "$pid" 2>/dev/null && kill -9 "$pid"
    wait "$pid"
    code=$?
    pid=
    check "$what: exit code 1" test "$code" = 1
    check "  and says so" log_has "$text"
}

certificate one
certificate two
cp "$work/one.crt" "$work/server.crt"
cp "$work/one.key" "$work/server.key"
start --tls-cert "$work/server.crt" --tls-key "$work/server.key" --listen "127.0.0.1:0 unix:$work/sock" --timeout-s 2
port=${url##*:}
url=https://127.0.0.1:$port
check "the log says that the port is TLS" log_has "port $port (TLS)"
ask --cacert "$work/one.crt" -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "a JPEG over TLS" body_has '"label":"Ankle boot"'
ask --tlsv1.2 --tls-max 1.2 --cacert "$work/one.crt" "$url/readyz"
check "  TLS 1.2, too" test "$status" = 200
ask --tls-max 1.1 --cacert "$work/one.crt" "$url/readyz"
check "  TLS 1.1 not" test "$status" = 000
ask --cacert "$work/two.crt" "$url/readyz"
check "  and another authority is not trusted" test "$status" = 000
ask --cacert "$work/one.crt" -d '{"modle":1}' "$url/recalibrate"
check "  loopback may change state" body_has "unknown key 'modle'"
ask "http://127.0.0.1:$port/readyz"
check "plain HTTP on that port: no answer" test "$status" = 000
ask --unix-socket "$work/sock" http://quantd/readyz
check "the unix socket is plain" test "$status" = 200
silent=$(/usr/bin/python3 - "$port" <<'PYTHON'
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(10)
begin = time.time()
s.recv(1)
print("closed" if 1 < time.time() - begin < 5 else "late")
PYTHON
)
check "a client that never begins the handshake is cut after timeout_s" test "$silent" = closed
stop

start --tls-cert "$work/server.crt" --tls-key "$work/server.key"
port=${url##*:}
url=https://127.0.0.1:$port
rm -f "$work/open"
/usr/bin/python3 - "$port" "$work/one.crt" "$work" >"$work/held" 2>&1 <<'PYTHON' &
import http.client, os, ssl, sys, time
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), context=ssl.create_default_context(cafile=sys.argv[2]))
connection.connect()
connection.auto_open = False
def get():
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    return answer.status
first = get()
open(sys.argv[3] + "/open", "w").close()
for _ in range(200):
    if os.path.exists(sys.argv[3] + "/reloaded"):
        break
    time.sleep(0.05)
print(first, get())
PYTHON
held=$!
for _ in $(seq 100); do test -e "$work/open" && break; sleep 0.1; done
check "the first certificate is shown" test "$(serial)" = "$(serial_of "$work/one.crt")"
cp "$work/two.crt" "$work/server.crt"
cp "$work/two.key" "$work/server.key"
kill -HUP "$pid"
for _ in $(seq 50); do [ "$(serial)" = "$(serial_of "$work/two.crt")" ] && break; sleep 0.1; done
check "SIGHUP: the second" test "$(serial)" = "$(serial_of "$work/two.crt")"
touch "$work/reloaded"
wait "$held"
check "  the connection that was open goes on" grep -qx "200 200" "$work/held"
ask --cacert "$work/two.crt" -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "  and a new one is served" test "$status" = 200
cp "$work/one.key" "$work/server.key"
kill -HUP "$pid"
for _ in $(seq 100); do log_has 'the old one stays' && break; sleep 0.1; done
check "SIGHUP with another certificate's key: said" log_has "expected a PEM certificate and its key"
check "  the old one stays" test "$(serial)" = "$(serial_of "$work/two.crt")"
stop
check "SIGTERM ends it with 0" test "$code" = 0

start_fails "a key that is another's" "expected a PEM certificate and its key" --tls-cert "$work/one.crt" --tls-key "$work/two.key"
start_fails "no such certificate" "tls_cert: " --tls-cert "$work/nowhere" --tls-key "$work/two.key"
start_fails "no certificate" "expected a PEM certificate" --tls-cert "$picture" --tls-key "$work/two.key"
start_fails "a certificate without a key" "tls_cert and tls_key: expected both or none" --tls-cert "$work/one.crt"
