#!/usr/bin/python3
"""odd_clients.py URL PICTURE: clients that are slow, lie or do not speak HTTP, over plain sockets; TAP on stdout.

The server runs with timeout_s 1, body_timeout_s 2 and max_header_bytes 8192. After each, a good request is answered.
"""
import socket
import sys
import time

from keep import keep_raw

host, port = sys.argv[1].split("//")[1].split(":")
picture = open(sys.argv[2], "rb").read()
n_tests = 0


def connect():
    s = socket.create_connection((host, int(port)), timeout=15)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    answer = b""
    try:
        while piece := s.recv(65536):
            answer += piece
    except ConnectionResetError:
        answer += b"<reset>"
    except TimeoutError:
        answer += b"<hangs>"
    return answer


def exchange(*pieces, pause=0.0, half_close=True):
    """Sends the pieces, stops sending, reads to the end: (answer, seconds)."""
    s, begin = connect(), time.time()
    try:
        for piece in pieces:
            s.sendall(piece)
            time.sleep(pause)
        if half_close:
            s.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    answer = read_all(s)
    s.close()
    if pieces[0] != post(picture): # which follows everything
        keep_raw(pieces[0], answer)
    return answer, time.time() - begin


def drip(data, every, limit, first=b""):
    """One byte at a time, but for the first ones, until an answer or the end comes."""
    s, begin = connect(), time.time()
    s.sendall(first)
    s.setblocking(False)
    for i in range(len(data)):
        try:
            s.sendall(data[i:i + 1])
            time.sleep(every)
            s.recv(1, socket.MSG_PEEK)
            break
        except BlockingIOError:
            pass
        except OSError:
            break
        if time.time() - begin > limit:
            break
    s.settimeout(limit)
    answer = read_all(s)
    s.close()
    return answer, time.time() - begin


def check(name, ok, answer=b""):
    global n_tests
    n_tests += 1
    good, _ = exchange(post(picture))
    if ok and good.startswith(b"HTTP/1.1 200") and b'"results"' in good:
        print(f"ok {n_tests} - {name}")
    else:
        print(f"not ok {n_tests} - {name}\n# {answer[:300]!r}\n# the good request: {good[:100]!r}")


def answered(name, status, text, *pieces, twice=False, **more):
    answer, seconds = exchange(*pieces, **more)
    head, _, body = answer.partition(b"\r\n\r\n")
    check(f"{name}: {status}", head.startswith(b"HTTP/1.1 %d " % status) and text.encode() in body and seconds < 10
          and (twice or answer.count(b"HTTP/1.1 ") == 1), answer)


def post(body, *headers, path="/infer"):
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: image/jpeg", "Connection: close"]
    if not any(h.lower().startswith(("content-length", "transfer-encoding")) for h in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines + list(headers)).encode() + b"\r\n\r\n" + body


def get(path, *headers, version="HTTP/1.1"):
    return "\r\n".join([f"GET {path} {version}", "Host: x", "Connection: close", *headers]).encode("latin-1") + b"\r\n\r\n"


print("1..59")
# Slow.
answer, seconds = drip(b"Host: x\r\nX-Slow: " + b"a" * 1000, 0.2, 12, b"POST /infer HTTP/1.1\r\n")
check("headers that drip: 408 after body_timeout_s", b" 408 " in answer and b"body_timeout_s" in answer and 1.5 < seconds < 5, answer)
answer, seconds = drip(b"POST /infer HTTP/1.1" * 100, 0.2, 12)
check("a request line that drips: closed after timeout_s", not answer.startswith(b"HTTP") and 0.8 < seconds < 4, answer)
answer, seconds = drip(b"x" * 1000, 0.02, 12, post(b"", "Content-Length: 5000"))
check("a body that drips: 408", b" 408 " in answer and seconds < 6, answer)
answer, seconds = exchange(post(b"half", "Content-Length: 5000"), half_close=False)
check("a body that stops: 408 after timeout_s", b" 408 " in answer and b"timeout_s" in answer and 0.8 < seconds < 4, answer)
answer, seconds = exchange(b"", half_close=False)
check("a client that says nothing: closed after timeout_s", answer == b"" and 0.8 < seconds < 4, answer)
answer, seconds = exchange(get("/healthz").replace(b"close", b"keep-alive"), half_close=False)
check("a kept connection that says no more: closed after timeout_s", answer.count(b"200 OK") == 1 and 0.8 < seconds < 4, answer)
s = connect()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
for _ in range(3000):
    try:
        s.setblocking(False)
        s.send(get("/metrics").replace(b"close", b"keep-alive"))
    except BlockingIOError:
        break
