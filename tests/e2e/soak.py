#!/usr/bin/python3
"""soak.py QUANTD SOURCE SECONDS: a daemon under clients of all kinds while its models change, every answer checked.

Clients ask for known pictures; others leave in the middle of a body or before the answer, or send what is no picture.
Meanwhile networks are swapped (by load, SIGHUP and inotify), recalibrated, rolled back, unloaded and loaded, versions come
and go. What each network answers with each method's scales was found before, by a daemon at rest: all answers of one
generation must be those of one of them. Memory and file descriptors must stay flat. Exit code 1 if anything is wrong.
"""
import collections
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

quantd, source, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
STEP_S = 2 if seconds < 300 else 20
SEEDS, METHODS = range(1, 5), ["minmax", "mse", "aciq"]
MODELS = ["swapped", "recalibrated", "unloaded", "versions"]
work = tempfile.mkdtemp()
folder = f"{source}/models/fashion-mnist/evaluation"
pictures = [open(f"{folder}/{name}", "rb").read() for name in sorted(os.listdir(folder))[::80]]
known = {}
problems, counts, lock = [], collections.Counter(), threading.Lock()
over = threading.Event()


def wrong(text):
    with lock:
        problems.append(text)


def network(path, seed):
    subprocess.run([sys.executable, f"{source}/tests/e2e/tiny_onnx.py", path + ".new", str(seed)], check=True)
    os.replace(path + ".new", path)


def make_model(path, seed):
    os.makedirs(f"{path}/1")
    with open(f"{path}/model.json", "w") as file:
        json.dump({"preprocess": {"color": "gray", "resize": "stretch", "size": [28, 28], "scale": 1 / 255},
                   "calibration": {"images": f"{source}/models/fashion-mnist/calibration", "method": METHODS[0],
                                   "max_images": 24}, "gate": {"min_agreement": 0}}, file)
    network(f"{path}/1/model.onnx", seed)


class Daemon:
    def __init__(self, models, cache):
        self.log = open(f"{work}/log", "w+")
        self.process = subprocess.Popen([quantd, "--listen", "127.0.0.1:0", "--models", models, "--cache", cache], stderr=self.log)
        while "models loaded" not in self.text():
            assert self.process.poll() is None, self.text()
            time.sleep(0.05)
        self.port = int(re.search(r"listens on port (\d+)", self.text()).group(1))

    def text(self):
        with open(f"{work}/log") as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def ask(port, method, path, body=None, kind="application/json", connection=None):
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    own.request(method, path, body, {"Content-Type": kind} if body else {})
    answer = own.getresponse()
    text = answer.read()
    if not connection:
        own.close()
    return answer.status, text


def infer(port, model, picture, connection=None, version=None):
    path = f"/infer?model={model}" + (f"&version={version}" if version else "")
    status, text = ask(port, "POST", path, pictures[picture], "image/jpeg", connection)
    return status, json.loads(text)


def recalibrate(port, model, method):
    status, text = ask(port, "POST", "/recalibrate", json.dumps({"model": model, "method": method}))
    assert status == 202, text
    job = json.loads(text)
    while job["state"] == "running":
        time.sleep(0.02)
        job = json.loads(ask(port, "GET", f"/recalibrate/{job['job']}")[1])
    assert job["state"] == "done", job


def find_known():
    for seed in SEEDS:
        make_model(f"{work}/known/{seed}", seed)
    daemon = Daemon(f"{work}/known", f"{work}/known-cache")
    for seed in SEEDS:
        for method in METHODS:
            if method != METHODS[0]:
                recalibrate(daemon.port, str(seed), method)
            known[seed, method] = [infer(daemon.port, str(seed), p)[1]["results"] for p in range(len(pictures))]
    assert daemon.stop() == 0


# Which networks and methods the answers of a generation can be from, so far.
candidates = {}


def check(model, picture, answer):
    key = (model, answer["version"], answer["generation"])
    fits = {k for k, results in known.items() if results[picture] == answer["results"]}
    with lock:
        left = candidates.get(key, fits) & fits
        candidates[key] = left
    if not left:
        wrong(f"{key}: picture {picture} is answered by none of {sorted(known)} alone: {answer}")


def client(daemon, seed):
    rng = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    while not over.is_set():
        model, picture = rng.choice(MODELS), rng.randrange(len(pictures))
        try:
            status, answer = infer(daemon.port, model, picture, connection)
        except OSError as error:
            wrong(f"{model}: {error!r}")
            connection.close()
            continue
        counts[status] += 1
        if status == 200:
            check(model, picture, answer)
        elif not (status == 503 and model == "unloaded") and status != 429:
            wrong(f"{model}: {status} {answer}")


