"""Keeps what a test is answered, as ask of lib.sh does, for answers.sh to hold against docs/openapi.yaml."""
import os
import re
import tempfile


def keep(status, method, url, headers, body):
    """headers: an email.message.Message, as http.client has them."""
    keep_bytes(status, method, url, b"HTTP/1.1 %d\r\n" % status + bytes(headers).replace(b"\n\n", b"\r\n\r\n"), body)


def keep_raw(request, answer):
    """Of a socket. What is no request line, no whole answer, or libmicrohttpd's own (in HTML) is not kept."""
    line = re.match(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n", request)
    head, found, body = answer.partition(b"\r\n\r\n")
    if line and found and b"Content-Type: application/json" in head and answer.count(b"HTTP/1.1 ") == 1:
        keep_bytes(int(head[9:12]), line[1].decode(), line[2].decode("latin-1"), head + found, body)


def keep_bytes(status, method, url, head, body):
    if "QD_ANSWERS" in os.environ:
        with tempfile.NamedTemporaryFile(dir=os.environ["QD_ANSWERS"], delete=False) as file:
            file.write(("%d %s %s\n" % (status, method, url)).encode() + head + body)
