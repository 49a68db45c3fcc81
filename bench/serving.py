#!/usr/bin/env python3
"""What HTTP costs, and what overload does: bench/serving.py BUILD MODEL PICTURES [--cache DIR --seconds S --rounds N]

Starts the daemon of a build folder with one model on a free loopback port and measures with bench/load ('make bench/load'):
  - throughput at saturation against the in-process rate ('quantd bench --decode') on the same cores, in turn; and because
    the client takes its share of these cores, processor time per image, in process against the server's;
  - latency at 70 % of that throughput, arrivals at random;
  - at three times: what is still served, how fast the rest is refused, and the server's memory.
Prints a Markdown table of figures, targets and verdicts; --json: one object. Standard library only."""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time


class Server:
    """A process that says on which port of the loopback interface it listens."""

    def __init__(self, command):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.where = "127.0.0.1:%s" % self.wait_for(r"listens on port (\d+)")

    def wait_for(self, pattern):
        for _ in range(6000):
            with open(self.log.name, encoding="utf-8") as file:
                found = re.search(pattern, file.read())
            if found:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit("the server did not start: %s" % open(self.log.name, encoding="utf-8").read()[-500:])

    def settled_mb(self):
        """Resident memory, once the last answers have been taken and what they held is given back."""
        time.sleep(1)
        with open("/proc/%d/statm" % self.process.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Daemon(Server):
    def __init__(self, quantd, model, cache, *options):
        # The evaluation set would run once beside the first seconds of what is measured.
        super().__init__([quantd, "--listen", "127.0.0.1:0", "--models", model, "--cache", cache, "--evaluation-images",
                          "0", *options])
        self.wait_for("(models loaded)")


def in_process(args):
    command = [os.path.join(args.build, "quantd"), "bench", args.model, "--json", "--batch", "8", "--threads",
               str(args.threads), "--decode", args.pictures, "--cache", args.cache, "--repeats", str(args.repeats)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result["ms_per_image"]


def load(args, daemon, seconds=None, **options):
    command = [os.path.join(args.build, "bench", "load"), daemon.where, args.pictures, "--json", "--pid",
               str(daemon.process.pid), "--seconds", str(seconds or args.seconds)]
    for name, value in options.items():
        command += ["--" + name, str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def median(values):
    return statistics.median(values)


def measure(args, daemon):
    rows, rates, alone, own = [], [], [], []
    load(args, daemon, seconds=2, connections=args.connections)
    for _ in range(args.rounds):  # in turn: the machine's other work falls on both
        ms = in_process(args)
        full = load(args, daemon, connections=args.connections)
        alone.append(1e3 / ms["mean"])
        rates.append(full["200"]["per_second"])
        own.append(ms["cpu"] / (1e3 * full["server_cpu_s"] / full["200"]["count"]))
    peak = median(rates)
    rows.append(("in process, images per second", median(alone), None, None))
    rows.append(("over HTTP, closed loop of %d connections" % args.connections, peak, None, None))
    rows.append(("  share of in process, client on the same cores", median([r / a for r, a in zip(rates, alone)]), ">=", 0.85))
    rows.append(("  share by processor time, the server's alone", median(own), ">=", 0.85))

    calms = [load(args, daemon, connections=512, rate=0.7 * peak)["200"]["ms"] for _ in range(args.rounds)]
    rows += [("at 70 %: p50 ms", median([c["p50"] for c in calms]), None, None),
             ("  p99 ms", median([c["p99"] for c in calms]), None, None),
             ("  p99 / p50", median([c["p99"] / c["p50"] for c in calms]), "<", 5.0)]

    for _ in range(4):  # memory grows to what overload needs, and stays there
        load(args, daemon, connections=1024, rate=3 * peak)
    before_mb = daemon.settled_mb()
    shares, overs = [], []
    for _ in range(args.rounds):  # again in turn
        full = load(args, daemon, connections=args.connections)
        overs.append(load(args, daemon, connections=1024, rate=3 * peak))
        shares.append(overs[-1]["200"]["per_second"] / full["200"]["per_second"])
    rows += [("at three times: served, share of the peak", median(shares), ">=", 0.9),
             ("  refused (429) per second", median([o["429"]["per_second"] for o in overs]), None, None),
             ("  429: p50 ms", median([o["429"]["ms"]["p50"] for o in overs]), "<", 5.0),
             ("  429: p99 ms", median([o["429"]["ms"]["p99"] for o in overs]), None, None),
             ("  accepted: p99 ms", median([o["200"]["ms"]["p99"] for o in overs]), None, None),
             ("  other answers, broken, timeouts", sum(o["other"]["count"] + o["broken"] + o["timeouts"] for o in overs),
              "<=", 0),
             ("  server memory, MB more than before", daemon.settled_mb() - before_mb, "<", 1.0)]
    return rows


def make_parser(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("model")
    parser.add_argument("pictures")
    parser.add_argument("--cache", help="scale cache (default: a temporary folder)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=300, help="batches of an in-process run")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    own_cache = tempfile.TemporaryDirectory()
    args.cache = args.cache or own_cache.name
    in_process(args)  # also fills the cache
    daemon = Daemon(os.path.join(args.build, "quantd"), args.model, args.cache)
    try:
        rows = measure(args, daemon)
    finally:
        daemon.stop()
    if args.json:
        print(json.dumps({name.strip(): value for name, value, _, _ in rows}))
        return
    print("| what | figure | target | |\n| --- | --- | --- | --- |")
    for name, value, comparison, target in rows:
        met = {None: None, ">=": value >= (target or 0), "<": value < (target or 0), "<=": value <= (target or 0)}[comparison]
        print("| %s | %.3f | %s | %s |" % (name, value, "%s %g" % (comparison, target) if comparison else "",
                                         "" if met is None else "met" if met else "missed"))


if __name__ == "__main__":
    sys.exit(main())