time.sleep(4.5)
s.setblocking(True)
s.settimeout(5)
answer = read_all(s)
check("a client that takes no answer: closed after body_timeout_s", b"<hangs>" not in answer, answer[-100:])
s.close()

# The end of the body.
answered("a Content-Length that is too short", 422, "", post(picture, "Content-Length: 100"))
answer, seconds = exchange(post(picture, f"Content-Length: {len(picture) + 10}"))
check("a Content-Length that is too long, then the end: closed", not answer.startswith(b"HTTP/1.1 200") and seconds < 5, answer)
answered("no body at all", 411, "expected a body with Content-Length", b"POST /infer HTTP/1.1\r\nHost: x\r\n\r\n")
answered("a Content-Length over the limit", 413, "expected at most 100000 bytes, found 99999999", post(b"x", "Content-Length: 99999999"))
# libmicrohttpd 0.9.75 answers these itself, and writes the head of its answer twice.
answered("one beyond 64 bits", 413, "", post(b"x", "Content-Length: 99999999999999999999999"), half_close=False, twice=True)
for value in "-1", "abc", "1x", "":
    answered(f"Content-Length '{value}'", 400, "", post(b"x", f"Content-Length: {value}"), half_close=False, twice=True)
answered("two equal Content-Lengths", 400, "Content-Length: expected one, found several", post(b"x", "Content-Length: 1", "Content-Length: 1"))
answered("two different ones", 400, "Content-Length: expected one, found several", post(b"xyz", "Content-Length: 1", "Content-Length: 3"))
answered("Content-Length and chunked", 400, "found both", post(b"1\r\nx\r\n0\r\n\r\n", "Content-Length: 3", "Transfer-Encoding: chunked"))
answered("an unknown Transfer-Encoding", 501, "expected chunked, found 'gzip'", post(b"x", "Transfer-Encoding: gzip"))
chunks = b"".join(b"1\r\n" + picture[i:i + 1] + b"\r\n" for i in range(len(picture))) + b"0\r\n\r\n"
answered("chunks of one byte", 200, "results", post(chunks, "Transfer-Encoding: chunked"))
answered("chunks with extensions and a trailer", 200, "results",
         post(b"%x;a=b\r\n" % len(picture) + picture + b"\r\n0\r\nX-Trailer: y\r\n\r\n", "Transfer-Encoding: chunked"))
for name in ("Content-Length :", "Transfer-Encoding :", "X: a\rContent-Length:"):
    answered(f"a header that is none, {name!r}", 400, "", post(b"x", f"{name} 1"), half_close=False)
