"""A client of the Open Inference Protocol as Triton's own client library speaks it: JSON or binary tensors both ways,
encoded pictures as BYTES, classification. Only the standard library."""

import http.client
import json
import struct

from keep import keep


class Client:
    def __init__(self, url):
        self.connection = http.client.HTTPConnection(url.split("//")[1], timeout=30)

    def ask(self, method, path, body=None, headers=None):
        """status, headers, body"""
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        content = answer.read()
        keep(answer.status, method, path, answer.headers, content)
        return answer.status, answer.headers, content

    def get(self, path):
        status, _, body = self.ask("GET", path)
        return status, json.loads(body)

    def infer(self, model, inputs, outputs=None, binary=True, **more):
        """inputs: (name, datatype, shape, bytes or list). Returns status, the answer's JSON, {output: bytes or list}."""
        described, blobs = [], []
        for name, datatype, shape, data in inputs:
            item = {"name": name, "datatype": datatype, "shape": shape}
            if isinstance(data, bytes):
                item["parameters"] = {"binary_data_size": len(data)}
                blobs.append(data)
            else:
                item["data"] = data
            described.append(item)
        request = {"inputs": described, **more}
        if outputs is not None:
            request["outputs"] = outputs
        elif binary:
            request.setdefault("parameters", {})["binary_data_output"] = True
        text = json.dumps(request).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
        status, headers, body = self.ask("POST", "/v2/models/" + model + "/infer", text + b"".join(blobs), headers)
        size = int(headers.get("Inference-Header-Content-Length", len(body)))
        answer, rest = json.loads(body[:size]), body[size:]
        values = {}
        for output in answer.get("outputs", []):
            length = output.get("parameters", {}).get("binary_data_size")
            values[output["name"]] = output["data"] if length is None else rest[:length]
            rest = rest[length or 0 :]
        assert not rest, "bytes are left behind the last output"
        return status, answer, values


def bytes_tensor(elements):
    return b"".join(struct.pack("<I", len(e)) + e for e in elements)


def bytes_elements(data):
    elements, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        elements.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return elements


def floats(data):
    return list(struct.unpack("<%df" % (len(data) // 4), data))
