"""Asks the real daemon for everything that docs/openapi.yaml describes, well and badly, and holds every answer against it.
openapi_calls.py QUANTD SOURCE CACHE. TAP. Every route of the router is in the document, every operation is asked."""
import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

from openapi import Document

QUANTD, SOURCE, CACHE = sys.argv[1:4]
MODELS = os.path.join(SOURCE, "models", "fashion-mnist")
JPEG = open(os.path.join(MODELS, "evaluation", "ankle-boot_00000.jpg"), "rb").read()
TOKEN = "a-token-of-this-test-and-no-other"
MODEL, INPUT, OUTPUT = "fashion-mnist", "image", "probability"
number = 0


def check(name, problems):
    global number
    number += 1
    print("%s %d - %s" % ("not ok" if problems else "ok", number, name), flush=True)
    for problem in problems or ():
        print("# %s" % problem)


class Daemon:
    def __init__(self, *options, cache=CACHE, until="models loaded"):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.process = subprocess.Popen([QUANTD, "--listen", "127.0.0.1:0", "--models", MODELS, "--cache", cache, *options],
                                        stdout=self.log, stderr=self.log)
        for _ in range(1200):
            with open(self.log.name, encoding="utf-8") as file:
                text = file.read()
            port = re.search(r"listens on port (\d+)", text)
            if port and until in text or self.process.poll() is not None:
                break
            time.sleep(0.05)
        if not port:
            sys.exit("# the daemon did not start: %s" % text)
        self.port = int(port.group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def say(self, text):
        """Raw bytes, for what a client library would not send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(text)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, answer.headers, answer.read()


document = Document(os.path.join(SOURCE, "docs", "openapi.yaml"))
asked = set()



def as_route(template):
    return re.sub(r"\{\w+\}", "*", template or "")


def hold(method, path, answer, expected):
    status, headers, body = answer
    problems = document.validate(method, path, status, headers, body)
    if status not in expected:
        problems.append("expected %s, answered %d: %s" % (" or ".join(map(str, expected)), status, body[:200]))
    asked.add((method, document.template(path)))
    return problems


def call(daemon, method, path, body=None, headers=None, expected=(200,)):
    check("%s %s: %s" % (method, path[:80], "/".join(map(str, expected))),
          hold(method, path, daemon.ask(method, path, body, headers), expected))


# Pictures, tensors and what is no request of these; (body, headers, status) for a call that infers.
def multipart(*parts):
    body = b"".join(b'--parts\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + p + b"\r\n" for p in parts)
    return body + b"--parts--\r\n", {"Content-Type": "multipart/form-data; boundary=parts"}


def as_json(value):
    return json.dumps(value).encode(), {"Content-Type": "application/json"}


AS_JPEG = {"Content-Type": "image/jpeg"}
B64 = base64.b64encode(JPEG).decode()
CUT = JPEG[:300]
NATIVE = [(JPEG, AS_JPEG, 200), (*multipart(JPEG, CUT), 200), (*as_json({"images": [{"b64": B64}, {"b64": B64}]}), 200),
          (CUT, AS_JPEG, 422), (b"GIF89a", AS_JPEG, 422), (b"x", {"Content-Type": "text/html"}, 415),
          (*as_json({"images": []}), 400), (b"{", {"Content-Type": "application/json"}, 400),
          (*multipart(*[JPEG] * 80), 413)]


def v2_input(**more):
    return {"name": INPUT, "shape": [1], "datatype": "BYTES", "data": [B64], **more}


def v2(**more):
    return as_json({"inputs": [v2_input()], **more})


PIXELS = {"shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [7] * 784}
RAW = {"Inference-Header-Content-Length": "0"}
V2 = [(*v2(id="a"), 200), (*v2(outputs=[{"name": OUTPUT, "parameters": {"classification": 3}}]), 200),
      (*v2(parameters={"binary_data_output": True}), 200), (JPEG, RAW, 200), (*as_json({"inputs": [v2_input(**PIXELS)]}), 200),
      (*as_json({"inputs": [v2_input(name="nothing")]}), 400), (*as_json({}), 400), (CUT, RAW, 422),
      (b"{", {"Inference-Header-Content-Length": "99"}, 400)]


def v2_paths(model, version=""):
    return "/v2/models/" + model + version


def ask_states(daemon):
    for path in ("/", "/recalibrate", "/models", "/models/" + MODEL, "/models/%s/layers" % MODEL, "/metrics", "/healthz", "/readyz", "/openapi.yaml",
                 "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/ping"):
        call(daemon, "GET", path)
    for version in ("", "/versions/1"):
        for what in ("", "/ready", "/config", "/stats"):
            call(daemon, "GET", v2_paths(MODEL, version) + what)
            call(daemon, "GET", v2_paths("nothing", version) + what, expected=(404,))
    for path in ("/models/nothing", "/models/nothing/layers", "/nowhere", "/recalibrate/77", "/recalibrate/x"):
        call(daemon, "GET", path, expected=(404,))


def ask_inference(daemon):
    for body, headers, status in NATIVE:
        call(daemon, "POST", "/infer", body, headers, (status,))
    for query, status in (("?top_k=3&model=" + MODEL, 200), ("?top_k=99", 400), ("?model=nothing", 404)):
        call(daemon, "POST", "/infer" + query, JPEG, AS_JPEG, (status,))
    for version in ("", "/versions/1"):
        for body, headers, status in V2:
            call(daemon, "POST", v2_paths(MODEL, version) + "/infer", body, headers, (status,))
        call(daemon, "POST", v2_paths("nothing", version) + "/infer", *v2(), (404,))
    for version in ("", "/1"):
        for body, status in ((JPEG, 200), (CUT, 422)):
            call(daemon, "POST", "/predictions/" + MODEL + version, body, None, (status,))
        call(daemon, "POST", "/predictions/nothing" + version, JPEG, None, (404,))
    head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    check("POST /infer, too large: 413", hold("POST", "/infer", daemon.say(head + b"Content-Length: 9999999\r\n\r\n"), (413,)))
    check("POST /infer without a length", hold("POST", "/infer", daemon.say(head + b"\r\n"), (411, 422)))


def ask_other_methods(daemon):
    """Of every path, what it does not have."""
    for path, item in document.root["paths"].items():
        path = path.replace("{model}", MODEL).replace("{version}", "1").replace("{job}", "1")
        method = "PUT" if "get" in item or "post" in item else "GET"
        problems = hold(method, path, daemon.ask(method, path), (405,))
        asked.discard((method, document.template(path)))
        check("%s %s: 405" % (method, path), problems)


def wait_for_job(daemon, path, seconds=120):
    for _ in range(int(seconds * 5)):
        answer = daemon.ask("GET", path)
        if json.loads(answer[2])["state"] != "running":
            return hold("GET", path, answer, (200,))
        time.sleep(0.2)
    return ["it runs yet after %d s" % seconds]


def ask_calibration(daemon):
    call(daemon, "POST", "/recalibrate", *as_json({"model": "nothing"}), (404,))
    call(daemon, "POST", "/recalibrate", *as_json({"nothing": 1}), (400,))
    call(daemon, "POST", "/recalibrate", *as_json({"model": MODEL}), (202,))
    call(daemon, "GET", "/recalibrate/1")
    call(daemon, "GET", "/recalibrate")
    call(daemon, "POST", "/recalibrate", None, None, (409,))
    call(daemon, "DELETE", "/recalibrate/1")
    check("GET /recalibrate/1 afterwards", wait_for_job(daemon, "/recalibrate/1"))
    call(daemon, "DELETE", "/recalibrate/77", expected=(404,))
    call(daemon, "POST", "/recalibrate", *as_json({"method": "minmax"}), (202,))
    check("GET /recalibrate/2 afterwards", wait_for_job(daemon, "/recalibrate/2"))
    check("GET /recalibrate lists the newest first", [] if [j["job"] for j in json.loads(daemon.ask("GET", "/recalibrate")[2])["jobs"]]
          == [2, 1] else ["it does not"])
    call(daemon, "GET", "/models/" + MODEL)
    call(daemon, "POST", "/models/%s/rollback" % MODEL, None, None, (200, 404, 409))
    call(daemon, "POST", "/models/nothing/rollback", None, None, (404,))
    call(daemon, "POST", "/models/%s/rollback" % MODEL, *as_json({"generation": "x"}), (400,))


def ask_repository(daemon):
    for body, status in (({}, 200), ({"ready": True}, 200), ({"ready": 1}, 400)):
        call(daemon, "POST", "/v2/repository/index", *as_json(body), (status,))
    for what in ("unload", "load"):
        call(daemon, "POST", "/v2/repository/models/nothing/" + what, None, None, (404,))
        call(daemon, "POST", "/v2/repository/models/%s/%s" % (MODEL, what), *as_json({"parameters": {"config": "x"}}), (400,))
        call(daemon, "POST", "/v2/repository/models/%s/%s" % (MODEL, what))
        call(daemon, "GET", "/models")


def ask_full(daemon):
    """The queue's one place is taken while a picture waits for others to run with."""
    for path, body, headers in (("/infer", JPEG, AS_JPEG), (v2_paths(MODEL) + "/infer", *v2()),
                                ("/predictions/" + MODEL, JPEG, None)):
        first = threading.Thread(target=daemon.ask, args=("POST", "/infer", JPEG, AS_JPEG))
        first.start()
        time.sleep(0.3)
        call(daemon, "POST", path, body, headers, (429,))
        first.join()


def ask_limits():
    with Daemon("--queue-limit", "1", "--max-delay-us", "900000") as daemon:
        ask_full(daemon)
    with Daemon("--max-delay-us", "50000") as daemon:
        call(daemon, "POST", "/infer?timeout_us=1", JPEG, AS_JPEG, (504,))
        call(daemon, "POST", v2_paths(MODEL) + "/infer?timeout_us=1", *v2(), (504,))
        call(daemon, "POST", "/predictions/" + MODEL + "?timeout_us=1", JPEG, None, (504,))
    with tempfile.TemporaryDirectory() as empty, Daemon(cache=empty, until="") as daemon:
        for path in ("/readyz", "/v2/health/ready", "/ping", "/models/%s/layers" % MODEL, v2_paths(MODEL) + "/ready"):
            call(daemon, "GET", path, expected=(503,))
        call(daemon, "GET", "/models")
        call(daemon, "POST", "/infer", JPEG, AS_JPEG, (503,))


def ask_access(options):
    if "--admin-token-file" not in options:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "token")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        slow = ("--body-timeout-s", "1") if "--body-timeout-s" in options else ()
        with Daemon("--admin-token-file", path, *slow) as daemon:
            for token in (None, "Bearer wrong"):
                call(daemon, "POST", "/recalibrate", None, {"Authorization": token} if token else None, (401,))
            call(daemon, "DELETE", "/recalibrate/1", None, {"Authorization": "Bearer " + TOKEN}, (404,))
            if slow:
                raw = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\nx"
                check("POST /infer, slowly: 408", hold("POST", "/infer", daemon.say(raw), (408,)))
    with Daemon() as daemon:
        call(daemon, "POST", "/recalibrate", None, {"X-Forwarded-For": "192.0.2.1"}, (403,))


