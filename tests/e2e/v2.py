"""The V2 protocol against the real daemon: usage v2.py URL PICTURES-FOLDER. TAP."""

import base64
import io
import json
import os
import struct
import sys

from PIL import Image
from tap import Tap
from v2_client import Client, bytes_elements, bytes_tensor, floats

url, folder = sys.argv[1:3]
MODEL, INPUT, OUTPUT = "fashion-mnist", "image", "probability"
PATH = "/v2/models/" + MODEL
client = Client(url)
tap = Tap()
check = tap.check
files = [open(os.path.join(folder, f), "rb").read() for f in sorted(os.listdir(folder)) if f.endswith(".jpg")][:12]
pixels = [Image.open(io.BytesIO(f)).convert("L").tobytes() for f in files]


def native(body):
    status, _, text = client.ask("POST", "/infer?top_k=10", body, {"Content-Type": "image/jpeg"})
    return {t["class"]: t["score"] for t in json.loads(text)["results"][0]["top"]}


known = [[native(f)[c] for c in range(10)] for f in files]


def same(got, wanted):
    return len(got) == len(wanted) and all(abs(a - b) < 1e-7 for a, b in zip(got, wanted))


def flat(lists):
    return [x for part in lists for x in part]


# What the server says of itself.
status, answer = client.get("/v2")
check("server metadata", status == 200 and answer["name"] == "quantd" and "classification" in answer["extensions"], answer)
for path in ("/v2/health/live", "/v2/health/ready", PATH + "/ready", PATH + "/versions/1/ready"):
    check("GET " + path, client.get(path)[0] == 200)
status, answer = client.get(PATH)
check("model metadata", answer["inputs"] == [{"name": INPUT, "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
      and answer["outputs"] == [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, 10]}]
      and answer["platform"] == "onnx_onnxv1" and answer["versions"] == ["1"], answer)
check("the same by version", client.get(PATH + "/versions/1")[1] == answer)
status, answer = client.get(PATH + "/config")
check("configuration", answer["input"][0]["dims"] == [1, 28, 28] and answer["max_batch_size"] == 8, answer)
check("an unknown model: 404", client.get("/v2/models/nothing")[0] == 404)
check("an unknown version: 404", client.get(PATH + "/versions/7")[0] == 404)
check("a version that is no number: 400", client.get(PATH + "/versions/1x/ready")[0] == 400)

# Pictures in, whatever the form: the floats are those of the native call.
status, answer, out = client.infer(MODEL, [(INPUT, "BYTES", [12], bytes_tensor(files))], id="a \"quoted\" id")
check("BYTES, binary both ways", status == 200 and same(floats(out[OUTPUT]), flat(known)), answer)
check("  id, shape, version, generation", answer["id"] == 'a "quoted" id' and answer["outputs"][0]["shape"] == [12, 10]
      and answer["model_version"] == "1" and answer["parameters"]["calibration_generation"] >= 1, answer)
check("  12 pictures go in batches of at most 8", 1 <= answer["parameters"]["batch_size"] <= 8, answer)
status, answer, out = client.infer(MODEL, [(INPUT, "BYTES", [2, 1], [base64.b64encode(f).decode() for f in files[:2]])],
                                   binary=False)
check("BYTES as base64 in JSON, answered in JSON", status == 200 and same(out[OUTPUT], flat(known[:2])), answer)
status, answer, out = client.infer(MODEL, [(INPUT, "UINT8", [12, 1, 28, 28], b"".join(pixels))])
check("UINT8 pixels, NCHW", status == 200 and same(floats(out[OUTPUT]), flat(known)), answer)
status, answer, out = client.infer(MODEL, [(INPUT, "UINT8", [12, 28, 28, 1], b"".join(pixels))])
check("UINT8 pixels, NHWC", status == 200 and same(floats(out[OUTPUT]), flat(known)), answer)
nested = [[[[p[y * 28 + x] for x in range(28)] for y in range(28)]] for p in pixels[:2]]
status, answer, out = client.infer(MODEL, [(INPUT, "UINT8", [2, 1, 28, 28], nested)], binary=False)
check("UINT8 as nested JSON", status == 200 and same(out[OUTPUT], flat(known[:2])), answer)
config = json.load(open(os.path.join(folder, "..", "model.json")))["preprocess"]
scale, mean, std = config["scale"], config.get("mean", [0])[0], config.get("std", [1])[0]
values = [(b * scale - mean) / std for p in pixels[:3] for b in p]
status, answer, out = client.infer(MODEL, [(INPUT, "FP32", [3, 1, 28, 28], struct.pack("<%df" % len(values), *values))])
check("FP32 in binary", status == 200 and same(floats(out[OUTPUT]), flat(known[:3])), answer)
status, answer, out = client.infer(MODEL, [(INPUT, "FP32", [3, 1, 28, 28], values)], binary=False)
check("FP32 as flat JSON", status == 200 and same(out[OUTPUT], flat(known[:3])), answer)
status, _, body = client.ask("POST", PATH + "/infer", files[0], {"Inference-Header-Content-Length": "0"})
check("a raw JPEG", status == 200 and same(json.loads(body)["outputs"][0]["data"], known[0]), body)
status, _, body = client.ask("POST", PATH + "/infer", pixels[0] + pixels[1], {"Inference-Header-Content-Length": "0"})
check("raw pixels of two pictures", status == 200 and same(json.loads(body)["outputs"][0]["data"], flat(known[:2])), body)
status, _, body = client.ask("POST", "/infer", pixels[0] + pixels[1], {"Content-Type": "application/octet-stream"})
check("the native call takes them too", status == 200 and len(json.loads(body)["results"]) == 2, body)

