"""The monitor's metrics: monitor.py every|seventh|none URL PID MODEL-FOLDER EVALUATION-JSON PIXELS. TAP, without its plan.

PIXELS: the evaluation set's decoded pictures in the order of their names, each after its width and height."""

import glob
import http.client
import json
import os
import re
import struct
import sys
import time

from keep import keep
from tap import Tap

what, url, pid, folder, evaluation, pixels = sys.argv[1:7]
host, port = url.split("//")[1].split(":")
connection = http.client.HTTPConnection(host, int(port), timeout=60)
tap = Tap()
tap.number = {"every": 0, "seventh": 22, "none": 25}[what]
check = tap.check
FEWEST = 50  # pictures, before there is a drift


def ask(method, path, body=None, content_type="application/json"):
    connection.request(method, path, body, {"Content-Type": content_type} if body else {})
    answer = connection.getresponse()
    content = answer.read()
    keep(answer.status, method, path, answer.headers, content)
    return answer.status, content


def metrics(model="fashion-mnist"):
    """{(name, layer or None): value} of one model."""
    text = ask("GET", "/metrics")[1].decode()
    found = re.findall(r'^(\w+)\{model="%s"(?:,layer="((?:[^"\\]|\\.)*)")?\} (\S+)$' % model, text, re.M)
    return {(name, layer or None): float(value) for name, layer, value in found}


def monitored(values):
    """The monitor's own among them."""
    return {k: v for k, v in values.items() if re.match("quantd_(shadow|drift|layer_drift|layer_saturation)", k[0])}


def layers(values, name):
    return {k[1]: v for k, v in values.items() if k[0] == name}


def counted(values):
    return values[("quantd_shadow_images_total", None)] + values[("quantd_shadow_dropped_total", None)]


def wait_for(n, model="fashion-mnist"):
    """Until n pictures were monitored or dropped."""
    for _ in range(2000):
        values = metrics(model)
        if counted(values) >= n:
            break
        time.sleep(0.01)
    return values


def send(pictures, content_type, model="fashion-mnist"):
    """Not faster than they are monitored. Returns the metrics afterwards."""
    values = metrics(model)
    start = counted(values)
    for i, picture in enumerate(pictures, 1):
        status, body = ask("POST", "/infer?model=" + model, picture, content_type)
        assert status == 200, body
        if i % 3 == 0 or i == len(pictures):
            values = wait_for(start + i, model)
    return values


def decoded():
    with open(pixels, "rb") as file:
        data = file.read()
    size = 8 + 28 * 28
    assert struct.unpack_from("<2i", data) == (28, 28) and len(data) % size == 0
    return [data[at + 8 : at + size] for at in range(0, len(data), size)]


def thread():
    """The fields of the monitor's thread in /proc, or None."""
    for task in os.listdir("/proc/%s/task" % pid):
        with open("/proc/%s/task/%s/stat" % (pid, task), encoding="ascii") as file:
            stat = file.read()
        if "(quantd-monitor)" in stat:
            return stat.rsplit(")", 1)[1].split()
    return None


