#!/bin/sh
# Who may change state: loopback without a token, the token's holder with one; pages of other origins; browsers' questions.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..57
json='Content-Type: application/json'
# change NAME STATUS TEXT CURL-OPTIONS...: a call that changes state, whose body is wrong, so that 400 means: it was let in.
change() {
    what=$1 want=$2 text=$3
    shift 3
    expect "$what" "$want" "$text" -H "$json" -d '{"modle":"x"}' "$@" "$url/recalibrate"
}

start
change "no token: loopback may" 400 "unknown key 'modle'"
change "no token: not through a proxy" 403 "came through a proxy" -H 'X-Forwarded-For: 192.0.2.1'
change "no token: nor by Forwarded" 403 "came through a proxy" -H 'Forwarded: for=192.0.2.1'
change "no token: not from a page elsewhere" 403 "another origin" -H 'Origin: https://example.org'
change "no token: nor one that asks as a form does, which needs no preflight" 403 "another origin" -H 'Content-Type: text/plain' -H 'Origin: https://example.org'
change "no token: nor one of another server on this machine" 403 "another origin" -H 'Origin: http://127.0.0.1:1'
change "no token: nor one of another name with this port" 403 "another origin" -H "Origin: http://example.org:${url##*:}"
change "no token: not from a page without an origin" 403 "another origin" -H 'Origin: null'
change "no token: nor by Via" 403 "came through a proxy" -H 'Via: 1.1 proxy'
change "no token: nor by X-Real-IP" 403 "came through a proxy" -H 'X-Real-IP: 192.0.2.1'
port=${url##*:}
change "no token: not by a name that points here" 403 "Host has to be localhost" -H "Host: example.org:$port" -H "Origin: http://example.org:$port"
change "no token: localhost may" 400 "unknown key" -H "Host: localhost:$port"
change "no token: so may [::1]" 400 "unknown key" -H "Host: [::1]:$port"
change "no token: quantd's own page may" 400 "unknown key" -H "Origin: $url"
expect "DELETE is guarded too" 403 "another origin" -X DELETE -H 'Origin: https://example.org' "$url/recalibrate/1"
ask -H 'Origin: https://example.org' "$url/models"
check "reading is free" test "$status" = 200
check "  but CORS is off" sh -c "! grep -qi '^access-control' '$work/headers'"
ask -X OPTIONS "$url/recalibrate"
check "OPTIONS: 204" test "$status" = 204
check "  says what the path takes" header_has '^allow: POST, GET, HEAD, OPTIONS'
ask -X OPTIONS --request-target '*' "$url"
check "OPTIONS *: 204" test "$status" = 204
stop

outside=$(hostname -I 2>/dev/null | tr ' ' '\n' | grep -m 1 -E '^[0-9.]+$')
start --listen 0.0.0.0:0
if [ -n "$outside" ]; then
    url=http://$outside:${url##*:}
    change "no token: others may not" 403 "loopback interface"
    ask "$url/models"
    check "  but read" test "$status" = 200
else
    number=$((number + 2))
    echo "ok $((number - 1)) - others # SKIP this machine has no address but loopback"
    echo "ok $number - others # SKIP this machine has no address but loopback"
fi
stop

token=correct-horse-battery-staple
bearer="Authorization: Bearer $token"
printf ' %s \n' "$token" >"$work/token"
echo "$token" >"$work/token2"
chmod 600 "$work/token" "$work/token2"
start --admin-token-file "$work/token"
change "a token: not without it" 401 "Authorization: Bearer TOKEN"
check "  (still 401)" test "$(curl -s -o "$work/body" -D "$work/headers" -w '%{http_code}' -d '{}' "$url/recalibrate")" = 401
check "  says which kind" header_has '^www-authenticate: Bearer realm="quantd"'
change "a wrong token" 401 "not the one in admin_token_file" -H "Authorization: Bearer $token-"
ask -d '{}' -H "Authorization: Bearer x" "$url/recalibrate"
check "  says so" header_has 'error="invalid_token"'
change "half a token" 401 "not the one" -H "Authorization: Bearer correct-horse"
change "another scheme" 401 "Authorization: Bearer TOKEN" -H "Authorization: Basic $token"
change "two tokens" 400 "Authorization: expected one, found several" -H "$bearer" -H "$bearer"
change "the token" 400 "unknown key 'modle'" -H "$bearer"
change "  in another case of the scheme" 400 "unknown key 'modle'" -H "authorization: bearer  $token"
change "  through a proxy" 400 "unknown key 'modle'" -H "$bearer" -H 'X-Forwarded-For: 192.0.2.1'
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "inference needs none" test "$status" = 200
check "the token is not in the log" sh -c "! grep -q '$token' '$work/log'"
echo another-correct-horse >"$work/token"
chmod 644 "$work/token"
kill -HUP "$pid"
for _ in $(seq 100); do log_has 'open to every user' && break; sleep 0.1; done
change "SIGHUP: the new one" 400 "unknown key 'modle'" -H "Authorization: Bearer another-correct-horse"
change "  and not the old one" 401 "not the one" -H "$bearer"
check "  a file that all can read is warned of" log_has "is open to every user: expected mode 640"
: >"$work/token"
kill -HUP "$pid"
for _ in $(seq 100); do log_has 'the old one stays' && break; sleep 0.1; done
check "SIGHUP with an empty file: said" log_has "expected at least 16 characters, found 0; the old one stays in use"
change "  the old one counts on" 400 "unknown key 'modle'" -H "Authorization: Bearer another-correct-horse"
stop
start_fails "an empty token file at the start" "expected at least 16 characters, found 0" --admin-token-file "$work/token"
start_fails "no such file" "admin_token_file: " --admin-token-file "$work/nowhere"
"$quantd" --check-config --models "$model" --admin-token-file "$work/nowhere" >"$work/out" 2>&1
check "--check-config sees it too" grep -q "admin_token_file: .*nowhere" "$work/out"

start --cors-origin https://example.org
preflight='Access-Control-Request-Method: POST'
ask -X OPTIONS -H 'Origin: https://example.org' -H "$preflight" "$url/infer"
check "CORS: the preflight of that origin" test "$status" = 204
check "  may" header_has '^access-control-allow-origin: https://example.org'
check "  with these headers" header_has '^access-control-allow-headers: .*Content-Type'
ask -X OPTIONS -H 'Origin: https://example.com' -H "$preflight" "$url/infer"
check "  another one may not" sh -c "! grep -qi '^access-control' '$work/headers'"
ask -H 'Origin: https://example.org' "$url/healthz"
check "  answers say so, and that it varies" sh -c "grep -qi '^access-control-allow-origin' '$work/headers' && grep -qi '^vary: .*Origin' '$work/headers'"
change "  its pages may change state" 400 "unknown key" -H 'Origin: https://example.org'
change "  those of others may not" 403 "another origin" -H 'Origin: https://example.com'
stop
start --cors-origin '*'
ask -H 'Origin: https://example.org' "$url/models"
check "CORS *: all pages may read" header_has '^access-control-allow-origin: \*'
change "  but not change state" 403 "another origin" -H 'Origin: https://example.org'
change "  save quantd's own" 400 "unknown key" -H "Origin: $url"
stop
start --cors-origin '*' --admin-token-file "$work/token2"
change "  or, with a token, whose has it" 400 "unknown key" -H 'Origin: https://example.org' -H "Authorization: Bearer $token"
stop
"$quantd" --check-config --models "$model" --cors-origin example.org >"$work/out" 2>&1
check "a bad origin: said" grep -q "cors_origin: expected \* or one origin" "$work/out"
