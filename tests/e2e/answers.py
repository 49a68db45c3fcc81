"""Holds what the other tests were answered against docs/openapi.yaml: answers.py DOCUMENT FOLDER. TAP.

FOLDER/TEST/NUMBER holds an answer: the line "STATUS METHOD URL", then status line, headers, body. An answer to HEAD has no
body, one to OPTIONS is no operation's; what was asked with a client of raw bytes was not kept."""
import email
import gzip
import os
import re
import sys
import zlib

from openapi import Document
from tap import Tap

FEWEST = 300  # of all tests together: the recording works


def take_apart(data):
    line, rest = data.split(b"\n", 1)
    while True:  # 100 Continue comes with headers of its own
        head, rest = re.split(rb"\r?\n\r?\n", rest, maxsplit=1)
        if not head.startswith(b"HTTP/1.1 100"):
            break
    headers = email.message_from_string(re.split(rb"\r?\n", head, maxsplit=1)[1].decode("latin-1") if b"\n" in head else "")
    encoding = headers.get("Content-Encoding")
    if encoding and rest and rest[:1] not in b"{[":  # curl may have decoded it
        rest = gzip.decompress(rest) if encoding == "gzip" else zlib.decompress(rest)
    status, method, url = line.decode().split(" ", 2)
    return int(status), method, re.sub(r"^\w+://[^/]*", "", url), headers, rest


def main():
    document, folder = Document(sys.argv[1]), sys.argv[2]
    tap, total = Tap(), 0
    for test in sorted(os.listdir(folder)):
        problems, n = [], 0
        for name in sorted(os.listdir(os.path.join(folder, test))):
            with open(os.path.join(folder, test, name), "rb") as file:
                status, method, path, headers, body = take_apart(file.read())
            if method in ("HEAD", "OPTIONS"):
                continue
            n += 1
            problems += ["%s %s, answered %d: %s" % (method, path[:80], status, p)
                         for p in document.validate(method, path, status, headers, body)]
        if n:
            tap.check("%s: %d answers are as the document says" % (test, n), not problems, problems[:10])
        total += n
    tap.check("the answers were kept: at least %d" % FEWEST, total >= FEWEST, total)
    tap.done()


main()