def resident_kb():
    with open("/proc/%s/status" % pid, encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def load(action, model="fashion-mnist"):
    status, body = ask("POST", "/v2/repository/models/%s/%s" % (model, action), "{}")
    assert status == 200, body


def recalibrate(method):
    status, body = ask("POST", "/recalibrate", json.dumps({"model": "fashion-mnist", "method": method}))
    assert status == 202, body
    job = json.loads(body)["job"] if "job" in json.loads(body) else 1
    for _ in range(600):
        state = json.loads(ask("GET", "/recalibrate/%s" % job)[1])
        if state["state"] != "running":
            break
        time.sleep(0.1)
    assert state["state"] == "done", state


def gauges(values):
    return [k for k in monitored(values) if not k[0].endswith("_total")]


def every():
    files = [open(path, "rb").read() for path in sorted(glob.glob(folder + "/evaluation/*.jpg"))]
    values = metrics()
    check("counters are there from the start, at 0", counted(values) == 0, values)
    check("gauges are not", not gauges(values), gauges(values))
    fields = thread()
    check("a thread of its own: nice 19, SCHED_BATCH", fields and fields[16] == "19" and fields[38] == "3", fields)
    values = send(files, "image/jpeg")
    told = json.load(open(evaluation, encoding="utf-8"))
    n, agreements = (values[("quantd_shadow_%s_total" % name, None)] for name in ("images", "agreements"))
    check("all %d pictures were monitored" % len(files), n == len(files) == told["images"], (n, told))
    check("the agreement is that of 'quantd evaluate'", agreements == round(told["agreement"] * n), (agreements, told))
    ratio = values[("quantd_shadow_agreement_ratio", None)]
    check("  also as a ratio", abs(ratio - told["agreement"]) < 1e-5, (ratio, told))
    saturation, baseline = (layers(values, "quantd_layer_saturation_%s" % name) for name in ("ratio", "baseline_ratio"))
    check("saturation of each layer that has a baseline", saturation and saturation.keys() == baseline.keys(), (saturation, baseline))
    check("  near it", all(abs(saturation[k] - baseline[k]) < 1e-3 for k in saturation), (saturation, baseline))
    drift, by_layer = values[("quantd_drift", None)], layers(values, "quantd_layer_drift")
    check("the drift is that of the worst layer", drift == max(by_layer.values()), (drift, by_layer))
    check("  and small: %.3f" % drift, drift < 0.1, by_layer)

    recalibrate("mse")
    values = metrics()
    check("a new generation begins anew", not gauges(values), gauges(values))
    check("  counters go on", counted(values) == n, values)
    inverted = [picture.translate(bytes(255 - i for i in range(256))) for picture in decoded()[: 2 * FEWEST]]
    values = send(inverted[: FEWEST - 1], "application/octet-stream")
    check("there is no drift of a few pictures", ("quantd_drift", None) not in values, values)
    values = send(inverted, "application/octet-stream")
    drift = values[("quantd_drift", None)]
    check("inverted pictures drift: %.3f" % drift, drift > 0.25, layers(values, "quantd_layer_drift"))

    load("unload")
    check("nothing is said of a model that was unloaded", not monitored(metrics()), metrics())
    load("load")
    values = metrics()
    check("back again, it begins anew", not gauges(values), gauges(values))
    sizes = []
    for _ in range(20):
        send(files[:2], "image/jpeg")
        load("unload")
        time.sleep(0.3)  # until the runner's frames are gone, too
        sizes.append(resident_kb())
        load("load")
    check("what is unloaded gives its memory back", max(sizes[10:]) - sizes[3] < 2048, sizes)

    values = metrics("given")
    check("a quantized network is monitored, too", counted(values) == 0, values)
    values = send(files[: FEWEST + 1], "image/jpeg", "given")
    check("  for its agreement", values[("quantd_shadow_agreement_ratio", None)] > 0.9, values)
    check("  alone: nothing was calibrated", not {k for k in gauges(values) if "shadow" not in k[0]}, gauges(values))

    before = counted(metrics())
    parts = b"".join(b'--parts\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n' + f + b"\r\n" for f in files[:64])
    status, body = ask("POST", "/infer?model=fashion-mnist", parts + b"--parts--\r\n", "multipart/form-data; boundary=parts")
    check("64 at once are served", status == 200 and body.count(b'"top"') == 64, body[:300])
    values = wait_for(before + 64)
    check("  and each is monitored or dropped", counted(values) == before + 64, (before, values))


def seventh():
    path = sorted(glob.glob(folder + "/evaluation/*.jpg"))[0]
    picture = open(path, "rb").read()
    for _ in range(70):
        ask("POST", "/infer?model=fashion-mnist", picture, "image/jpeg")
    values = wait_for(10)
    check("one of seven", counted(values) == 10, values)
    for _ in range(7):
        ask("POST", "/infer?model=fashion-mnist", b"no picture", "image/jpeg")
    for _ in range(7):
        status, _ = ask("POST", "/infer?model=fashion-mnist", picture, "image/jpeg")
    values = wait_for(11)
    time.sleep(0.5)
    check("what cannot be read is none", counted(metrics()) == 11, metrics())
    check("serving goes on", status == 200)


def none():
    path = sorted(glob.glob(folder + "/evaluation/*.jpg"))[0]
    for _ in range(20):
        status, _ = ask("POST", "/infer?model=fashion-mnist", open(path, "rb").read(), "image/jpeg")
    check("monitor_every = 0 serves", status == 200)
    check("  without a thread", thread() is None)
    check("  and says nothing", not monitored(metrics()), metrics())


{"every": every, "seventh": seventh, "none": none}[what]()
