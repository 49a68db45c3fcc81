#!/bin/sh
# gzip and deflate: bodies, whole, cut, broken, too large when unpacked; answers, only for those who ask.
. "${QD_SRC:?}/tests/e2e/lib.sh"
echo 1..32
jpeg='Content-Type: image/jpeg'
header_has() { grep -qi -- "$1" "$work/headers"; }
/usr/bin/python3 - "$picture" "$work" <<'PYTHON'
import gzip, sys, zlib
picture, work = open(sys.argv[1], "rb").read(), sys.argv[2]
def write(name, data):
    open(f"{work}/{name}", "wb").write(data)
raw = zlib.compressobj(wbits=-15)
packed = gzip.compress(picture)
write("gzip", packed)
write("zlib", zlib.compress(picture))
write("raw", raw.compress(picture) + raw.flush())
write("members", gzip.compress(picture[:100]) + gzip.compress(picture[100:]))
write("cut", packed[:-20])
write("longer", packed + b"more")
write("zlib-longer", zlib.compress(picture) + b"more")
write("checksum", packed[:-8] + b"\0" * 8)
write("noise", bytes(range(1, 200)))
bomb = zlib.compressobj(9, wbits=31)
with open(f"{work}/bomb", "wb") as file:
    for _ in range(500):
        file.write(bomb.compress(b"\0" * (1 << 20)))
    file.write(bomb.flush())
# Blocks that hold nothing: input without output.
write("empty-blocks", packed[:10] + b"\0\0\0\xff\xff" * 400000)
PYTHON
# packed NAME FILE ENCODING: the picture, packed, is understood.
packed() {
    ask -H "$jpeg" -H "Content-Encoding: $3" --data-binary "@$work/$2" "$url/infer"
    check "$1" body_has '"label":"Ankle boot"'
}
bad() {
    expect "$1" "$2" "$3" -H "$jpeg" -H "Content-Encoding: $5" -H 'Expect:' --data-binary "@$work/$4" "$url/infer"
}
rss() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status"; }

start --max-body-bytes 1000000
packed "gzip" gzip gzip
packed "  by its old name" gzip x-gzip
packed "  in capitals" gzip GZIP
packed "  of several members" members gzip
packed "deflate: zlib's form" zlib deflate
packed "deflate: raw" raw deflate
ask -H "$jpeg" -H 'Content-Encoding: identity' --data-binary "@$picture" "$url/infer"
check "identity" test "$status" = 200
ask -H "$jpeg" -H 'Content-Encoding: gzip' -H 'Transfer-Encoding: chunked' --data-binary "@$work/gzip" "$url/infer"
check "gzip in chunks" test "$status" = 200
# A byte at a time: each piece goes through the decoder alone.
/usr/bin/python3 - "$url" "$work" >"$work/body" 2>&1 <<'PYTHON'
import socket, sys
host, port = sys.argv[1].split("//")[1].split(":")
for name, encoding in ("gzip", "gzip"), ("zlib", "deflate"), ("raw", "deflate"), ("members", "gzip"):
    data = open(f"{sys.argv[2]}/{name}", "rb").read()
    s = socket.create_connection((host, int(port)), timeout=30)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(f"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Encoding: {encoding}\r\n"
              f"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
    s.sendall(b"".join(b"1\r\n" + data[i:i + 1] + b"\r\n" for i in range(len(data))) + b"0\r\n\r\n")
    print(s.recv(65536)[9:12].decode())
PYTHON
check "in chunks of one byte" test "$(tr '\n' ' ' <"$work/body")" = "200 200 200 200 "
bad "cut" 400 "expected the whole of its Content-Encoding gzip, found its end at byte" cut gzip
bad "with something behind it" 400 "Content-Encoding gzip" longer gzip
bad "deflate with something behind it" 400 "expected the end of its Content-Encoding deflate" zlib-longer deflate
bad "a wrong checksum" 400 "incorrect data check" checksum gzip
bad "not gzip" 400 "incorrect header check" noise gzip
bad "not deflate" 400 "body: expected Content-Encoding deflate, found at byte" noise deflate
bad "another encoding" 415 "expected gzip, deflate or identity, found 'br'" gzip br
ask -H "$jpeg" -H 'Content-Encoding: br' --data-binary "@$work/gzip" "$url/infer"
check "  says what is accepted" header_has '^accept-encoding: gzip, deflate'
bad "two at once" 415 "found 'gzip, gzip'" gzip "gzip, gzip"
before=$(rss)
bad "a bomb of 500 MB" 413 "body: expected at most 1000000 bytes, found more" bomb gzip
check "  takes no memory" test "$(($(rss) - before))" -lt 8000
bad "empty blocks without end" 413 "body: expected at most 1000000 bytes" empty-blocks gzip

ask "$url/metrics"
cp "$work/body" "$work/plain"
check "an answer is plain" sh -c "! grep -qi '^content-encoding' '$work/headers'"
check "  and varies" header_has '^vary: Accept-Encoding'
ask -H 'Accept-Encoding: deflate, gzip;q=0.5' "$url/metrics"
check "for who asks it is gzip" header_has '^content-encoding: gzip'
check "  which unpacks to the same lines" test "$(gzip -dc <"$work/body" | grep -c '^# TYPE')" = "$(grep -c '^# TYPE' "$work/plain")"
for accept in 'gzip;q=0' 'gzip; q=0.0, *' '*;q=0' 'identity' 'br'; do
    ask -H "Accept-Encoding: $accept" "$url/metrics"
    check "not for 'Accept-Encoding: $accept'" sh -c "! grep -qi '^content-encoding' '$work/headers'"
done
ask -H 'Accept-Encoding: *' "$url/metrics"
check "but for '*'" header_has '^content-encoding: gzip'
ask -H 'Accept-Encoding: gzip' "$url/healthz"
check "a small answer stays plain" body_has '"status":"live"'
