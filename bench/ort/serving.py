#!/usr/bin/env python3
"""quantd and a minimal server of onnxruntime-node and sharp, by the same pictures over HTTP:
bench/ort/serving.py BUILD MODEL PICTURES [--cache DIR --seconds S --rounds N --connections N]

Once before: 'npm install --ignore-scripts' in bench/ort, 'make bench/load'. The peer serves the model's own fp32 file and
the int8 QDQ file that quantd exports, each as one run on all cores and as one run per core; the better counts. All take
turns; prints images per second (median of the rounds), latency and the ratio to quantd, and how often both name the same
first class. Standard library only."""
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from serving import Daemon, Server, load, make_parser  # noqa: E402


def first_class(server, jpeg):
    connection = http.client.HTTPConnection(server.where, timeout=60)
    connection.request("POST", "/infer", jpeg, {"Content-Type": "image/jpeg"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["results"][0]["top"][0]["class"]


def peers(args, qdq):
    """(what it is, its command): one run on all threads, or as many runs as threads."""
    node = ["node", os.path.join(HERE, "server.js"), args.model]
    for name, file in (("fp32", None), ("int8", qdq)):
        for threads, runs in ((1, args.threads), (args.threads, 1)):
            command = node + ([file] if file else []) + ["--threads", str(threads), "--runs", str(runs)]
            yield "onnxruntime-node %s, %d x %d threads" % (name, runs, threads), command


def measure(args, qdq):
    names = sorted(n for n in os.listdir(args.pictures) if n.lower().endswith((".jpg", ".jpeg")))[:100]
    jpegs = [open(os.path.join(args.pictures, name), "rb").read() for name in names]
    runs, agreement, ours = {}, {}, None
    for _ in range(args.rounds):
        daemon = Daemon(os.path.join(args.build, "quantd"), args.model, args.cache)
        ours = ours or [first_class(daemon, jpeg) for jpeg in jpegs]
        runs.setdefault("quantd int8", []).append(load(args, daemon, connections=args.connections))
        daemon.stop()
        for name, command in peers(args, qdq):
            server = Server(command)
            if name not in agreement:
                agreement[name] = sum(first_class(server, jpeg) == o for jpeg, o in zip(jpegs, ours)) / len(jpegs)
            runs.setdefault(name, []).append(load(args, server, connections=args.connections))
            server.stop()
    return runs, agreement


def main():
    args = make_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as work:
        args.cache = args.cache or os.path.join(work, "cache")
        qdq = os.path.join(work, "qdq.onnx")
        subprocess.run([os.path.join(args.build, "quantd"), "export", args.model, "--qdq", qdq, "--cache", args.cache, "--limit", "64"],
                       check=True, stdout=subprocess.DEVNULL)
        runs, agreement = measure(args, qdq)
    rate = {name: statistics.median(r["200"]["per_second"] for r in list_) for name, list_ in runs.items()}
    print("| server | images per s | p50 ms | p99 ms | server cpu ms per image | quantd is faster by | same first class |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, list_ in runs.items():
        ratio = statistics.median(o["200"]["per_second"] / t["200"]["per_second"] for o, t in zip(runs["quantd int8"], list_))
        ms = [statistics.median(r["200"]["ms"][q] for r in list_) for q in ("p50", "p99")]
        cpu = statistics.median(1e3 * r["server_cpu_s"] / r["200"]["count"] for r in list_)
        print("| %s | %.1f | %.2f | %.2f | %.2f | %.2f | %s |" % (name, rate[name], *ms, cpu, ratio,
                                                               "%.2f" % agreement[name] if name in agreement else ""))


if __name__ == "__main__":
    main()