def leaving_client(daemon):
    rng = random.Random(0)
    while not over.is_set():
        with socket.create_connection(("127.0.0.1", daemon.port)) as s:
            body = pictures[0][:rng.randrange(len(pictures[0]) + 1)]
            s.sendall(b"POST /infer?model=swapped HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                      % len(pictures[0]) + body)
        counts["left"] += 1
        time.sleep(0.05)


def bad_client(daemon):
    while not over.is_set():
        for body, kind, expected in ((pictures[0][:300], "image/jpeg", 422), (b"{", "application/json", 400),
                                     (b"x", "text/html", 415)):
            try:
                status, text = ask(daemon.port, "POST", "/infer?model=recalibrated", body, kind)
            except OSError as error:
                status, text = 0, repr(error)
            counts[status] += 1
            if status != expected:
                wrong(f"{kind}: {status} {text}, expected {expected}")
        time.sleep(0.01)


def expect(port, model, seed, method, version=None):
    status, answer = infer(port, model, 0, version=version)
    if status != 200 or answer["results"] not in [known[seed, m][0] for m in METHODS if method in (None, m)]:
        wrong(f"{model}: expected the answers of network {seed} by {method}, found {status} {answer}")


def until(port, model, seed):
    end = time.time() + 20
    while time.time() < end:
        status, answer = infer(port, model, 0)
        if status == 200 and answer["results"] in [known[seed, m][0] for m in METHODS]:
            return
        time.sleep(0.05)
    wrong(f"{model}: network {seed} did not take over")


def must(answer):
    if answer[0] != 200:
        wrong(f"expected 200, found {answer}")


def step(daemon, models, n):
    port, seed, method = daemon.port, SEEDS[n % len(SEEDS)], METHODS[n % len(METHODS)]
    network(f"{models}/swapped/1/model.onnx", seed)
    if n % 3 == 0:
        must(ask(port, "POST", "/v2/repository/models/swapped/load"))
        expect(port, "swapped", seed, None)
    elif n % 3 == 1:
        daemon.process.send_signal(signal.SIGHUP)
    until(port, "swapped", seed)
    recalibrate(port, "recalibrated", method)
    expect(port, "recalibrated", 2, method)
    if n % 2:
        must(ask(port, "POST", "/models/recalibrated/rollback"))
        expect(port, "recalibrated", 2, METHODS[(n - 1) % len(METHODS)] if n % 2 and n > 1 else None)
    must(ask(port, "POST", "/v2/repository/models/unloaded/unload"))
    must(ask(port, "POST", "/v2/repository/index"))
    must(ask(port, "POST", "/v2/repository/models/unloaded/load"))
    expect(port, "unloaded", 3, None)
    if n % 2:
        shutil.rmtree(f"{models}/versions/2", ignore_errors=True)
    else:
        os.makedirs(f"{work}/2", exist_ok=True)
        network(f"{work}/2/model.onnx", 1)
        shutil.copytree(f"{work}/2", f"{models}/versions/2")
    must(ask(port, "POST", "/v2/repository/models/versions/load"))
    expect(port, "versions", 4 if n % 2 else 1, None)
    for path in "/models", "/metrics", "/models/recalibrated/layers":
        must(ask(port, "GET", path))


def control(daemon, models):
    n, end = 0, time.time() + seconds
    while time.time() < end:
        next_step = time.time() + STEP_S
        try:
            step(daemon, models, n)
        except (OSError, AssertionError) as error:
            wrong(f"step {n}: {error!r}")
        n += 1
        counts["steps"] += 1
        time.sleep(max(0, min(next_step, end) - time.time()))
    over.set()


def median(values):
    return sorted(values)[len(values) // 2]


def soak():
    models = f"{work}/models"
    for i, name in enumerate(MODELS):
        make_model(f"{models}/{name}", i + 1)
    daemon = Daemon(models, f"{work}/cache")
    at_rest = daemon.descriptors()
    samples = []
    threads = [threading.Thread(target=client, args=(daemon, i)) for i in range(4)]
    threads += [threading.Thread(target=t, args=a) for t, a in ((leaving_client, (daemon,)), (bad_client, (daemon,)),
                                                                (control, (daemon, models)))]
    for thread in threads:
        thread.start()
    while not over.wait(0.2):
        samples.append((daemon.rss(), daemon.descriptors()))
    for thread in threads:
        thread.join()
    time.sleep(2)  # clients that left are seen by then
    rss = [s[0] for s in samples]
    n = len(rss)
    early, late = median(rss[n * 3 // 10:n // 2]), median(rss[n * 8 // 10:])
    print(f"answers: {dict(counts)}; generations: {len(candidates)}")
    tenths = [median(rss[n * i // 10:n * (i + 1) // 10]) for i in range(10)]
    print(f"memory: {early} kB after warm-up, {late} kB at the end, at most {max(rss)} kB; by tenths of the time: {tenths}")
    print(f"descriptors: {at_rest} at rest, at most {max(s[1] for s in samples)}, {daemon.descriptors()} at the end")
    # A short run is hardly past its warm-up, and its networks are small: two megabytes are its grain.
    if late > early * 1.05 + (2000 if seconds < 300 else 0):
        wrong("memory grows")
    if daemon.descriptors() > at_rest + 2:
        wrong("descriptors are lost")
    if not counts[200] or counts["steps"] < 2:
        wrong("too little happened")
    code = daemon.stop()
    if code != 0:
        wrong(f"exit code {code}: {daemon.text()[-2000:]}")


try:
    find_known()
    soak()
finally:
    shutil.rmtree(work)
for problem in problems[:20]:
    print(problem)
print(f"{len(problems)} problems")
sys.exit(1 if problems else 0)