# Classification.
wanted = [{"name": OUTPUT, "parameters": {"classification": 3, "binary_data": True}}]
status, answer, out = client.infer(MODEL, [(INPUT, "BYTES", [2], bytes_tensor(files[:2]))], wanted)
classes = [e.decode().split(":") for e in bytes_elements(out[OUTPUT])]
best = max(range(10), key=lambda c: known[0][c])
check("classification: score:index:label", answer["outputs"][0]["datatype"] == "BYTES"
      and answer["outputs"][0]["shape"] == [2, 3] and int(classes[0][1]) == best
      and abs(float(classes[0][0]) - known[0][best]) < 1e-5 and classes[0][2], classes)

# Numbers of any spelling.
spelled = ["0.1e1", "1", "1.0", "10E-1", "0." + "9" * 80, "1." + "0" * 70, "1000000000000000000000e-21"]
body = ('{"inputs":[{"name":"image","datatype":"FP32","shape":[1,1,28,28],"data":[%s]}]}'
        % ",".join((spelled * 112)[:784])).encode()
plain = ('{"inputs":[{"name":"image","datatype":"FP32","shape":[1,1,28,28],"data":[%s]}]}' % ",".join(["1"] * 784)).encode()
answers = [client.ask("POST", PATH + "/infer", b) for b in (body, plain)]
check("numbers of any spelling", answers[0][0] == 200 and json.loads(answers[0][2])["outputs"] == json.loads(answers[1][2])["outputs"],
      answers)
for text in ("007", "1.", "-", "+1", ".5", "1e", "0x1", "nan", "1_0"):
    status, _, answer = client.ask("POST", PATH + "/infer", plain.replace(b"[1,1,1,1", b"[1,1,1," + text.encode()))
    check("%s is no number: 400" % text, status == 400, answer)
status, answer, _ = client.infer(MODEL, [(INPUT, "BYTES", [1], bytes_tensor(files[:1]))],
                                 [{"name": OUTPUT, "parameters": {"classification": 5000}}])
check("more classes than may be asked for: 400", status == 400 and "1 to 1000" in answer["error"], answer)
status, answer, out = client.infer(MODEL, [(INPUT, "BYTES", [2], bytes_tensor(files[:2]))],
                                   [{"name": OUTPUT, "parameters": {"classification": 1000}}], binary=False)
order = [[int(c.split(":")[1]) for c in out[OUTPUT][i * 10:i * 10 + 10]] for i in range(2)]
check("all classes, best first", order == [sorted(range(10), key=lambda c: -known[i][c]) for i in range(2)], (order, known[:2]))

# Priority and timeout.
for parameters, wanted in (({"priority": 1}, 200), ({"priority": 3, "timeout": 10000000}, 200), ({"priority": 9}, 400),
                           ({"priority": "high"}, 400), ({"timeout": -1}, 400)):
    status, answer, _ = client.infer(MODEL, [(INPUT, "BYTES", [1], bytes_tensor(files[:1]))], parameters=parameters)
    check("parameters %s: %d" % (parameters, wanted), status == wanted, answer)