def routes():
    with open(os.path.join(SOURCE, "src", "http", "router.c"), encoding="utf-8") as file:
        return set(re.findall(r'^    \{"([A-Z]+)", "([^"]+)", qd_route', file.read(), re.M))


def main():
    in_router = routes()
    described = {(m, as_route(p)) for m, p, _ in document.operations()}
    check("every route of the router is in the document", ["%s %s is not" % r for r in sorted(in_router - described)])
    check("every operation of the document is a route", ["%s %s: %s" % (*r, "is none" if r in described else "is one")
                                                         for r in sorted(described ^ in_router)])
    with Daemon("--max-body-bytes", str(4 << 20), "--max-images", "64") as daemon:
        ask_states(daemon)
        ask_inference(daemon)
        ask_other_methods(daemon)
        ask_calibration(daemon)
        ask_repository(daemon)
        status, _, body = daemon.ask("GET", "/openapi.yaml")
        with open(os.path.join(SOURCE, "docs", "openapi.yaml"), "rb") as file:
            check("/openapi.yaml is the document", [] if status == 200 and body == file.read() else ["it is another"])
    ask_limits()
    ask_access(subprocess.run([QUANTD, "serve", "--help"], capture_output=True, text=True, check=False).stdout)
    left = {(m, p) for m, p, _ in document.operations()} - asked
    check("every operation has been asked", ["%s %s has not" % r for r in sorted(left)])
    print("1..%d" % number)


if __name__ == "__main__":
    main()
