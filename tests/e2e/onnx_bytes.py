"""The bytes of onnx.proto, written by hand, so that no package is needed."""
import struct


def varint(x):
    out = b""
    while True:
        out += bytes([x & 127 | (128 if x > 127 else 0)])
        x >>= 7
        if not x:
            return out


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(name, value):
    kind, body = ((1, field(2, value)) if isinstance(value, float) else
                  (2, field(3, value)) if isinstance(value, int) else (7, b"".join(field(8, v) for v in value)))
    return field(1, name) + body + field(20, kind)


def node(op, inputs, output, domain="", **attributes):
    return field(1, b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, output) + field(4, op) +
                 b"".join(field(5, attribute(n, v)) for n, v in attributes.items()) +
                 (field(7, domain) if domain else b""))


def value(name, dims, kind=1):
    """kind: of its elements, 1 float, 2 uint8."""
    shape = b"".join(field(1, field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))