# What is wrong: the status, words that help, and the next good request works.
one = [(INPUT, "BYTES", [1], bytes_tensor(files[:1]))]
nan = struct.pack("<784f", *([float("nan")] * 784))
bad = [
    ("an unknown input", [("x", *one[0][1:])], None, 400, "expected 'image', found 'x'"),
    ("an input twice", one + one, None, 400, "there twice"),
    ("no input", [], None, 400, "expected an array of one tensor"),
    ("an unknown output", one, [{"name": "y"}], 400, "no output 'y'"),
    ("an output twice", one, [{"name": OUTPUT}, {"name": OUTPUT}], 400, "the model has 1, found 2"),
    ("a datatype that is none", [(INPUT, "FP8", [1], b"")], None, 400, "expected BYTES (pictures), UINT8"),
    ("too few elements", [(INPUT, "UINT8", [1, 1, 28, 28], [1, 2])], None, 400, "expected 784 elements, found 2"),
    ("too many elements", [(INPUT, "UINT8", [1, 1, 28, 28], [1] * 785)], None, 400, "expected 784 elements, found more"),
    ("elements that are no numbers", [(INPUT, "UINT8", [1, 1, 28, 28], ["a"])], None, 400, "expected an array of numbers"),
    ("true among numbers", [(INPUT, "UINT8", [1, 1, 28, 28], [1, True])], None, 400, "element 1: expected a number"),
    ("256 as UINT8", [(INPUT, "UINT8", [1, 1, 28, 28], [1, 256])], None, 400, "whole number from 0 to 255"),
    ("a wrong size in bytes", [(INPUT, "UINT8", [1, 1, 28, 28], b"ab")], None, 400, "the shape takes 784 bytes, found 2"),
    ("another picture size", [(INPUT, "UINT8", [1, 1, 2, 2], b"abcd")], None, 400, "fixed"),
    ("two channels", [(INPUT, "UINT8", [1, 2, 28, 28], b"a" * 1568)], None, 400, "[n, 1, height, width]"),
    ("a shape of zeros", [(INPUT, "UINT8", [0, 1, 28, 28], b"")], None, 400, "shape[0]"),
    ("a shape beyond all bounds", [(INPUT, "FP32", [2**30, 1, 2**30, 2**30], b"")], None, 413, "more elements"),
    ("NaN", [(INPUT, "FP32", [1, 1, 28, 28], nan)], None, 400, "expected a finite number, found NaN"),
    ("infinity", [(INPUT, "FP32", [1, 1, 28, 28], [1e39] + [0] * 783)], None, 400, "found infinity"),
    ("a length that lies", [(INPUT, "BYTES", [1], struct.pack("<I", 99) + b"abc")], None, 400, "its length says 99 bytes, 3 are left"),
    ("fewer pictures than said", [(INPUT, "BYTES", [2], bytes_tensor(files[:1]))], None, 400, "element 1: expected a length"),
    ("more pictures than said", [(INPUT, "BYTES", [1], bytes_tensor(files[:2]))], None, 400, "are left behind"),
    ("too many pictures", [(INPUT, "BYTES", [999], bytes_tensor(files[:1] * 999))], None, 413, "at most 64 pictures"),
    ("a picture that is none", [(INPUT, "BYTES", [2], bytes_tensor([files[0], b"noise"]))], None, 422, "picture 1: "),
    ("a scalar as outputs", one, 5, 400, "outputs: expected an array"),
]
for name, inputs, outputs, wanted, text in bad:
    status, answer, _ = client.infer(MODEL, inputs, outputs)
    good, _, out = client.infer(MODEL, one)
    check("%s: %d" % (name, wanted), status == wanted and text in answer["error"] and good == 200
          and same(floats(out[OUTPUT]), known[0]), (status, answer, good))

# Bodies that lie.
request = json.dumps({"inputs": [{"name": INPUT, "shape": [1], "datatype": "BYTES", "data": ["AAAA"]}]}).encode()
bodies = [
    ("not JSON", b"{", None, 400, "JSON, line 1"),
    ("a NUL in a name", b'{"inputs":[{"name":"im\\u0000age"}]}', None, 400, "JSON, line 1"),
    ("an array", b"[]", None, 400, "expected an object"),
    ("250,000 levels", b'{"inputs":' + b"[" * 250000, None, 400, "levels"),
    ("250,000 levels as data", b'{"inputs":[{"data":' + b"[" * 250000, None, 400, "levels"),
    ("nested numbers without end", b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":'
     + b"[" * 5000 + b"]" * 5000 + b"}]}", None, 400, "levels of brackets"),
    ("a million elements elsewhere", b'{"x":[1' + b",1" * 1000000 + b"]}", None, 400, "at most 100000 elements"),
    ("a header of more than the body", request, "99999", 400, "Inference-Header-Content-Length"),
    ("a negative header", request, "-1", 400, "Inference-Header-Content-Length"),
    ("bytes that belong to nobody", request + b"xxxx", str(len(request)), 400, "4 bytes behind the JSON"),
    ("an empty body", b"", None, 400, "JSON"),
    ("a raw body of no known size", b"abc", "0", 400, "a raw body: expected a JPEG"),
    ("numbers out of order", b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":[1,,2]}]}', None, 400,
     "out of place"),
    ("a data array's number as data", b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"d\\u0061ta":[0]}]}',
     None, 400, "expected an array of numbers"),
    ("the same key twice", b'{"id":"a","id":"b"}', None, 400, "duplicate"),
]
for name, body, header, wanted, text in bodies:
    headers = {} if header is None else {"Inference-Header-Content-Length": header}
    status, _, answer = client.ask("POST", PATH + "/infer", body, headers)
    good, _, out = client.infer(MODEL, one)
    check("%s: %d" % (name, wanted), status == wanted and text in json.loads(answer)["error"] and good == 200, answer)

status, answer = client.get(PATH + "/stats")
stats = answer["model_stats"][0]
check("statistics add up", status == 200 and stats["execution_count"] == sum(b["compute_infer"]["count"] for b in stats["batch_stats"])
      and stats["inference_count"] == sum(b["batch_size"] * b["compute_infer"]["count"] for b in stats["batch_stats"])
      and stats["inference_stats"]["success"]["count"] > 40 and stats["inference_stats"]["fail"]["count"] > 30, stats)
status, _, body = client.ask("POST", "/predictions/" + MODEL, files[0])
check("TorchServe's /predictions", status == 200 and abs(max(json.loads(body).values()) - max(known[0])) < 1e-7, body)
check("TorchServe's /ping", client.get("/ping") == (200, {"status": "Healthy"}))
tap.done()