answered("a chunk without its size", 400, "", post(b"zz\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), half_close=False)
answered("a chunk of 2^64 bytes", 413, "", post(b"10000000000000000\r\nx", "Transfer-Encoding: chunked"), half_close=False)
answered("a chunk of -1 bytes", 400, "", post(b"-1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), half_close=False)
answered("chunks over the limit", 413, "expected at most 100000 bytes", post((b"ffff\r\n" + b"x" * 65535 + b"\r\n") * 3 + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
answer, seconds = exchange(post(b"", "Transfer-Encoding: chunked"), *[b"ffff\r\n" + b"x" * 65535 + b"\r\n"] * 200)
check("chunks without end: 413", answer.startswith(b"HTTP/1.1 413") and seconds < 10, answer)

# Expect.
s = connect()
s.sendall(post(b"", f"Content-Length: {len(picture)}", "Expect: 100-continue"))
first = s.recv(65536)
s.sendall(picture)
answer = read_all(s)
check("Expect: 100-continue", first.startswith(b"HTTP/1.1 100") and answer.startswith(b"HTTP/1.1 200"), first + answer)
s = connect()
s.sendall(post(b"", "Content-Length: 5000", "Expect: 100-continue", path="/nowhere"))
answer = read_all(s)
check("  a body that is not wanted is not waited for", answer.startswith(b"HTTP/1.1 404"), answer)
answered("  another expectation", 417, "expected 100-continue, found 'miracles'", post(picture, f"Content-Length: {len(picture)}", "Expect: miracles"))

# Lines and headers.
answered("a long path", 414, "path: expected at most 4096 bytes", get("/" + "a" * 6000))
answered("a very long path", 414, "", get("/" + "a" * 100000), half_close=False)
answered("long headers", 431, "headers: expected at most 8192 bytes", get("/healthz", "X-Long: " + "a" * 9000))
answered("very long headers", 431, "", get("/healthz", "X-Long: " + "a" * 100000), half_close=False)
answered("many headers", 431, "", get("/healthz", *[f"X-{i}: {i}" for i in range(20000)]), half_close=False)
answered("no Host", 400, "Host: expected one, found none", b"GET /healthz HTTP/1.1\r\n\r\n")
answered("two Hosts", 400, "Host: expected one, found several", get("/healthz", "Host: y"))
answered("a header without a colon", 400, "", get("/healthz", "no colon here"), half_close=False)
answered("HTTP/1.0", 200, "live", b"GET /healthz HTTP/1.0\r\n\r\n")
answered("HTTP/3.0", 505, "", get("/healthz", version="HTTP/3.0"), half_close=False)
answered("an unknown method", 405, "BREW is not allowed", b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
answered("lower case", 405, "get is not allowed", b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
answered("the form for proxies", 200, "live", get("http://x/healthz"))
answer, _ = exchange(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2, half_close=False)
check("TLS to a plain port: closed or refused", b"<hangs>" not in answer and b" 200 " not in answer, answer)
answer, _ = exchange(bytes(range(128, 256)) * 50 + b"\r\n\r\n", half_close=False)
check("noise: closed or refused", b"<hangs>" not in answer and b" 200 " not in answer, answer)

# Escapes in paths and names.
answered("a NUL in a path", 400, "path: expected %01 to %FF, found '%00' at character 8", get("/models/%00x"))
answered("a NUL in a query", 400, "found '%00'", post(picture, path="/infer?model=fashion-mnist%00x"))
answered("half an escape", 400, "found '%2'", get("/models/x%2"))
answered("a broken escape", 400, "found '%zz'", get("/models/%zzx"))
answered("escaped letters are letters", 200, "fashion-mnist", get("/models/%66ashion-mnist"))
answered("a name that is not UTF-8", 404, "not UTF-8", get("/models/%ff%fe"))
answered("blanks in a path", 400, "request line: expected 'METHOD PATH HTTP/1.1'", b"GET /models/  HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
answered("a NUL byte in the line", 400, "request line: expected 'METHOD PATH HTTP/1.1'", b"GET /models/\0x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
answered("dots do not climb", 404, "", get("/models/../../etc/passwd"))

# HEAD, pipelining.
answer, _ = exchange(get("/models").replace(b"GET", b"HEAD"))
check("HEAD: no body", answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"\r\n\r\n"), answer)
answer, _ = exchange(get("/healthz").replace(b"close", b"keep-alive") * 2 + get("/readyz"))
check("three requests in a row are answered in turn", answer.count(b" 200 OK") == 3 and answer.endswith(b'"ready"}'), answer)
