#!/usr/bin/python3
"""recalibration.py QUANTD MODELS MODEL PICTURES [FLAGS...]: what a recalibration does to whoever is served meanwhile.

One client, one picture at a time, keep-alive; windows of three seconds without and with a recalibration (method adlq) in
turn, so that both see the same machine. Prints median and p99 of /infer in both, and how long cancelling takes.
"""
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

quantd, models, model, folder = sys.argv[1:5]
WINDOW_S, PAIRS = 3, 6
pictures = [open(f"{folder}/{n}", "rb").read() for n in sorted(os.listdir(folder)) if n.lower().endswith((".jpg", ".jpeg"))][:50]


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def ask(connection, method, path, body=None, kind="application/json"):
    connection.request(method, path, body, {"Content-Type": kind} if body else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def window(connection, times):
    end = time.monotonic() + WINDOW_S
    while time.monotonic() < end:
        start = time.monotonic()
        status, answer = ask(connection, "POST", f"/infer?model={model}", random.choice(pictures), "image/jpeg")
        assert status == 200, answer
        times.append((time.monotonic() - start) * 1e3)


def job_of(connection):
    status, job = ask(connection, "POST", "/recalibrate", json.dumps({"model": model, "method": "adlq"}))
    assert status == 202, job
    return job["job"]


def cancel(connection, job):
    start = time.monotonic()
    ask(connection, "DELETE", f"/recalibrate/{job}")
    while ask(connection, "GET", f"/recalibrate/{job}")[1]["state"] == "running":
        time.sleep(0.01)
    return time.monotonic() - start


def main():
    with tempfile.TemporaryDirectory() as work, open(f"{work}/log", "w+") as log:
        daemon = subprocess.Popen([quantd, "--listen", "127.0.0.1:0", "--models", models, "--cache", work,
                                   "--evaluation-images", "0"] + sys.argv[5:],
                                  stderr=log)
        try:
            text = ""
            while "models loaded" not in text:
                assert daemon.poll() is None, text
                time.sleep(0.2)
                with open(f"{work}/log") as file:
                    text = file.read()
            connection = http.client.HTTPConnection("127.0.0.1", int(re.search(r"on port (\d+)", text).group(1)), timeout=60)
            alone, beside, cancels = [], [], []
            window(connection, [])
            for _ in range(PAIRS):
                window(connection, alone)
                job = job_of(connection)
                window(connection, beside)
                cancels.append(cancel(connection, job))
            for _ in range(PAIRS):
                job = job_of(connection)
                time.sleep(random.uniform(0.5, 12))
                cancels.append(cancel(connection, job))
            for name, times in (("alone", alone), ("beside a recalibration", beside)):
                print(f"{name}: {len(times)} requests, median {quantile(times, .5):.2f} ms, p90 {quantile(times, .9):.2f} ms, "
                      f"p99 {quantile(times, .99):.2f} ms")
            print(f"ratio: median {quantile(beside, .5) / quantile(alone, .5):.2f}, "
                  f"p99 {quantile(beside, .99) / quantile(alone, .99):.2f}")
            print("cancelled after (s): " + " ".join(f"{c:.2f}" for c in sorted(cancels)))
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()


main()
