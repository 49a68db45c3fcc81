#!/usr/bin/env python3
"""How two processes share the same cores: each one's speed beside the other, as a share of its speed alone.

usage: bench/two_daemons.py QUANTD MODEL... [--threads N] [--rounds N] [--seconds S] [--cache DIR]

For every model and round: 'quantd bench' alone, then twice at once. Shares are of the mean time per image; the fair share
is 50 %, and what spinning and switching cost shows below it. Other work on the machine only lengthens times: the best
round alone and the best one together count."""
import argparse
import json
import os
import subprocess
import tempfile


def start(args, model, repeats):
    command = [args.quantd, "bench", model, "--json", "--cache", args.cache, "--threads", str(args.threads), "--repeats",
               str(repeats)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def finish(process):
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit("%s: failed" % " ".join(process.args))
    return json.loads(output)["ms_per_image"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantd")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of timed runs, alone")
    parser.add_argument("--cache", help="scale cache (default: a temporary folder)")
    args = parser.parse_args()
    own_cache = tempfile.TemporaryDirectory()
    args.cache = args.cache or own_cache.name
    print("| network | alone ms | beside the other ms | share of alone |")
    print("| --- | --- | --- | --- |")
    for model in args.models:
        best = finish(start(args, model, 30))["best"]  # also fills the cache
        repeats = max(30, int(args.seconds * 1000 / best))
        alone, both = [], []
        for _ in range(args.rounds):
            alone.append(finish(start(args, model, repeats))["mean"])
            pair = [start(args, model, repeats), start(args, model, repeats)]
            both.append([finish(process)["mean"] for process in pair])
        alone, (a, b) = min(alone), min(both, key=max)
        print("| %s | %.3f | %.3f, %.3f | %.0f %%, %.0f %% |" % (os.path.basename(model.rstrip("/")), alone, a, b,
                                                              100 * alone / a, 100 * alone / b))


if __name__ == "__main__":
    main()
