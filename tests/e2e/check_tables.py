"""check_tables.py NCNN-TABLE TENSORRT-CACHE MODEL.onnx: the text of both, the names against the ONNX file's bytes."""
import struct
import sys

table, cache, model = sys.argv[1:]
with open(model, "rb") as file:
    onnx = file.read()
with open(table, encoding="utf-8") as file:
    lines = [line.split(" ") for line in file.read().splitlines()]
n = len(lines) // 2
assert n == 19 and len(lines) == 2 * n, len(lines)
for weights, activation in zip(lines[:n], lines[n:]):
    assert weights[0] == activation[0] + "_param_0", weights[0]
    assert activation[0].encode() in onnx, activation[0]
    assert all(float(s) > 0 for s in weights[1:] + activation[1:]), weights[0]
    assert len(activation) == 2
assert len(lines[0]) == 1 + 24 and len(lines[n - 1]) == 1 + 10
# The first layer reads what preprocessing gives: within (0 - 0.286) / 0.353 and (1 - 0.286) / 0.353.
assert 50 < float(lines[n][1]) < 75, lines[n]
with open(cache, encoding="utf-8") as file:
    header, *tensors = file.read().splitlines()
assert header == "TRT-8503-EntropyCalibration2", header
scales = {}
for tensor in tensors:
    name, bits = tensor.rsplit(": ", 1)
    assert name.encode() in onnx and len(bits) == 8, tensor
    scales[name] = struct.unpack(">f", bytes.fromhex(bits))[0]
    assert scales[name] > 0, tensor
assert "image" in scales and len(scales) == len(tensors)
assert abs(scales["image"] * float(lines[n][1]) - 1) < 1e-5
