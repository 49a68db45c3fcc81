#!/usr/bin/python3
"""mixed_load.py URL PICTURE SECONDS CLIENTS: many clients at once send good and bad bodies to a running quantd.

Every answer must be one of those expected for its body. Prints the counts; exit code 1 if anything else came.
"""
import base64
import collections
import http.client
import json
import random
import sys
import threading
import time

from keep import keep

url, picture, seconds, n_clients = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
host = url.split("//")[1]
good = open(picture, "rb").read()
b64 = base64.b64encode(good).decode()
boundary = "frontier"
part = b"--frontier\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a\"\r\n\r\n"
multipart = part + good + b"\r\n" + part + b"not a picture\r\n--frontier--\r\n"
busy = {429, 503}
KINDS = [
    ("jpeg", "POST", "/infer", "image/jpeg", good, {200}),
    ("multipart", "POST", "/infer", "multipart/form-data; boundary=frontier", multipart, {200}),
    ("json", "POST", "/infer", "application/json", json.dumps({"images": [{"b64": b64}] * 3}), {200}),
    ("truncated", "POST", "/infer", "image/jpeg", good[:200], {422}),
    ("noise", "POST", "/infer", "image/jpeg", bytes(random.randrange(256) for _ in range(5000)), {422}),
    ("empty", "POST", "/infer", "image/jpeg", b"", {422}),
    ("type", "POST", "/infer", "text/html", good, {415}),
    ("bad json", "POST", "/infer", "application/json", "{\"images\": [", {400}),
    ("deep json", "POST", "/infer", "application/json", "[" * 250000, {400}),
    ("unknown model", "POST", "/infer?model=nobody", "image/jpeg", good, {404}),
    ("route", "GET", "/nowhere", None, None, {404}),
    ("method", "DELETE", "/infer", None, None, {405}),
    ("models", "GET", "/models", None, None, {200}),
    ("metrics", "GET", "/metrics", None, None, {200}),
]
counts, wrong, lock = collections.Counter(), [], threading.Lock()
end = time.time() + seconds


def client(seed):
    rng = random.Random(seed)
    while time.time() < end:
        name, method, path, kind, body, expected = rng.choice(KINDS)
        try:
            connection = http.client.HTTPConnection(host, timeout=30)
            if rng.random() < 0.05 and body:
                # Goes away in the middle of its body.
                connection.putrequest(method, path)
                connection.putheader("Content-Type", kind)
                connection.putheader("Content-Length", str(len(body) + 1000))
                connection.endheaders()
                connection.send(body if isinstance(body, bytes) else body.encode())
                connection.close()
                continue
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            with lock:
                if not counts[f"{name} {answer.status}"]:
                    keep(answer.status, method, path, answer.headers, text)
                counts[f"{name} {answer.status}"] += 1
                if answer.status not in expected | busy:
                    wrong.append(f"{name}: {answer.status} {text[:200]}")
                elif path != "/metrics":
                    json.loads(text)
        except Exception as error:  # a hang, a cut connection, an answer that is not JSON
            with lock:
                wrong.append(f"{name}: {error!r}")


threads = [threading.Thread(target=client, args=(i,)) for i in range(n_clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for name in sorted(counts):
    print(name, counts[name])
for line in wrong[:20]:
    print("WRONG", line)
sys.exit(1 if wrong or not counts["jpeg 200"] else 0)
