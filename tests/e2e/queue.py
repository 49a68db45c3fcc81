"""Turns, priorities, deadlines and clients that leave: queue.py URL PICTURE MODEL OTHER-MODEL. TAP.

A large request keeps the queue filled for a while; what overtakes it is seen by whether it is still unanswered then."""

import http.client
import json
import re
import socket
import sys
import threading
import time

from keep import keep
from tap import Tap
from v2_client import bytes_tensor

url, path, model, other = sys.argv[1:5]
host, port = url.split("//")[1].split(":")
picture = open(path, "rb").read()
N = 4000
tap = Tap()
check = tap.check


def metric(name):
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return float(re.search("^" + re.escape(name) + r" (\S+)$", text, re.M).group(1))


def queued():
    return sum(metric('quantd_queue_images{model="%s"}' % m) for m in (model, other))


def connect(source):
    connection = http.client.HTTPConnection(host, int(port), timeout=60, source_address=(source, 0))
    connection.connect()
    return connection


def ask(n, source="127.0.0.2", to=model, connection=None, **parameters):
    connection = connection or connect(source)
    data = bytes_tensor([picture] * n)
    text = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [n],
                                   "parameters": {"binary_data_size": len(data)}}], "parameters": parameters}).encode()
    connection.request("POST", "/v2/models/" + to + "/infer", text + data,
                       {"Inference-Header-Content-Length": str(len(text))})
    return connection


def status_of(connection):
    answer = connection.getresponse()
    keep(answer.status, "POST", "/v2/models/" + model + "/infer", answer.headers, answer.read())
    return answer.status


class Large:
    """A request of N pictures, under way when the constructor returns."""

    def __init__(self, **more):
        self.status = self.connection = None
        self.connection = ask(N, **more)
        self.thread = threading.Thread(target=self.wait)
        self.thread.start()
        while queued() < N / 2 and self.status is None:
            time.sleep(0.002)

    def wait(self):
        self.status = status_of(self.connection)

    def is_waiting(self):
        return queued() > 0

    def finish(self):
        self.thread.join()
        return self.status


def small(**more):
    return status_of(ask(1, **more))


large = Large()
status = small(source="127.0.0.3")
check("another client does not wait for a large request", status == 200 and large.is_waiting(), status)
check("  which is answered", large.finish() == 200)
large = Large()
status = small()
check("the same client waits for its own", status == 200 and not large.is_waiting(), status)
large.finish()
large = Large()
status = small(priority=1)
check("but a high priority goes first", status == 200 and large.is_waiting(), status)
large.finish()
large = Large()
status = small(source="127.0.0.3", priority=3)
check("a low priority goes last", status == 200 and not large.is_waiting(), status)
large.finish()
for busy, idle in ((model, other), (other, model)):
    large = Large(to=busy)
    status = small(to=idle)
    check("model '%s' does not wait for model '%s'" % (idle, busy), status == 200 and large.is_waiting(), status)
    large.finish()
large = Large()
before = time.monotonic()
status = small(timeout=20000)
took = time.monotonic() - before
check("a deadline of 20 ms passes in the queue: 504 at once", status == 504 and large.is_waiting(), (status, took))
large.finish()

images = metric('quantd_images_total{model="%s"}' % model)
leaving = [ask(N, source="127.0.0.4") for _ in range(4)]
while queued() < 3 * N:
    time.sleep(0.002)
for connection in leaving:
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
deadline = time.monotonic() + 10
while queued() and time.monotonic() < deadline:
    time.sleep(0.01)
check("a client that leaves frees its place", queued() == 0, queued())
check("  its pictures are not run", metric('quantd_images_total{model="%s"}' % model) - images < 4 * N)
gone = metric('quantd_rejected_total{model="%s",reason="client_gone"}' % model)
check("  and that is counted", 1 <= gone <= 4, gone)
check("the next request works", small() == 200)
tap.done()
