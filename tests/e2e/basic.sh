#!/bin/sh
# What a user does first: health, a picture, a batch, JSON, the models, the metrics.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..15
start
ask "$url/healthz"
check "live" test "$status" = 200
ask "$url/readyz"
check "ready" test "$status" = 200
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer"
check "a JPEG is classified" body_has '"label":"Ankle boot"'
cp "$work/body" "$work/alone"
ask -H 'Content-Type: image/jpeg' --data-binary "@$picture" "$url/infer?model=fashion-mnist&top_k=1"
check "top_k=1 gives one class" test "$(grep -o '"class"' "$work/body" | wc -l)" = 1
ask -F "a=@$picture" -F "b=@$QD_SRC/README.md" -F "c=@$picture" "$url/infer"
check "a multipart batch: 200" test "$status" = 200
check "  its bad picture fails alone" test "$(grep -o '"top":' "$work/body" | wc -l)-$(grep -o '"code":' "$work/body" | wc -l)" = 2-1
printf '{"images":[{"b64":"%s"}]}' "$(base64 -w0 "$picture")" >"$work/json"
ask -H 'Content-Type: application/json' --data-binary "@$work/json" "$url/infer"
check "JSON with base64" body_has '"label":"Ankle boot"'
scores() { grep -o '"results":.*"timing' "$1"; }
check "  with the same scores as the JPEG alone" test "$(scores "$work/body")" = "$(scores "$work/alone")"
ask "$url/models"
check "/models" body_has '"status":"passed"'
ask "$url/models/fashion-mnist"
check "/models/{m}" body_has '"generation":1'
ask "$url/models/fashion-mnist/layers"
check "/models/{m}/layers" body_has '"cumulative_sqnr_db"'
ask -I "$url/healthz"
check "HEAD" test "$status" = 200
ask "$url/metrics"
check "/metrics counts the requests" grep -q '^quantd_requests_total{model="fashion-mnist",code="200"} 4' "$work/body"
if command -v promtool >/dev/null; then
    check "promtool finds nothing to say" promtool check metrics <"$work/body"
else
    number=$((number + 1))
    echo "ok $number - promtool # SKIP promtool is not installed"
fi
stop
check "SIGTERM ends it with 0" test "$code" = 0
