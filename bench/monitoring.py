#!/usr/bin/env python3
"""What the monitor costs: bench/monitoring.py BUILD MODEL PICTURES [--every N ... --cache DIR --seconds S --rounds N]

Two daemons of one model, one with monitor_every = 0 and one with N, are loaded in turn by bench/load ('make bench/load'), a
closed loop: images per second, processor time per image and p99, with the monitor as a share of without, medians over the
rounds (and quartiles); then what one monitored picture takes of the monitor's thread, and how many were dropped. Markdown on stdout."""
import http.client
import os
import re
import statistics
import sys
import tempfile

from serving import Daemon, load, make_parser


def metric(daemon, name):
    connection = http.client.HTTPConnection(daemon.where, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(float(value) for value in re.findall("^%s\\{[^}]*\\} (\\S+)$" % name, text, re.M))


def monitor_seconds(daemon):
    """Processor time of the monitor's thread so far."""
    tasks = "/proc/%d/task" % daemon.process.pid
    for task in os.listdir(tasks):
        with open("%s/%s/stat" % (tasks, task), encoding="ascii") as file:
            stat = file.read()
        if "(quantd-monitor)" in stat:
            fields = stat.rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    raise SystemExit("no thread of the monitor")


def run(args, daemon):
    result = load(args, daemon, connections=args.connections)
    if not result["200"]["count"]:
        raise SystemExit("no answer in %g s: %r" % (args.seconds, result))
    return result["200"]["per_second"], 1e3 * result["server_cpu_s"] / result["200"]["count"], result["200"]["ms"]["p99"]


def compare(args, every):
    quantd = os.path.join(args.build, "quantd")
    off = Daemon(quantd, args.model, args.cache, "--monitor-every", "0")
    on = Daemon(quantd, args.model, args.cache, "--monitor-every", str(every))
    rounds = []
    try:
        for daemon in off, on:
            load(args, daemon, seconds=1, connections=args.connections)
        before = [metric(on, "quantd_shadow_%s_total" % name) for name in ("images", "dropped")]
        seconds = monitor_seconds(on)
        for i in range(args.rounds):
            order = (off, on) if i % 2 else (on, off)
            results = {id(daemon): run(args, daemon) for daemon in order}
            rounds.append((results[id(on)], results[id(off)]))
        seen, dropped = [metric(on, "quantd_shadow_%s_total" % name) - b
                         for name, b in zip(("images", "dropped"), before)]
        seconds = monitor_seconds(on) - seconds
    finally:
        off.stop()
        on.stop()
    shares = [statistics.quantiles([a[i] / b[i] for a, b in rounds], n=4) for i in range(3)]
    print("| %d | %.1f | %s | %.0f | %.0f | %.1f |" % (
        every, statistics.median(b[0] for _, b in rounds),
        " | ".join("%.3f (%.2f .. %.2f)" % (share[1], share[0], share[2]) for share in shares), seen, dropped,
        1e3 * seconds / max(seen, 1)), flush=True)


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--every", type=int, nargs="+", default=[500])
    args = parser.parse_args()
    own_cache = tempfile.TemporaryDirectory()
    args.cache = args.cache or own_cache.name
    print("| monitor_every | without: images per s | share of it with | cpu per image, share | p99, share | monitored | dropped "
          "| ms of its thread each |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
    for every in args.every:
        compare(args, every)


if __name__ == "__main__":
    sys.exit(main())
