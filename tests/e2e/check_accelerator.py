"""check_accelerator.py FOLDER: recomputes the golden vectors of quantd export --accelerator, byte for byte.

Written after docs/accelerator-export.md alone, of which it is the test. Standard library only.
"""
import array
import json
import operator
import sys


def round_(p, shift, zero):
    if shift <= 0:
        return (p << -shift) + zero
    p += zero << shift
    floor, rest, half = p >> shift, p & ((1 << shift) - 1), 1 << (shift - 1)
    return floor + (rest > half or (rest == half and floor & 1))


def sat32(x):
    return max(-2**31, min(x, 2**31 - 1))


def finish(step, p, shift, c):
    act, zero = step["activation"], step["output_zero_point"]
    if act["form"] == "clamp":
        y = round_(p, shift, zero)
    else:
        t = sat32(round_(p, shift - 12, 0))
        if act["form"] == "leaky":
            y = round_(t * act["multiplier"], act["shift"] + 12, zero) if t < 0 else round_(t, 12, zero)
        elif act["form"] == "hardswish":
            gate = round_(t * act["multiplier"][c], act["shift"][c] + 12 - 15, 0) + 2**14
            y = round_(t * max(0, min(gate, 2**15)), 27, zero)
        elif act["form"] == "curve":
            bits, values = act["segment_bits"], act["values"]
            u = max(0, min(t - act["first"], 256 << bits))
            i = min(u >> bits, 255)
            r = u - (i << bits)
            y = round_(values[i] * ((1 << bits) - r) + values[i + 1] * r, bits + 8, zero)
        else:
            raise ValueError(act["form"])
    return max(step["clamp"][0], min(y, step["clamp"][1]))


def places(step, y, x):
    """The window's places under output (y, x): an index of the pixel, or None in the padding."""
    h, w, _ = step["in"]
    for ky in range(step["kernel"][0]):
        for kx in range(step["kernel"][1]):
            iy = y * step["strides"][0] + ky * step["dilations"][0] - step["pads"][0]
            ix = x * step["strides"][1] + kx * step["dilations"][1] - step["pads"][1]
            yield iy * w + ix if 0 <= iy < h and 0 <= ix < w else None


def outputs_of(step):
    return ((y, x) for y in range(step["out"][0]) for x in range(step["out"][1]))


def layer(step, ins, bin_):
    c, n, group = step["in"][2], step["out"][2], step["group"]
    at, k = step["weights"]["offset"], step["weights"]["size"] // n
    rows = [list(memoryview(bin_)[at + o * k:at + (o + 1) * k].cast("b")) for o in range(n)]
    data, pad, residual = ins[0], bytes(step["pad_bytes"]), step.get("residual")
    out = []
    for y, x in outputs_of(step):
        pixels = [pad if p is None else data[p * c:(p + 1) * c] for p in places(step, y, x)]
        patches = [b"".join(p[g * c // group:(g + 1) * c // group] for p in pixels) for g in range(group)]
        for o in range(n):
            acc = step["bias"][o] + sum(map(operator.mul, patches[o // (n // group)], rows[o]))
            assert -2**31 <= acc < 2**31, step["name"]
            if step["output_type"] == "s32":
                out.append(acc)
                continue
            p, shift = acc * step["multiplier"][o], step["shift"][o]
            if residual:
                wide = max(shift, residual["shift"])
                r = ins[residual["input"]][len(out)] - residual["zero_point"]
                p = (p << (wide - shift)) + ((r * residual["multiplier"]) << (wide - residual["shift"]))
                shift = wide
            assert -2**63 <= p < 2**63, step["name"]
            out.append(finish(step, p, shift, o))
    return out


def max_pool(step, ins, bin_):
    c = step["in"][2]
    return [max(ins[0][p * c + i] for p in places(step, y, x) if p is not None)
            for y, x in outputs_of(step) for i in range(c)]


def average_pool(step, ins, bin_):
    c, zero, out = step["in"][2], step["input_zero_point"], []
    for y, x in outputs_of(step):
        inside = [p for p in places(step, y, x) if p is not None]
        for i in range(c):
            s = sum(ins[0][p * c + i] - zero for p in inside)
            if step["output_type"] == "s32":
                out.append(s)
                continue
            n = step["kernel"][0] * step["kernel"][1] if step["count_padding"] else len(inside)
            at = n - 1 if step["multiplier_by"] == "taps" else i
            out.append(finish(step, s * step["multiplier"][at], step["shift"][at], i))
    return out


def add(step, ins, bin_):
    wide = max(step["shift"])
    terms = list(zip(step["input_zero_points"], step["multiplier"], step["shift"]))
    return [finish(step, sum(((b - zero) * m) << (wide - shift) for b, (zero, m, shift) in zip(pair, terms)), wide, 0)
            for pair in zip(*ins)]


def mul(step, ins, bin_):
    c, zeros, out = len(step["multiplier"]), step["input_zero_points"], []
    for i in range(max(map(len, ins))):
        a, b = (ins[j][i % c if step["input_is_row"][j] else i] - zeros[j] for j in range(2))
        out.append(finish(step, a * b * step["multiplier"][i % c], step["shift"][i % c], i % c))
    return out


def line(step, ins, bin_):
    c, zero = len(step["multiplier"]), step["input_zero_point"]
    return [finish(step, (b - zero) * step["multiplier"][i % c] + step["addend"][i % c], step["shift"][i % c], i % c)
            for i, b in enumerate(ins[0])]


def table(step, ins, bin_):
    return [step["table"][b] for b in ins[0]]


def copy(step, ins, bin_):
    where, all_ = step["from"], b"".join(ins)
    index = array.array("i", bin_[where["offset"]:where["offset"] + where["size"]])
    return [step["fill"] if i < 0 else all_[i] for i in index]


KINDS = {f.__name__: f for f in (layer, max_pool, average_pool, add, mul, line, table, copy)}


def read(path):
    with open(path, "rb") as file:
        return file.read()


def class_of(model, values):
    """The largest real value of the first output; of one pixel, so that no order matters."""
    name = model["outputs"][0]
    step = next(s for s in model["steps"] if s["output"] == name)
    reals = values[name]
    if step["output_type"] == "s32":
        reals = [v * s for v, s in zip(values[name], step["output_scale"])]
    return max(range(len(reals)), key=reals.__getitem__)


def main(folder):
    model = json.loads(read(f"{folder}/model.json"))
    assert model["format"] == "quantd accelerator" and model["version"] == 1
    bin_ = read(f"{folder}/{model['weights']}")
    for golden in model["golden"]:
        values = {model["input"]: read(f"{folder}/{golden['folder']}/input.bin")}
        for number, step in enumerate(model["steps"]):
            out = KINDS[step["kind"]](step, [values[name] for name in step["inputs"]], bin_)
            made = bytes(out) if step["output_type"] == "u8" else array.array("i", out).tobytes()
            assert made == read(f"{folder}/{golden['folder']}/{number:03d}.bin"), (golden["picture"], step["name"])
            values[step["output"]] = made if step["output_type"] == "u8" else out
        assert class_of(model, values) == golden["class"], golden
    print(f"{len(model['golden'])} pictures, {len(model['steps'])} steps: all bytes as written")


main(sys.argv[1])
