# Sourced by the end-to-end tests: the real daemon on a free loopback port, TAP output.
: "${QD_SRC:?run by make check}" "${QD_BUILD:?run by make check}"
quantd=$QD_BUILD/quantd
model=$QD_SRC/models/fashion-mnist
picture=$model/evaluation/ankle-boot_00000.jpg
work=$(mktemp -d)
# Every answer is kept, for answers.sh holds them all against docs/openapi.yaml.
QD_ANSWERS=$QD_BUILD/tests/e2e/answers/$(basename "$0" .sh)
export QD_ANSWERS
rm -rf "$QD_ANSWERS"
mkdir -p "$QD_ANSWERS"
n_answers=0
pid=
number=0
trap 'stop; rm -rf "$work"' EXIT

# start OPTIONS...: returns once the models are loaded (or loading failed and the daemon ended).
start() {
    : >"$work/log" # before the daemon opens it: the last one says that models are loaded
    "$quantd" --listen 127.0.0.1:0 --models "${models:-$model}" --cache "${cache:-$QD_BUILD/tests/e2e/cache}" "$@" >"$work/log" 2>&1 &
    pid=$!
    for _ in $(seq 600); do
        grep -q 'models loaded' "$work/log" && break
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    url=http://127.0.0.1:$(sed -n 's/.*listens on port \([0-9]*\).*/\1/p' "$work/log")
}

# Stops by its own process id; the exit code is in $code.
stop() {
    code=
    [ -n "$pid" ] || return 0
    kill "$pid" 2>/dev/null || true
    code=0
    wait "$pid" 2>/dev/null || code=$?
    pid=
}

# check NAME COMMAND...: one TAP line.
check() {
    number=$((number + 1))
    name=$1
    shift
    if "$@" >"$work/check" 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        # awk ends each line, also the last of a body that has no end.
        awk '{ print "# " $0 }' "$work/check" "$work/body" 2>/dev/null | head -n 20
    fi
}

# ask CURL-OPTIONS...: status into $status, body into $work/body, headers into $work/headers.
ask() {
    asked=$(curl -sS --max-time 30 -o "$work/body" -D "$work/headers" -w '%{http_code} %{method} %{url_effective}' "$@" 2>"$work/curl") || asked=000
    status=${asked%% *}
    [ "$status" != 000 ] || return 0
    n_answers=$((n_answers + 1))
    { echo "$asked" && cat "$work/headers" "$work/body"; } >"$QD_ANSWERS/$n_answers" 2>/dev/null || true
}

body_has() { grep -qF -- "$1" "$work/body"; }
header_has() { grep -qi -- "$1" "$work/headers"; }
log_has() { grep -qF -- "$1" "$work/log"; }

# start_fails NAME TEXT OPTIONS...: the daemon ends by itself with 1, and its log has that text.
start_fails() {
    what=$1 text=$2
    shift 2
    start "$@"
    kill -0 "$pid" 2>/dev/null && kill -9 "$pid"
    code=0
    wait "$pid" || code=$?
    pid=
    check "$what: exit code 1" test "$code" = 1
    check "  and says so" log_has "$text"
}

# expect NAME STATUS TEXT CURL-OPTIONS...: that status, that text in the body, and a good request works afterwards.
expect() {
    what=$1 want=$2 text=$3
    shift 3
    ask "$@"
    if [ "$status" = "$want" ] && body_has "$text"; then
        ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
        check "$what: $want, and the next good request works" test "$status" = 200
    else
        check "$what: expected $want with '$text', found $status: $(head -c 200 "$work/body")" false
    fi
}
