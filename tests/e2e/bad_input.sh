#!/bin/sh
# Each bad input gets its status and its text, and the next good request works.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..18
start
jpeg='Content-Type: image/jpeg' json='Content-Type: application/json'
head -c 40000000 /dev/zero >"$work/big"
expect "a body over the limit" 413 "at most 33554432 bytes" -H "$jpeg" -H 'Expect:' --data-binary "@$work/big" "$url/infer"
expect "the same in chunks" 413 "at most 33554432 bytes" -H "$jpeg" -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary "@$work/big" "$url/infer"
expect "not an image" 422 "expected a JPEG or PNG" -H "$jpeg" --data-binary "@$QD_SRC/README.md" "$url/infer"
head -c 300 "$picture" >"$work/cut.jpg"
expect "a truncated JPEG" 422 "JPEG" -H "$jpeg" --data-binary "@$work/cut.jpg" "$url/infer"
# A PNG header that says 50,000 x 50,000.
printf '\211PNG\r\n\032\n\0\0\0\015IHDR\0\0\303\120\0\0\303\120\010\002\0\0\0\352\0\0\0' >"$work/bomb.png"
expect "a PNG of 50,000 x 50,000" 413 "50000" -H 'Content-Type: image/png' --data-binary "@$work/bomb.png" "$url/infer"
expect "a zero-byte upload" 422 "" -H "$jpeg" --data-binary "" "$url/infer"
expect "a wrong content type" 415 "Content-Type: expected image/jpeg" -H 'Content-Type: text/html' --data-binary "@$picture" "$url/infer"
expect "malformed JSON" 400 "JSON, line" -H "$json" --data-binary '{"images": [' "$url/infer"
head -c 250000 /dev/zero | tr '\0' '[' >"$work/deep"
expect "JSON of 250,000 levels" 400 "levels" -H "$json" --data-binary "@$work/deep" "$url/infer"
expect "JSON without images" 400 'JSON: expected' -H "$json" --data-binary '{}' "$url/infer"
expect "bad base64" 400 "not base64" -H "$json" --data-binary '{"images":[{"b64":"???"}]}' "$url/infer"
expect "an unknown model" 404 "did you mean 'fashion-mnist'" -H "$jpeg" --data-binary "@$picture" "$url/infer?model=fashion-mnits"
expect "an unknown route" 404 "unknown path '/infre'" "$url/infre"
expect "a wrong method" 405 "only POST" -X DELETE "$url/infer"
ask -X DELETE "$url/infer"
check "  names the right one in Allow" grep -qi '^Allow: POST' "$work/headers"
expect "a bad top_k" 400 "top_k: expected 1 to 16" -H "$jpeg" --data-binary "@$picture" "$url/infer?top_k=0"
expect "a bad calibration method" 400 "method: expected one of adlq, mse, " -d '{"method":"magic"}' "$url/recalibrate"
expect "an unknown key" 400 "unknown key 'modle'" -d '{"modle":"x"}' "$url/recalibrate"
