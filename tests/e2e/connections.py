#!/usr/bin/python3
"""connections.py URL N: opens N connections that say nothing; then asks on each for /healthz, in turn.

Prints how many were answered with each status ("closed": with none), and what a refusal said.
"""
import collections
import socket
import sys

host, port = sys.argv[1].split("//")[1].split(":")
sockets = []
for _ in range(int(sys.argv[2])):
    s = socket.create_connection((host, int(port)), timeout=10)
    sockets.append(s)
counts, refusal = collections.Counter(), ""
for s in sockets:
    try:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = s.recv(65536).decode()
    except OSError:
        answer = ""
    counts[answer[9:12] or "closed"] += 1
    if answer[9:12] == "503":
        refusal = answer
print(" ".join(f"{status}:{n}" for status, n in sorted(counts.items())))
print(refusal)
