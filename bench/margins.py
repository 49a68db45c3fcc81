#!/usr/bin/env python3
"""How near to a tie the pictures are on which int8 and fp32 do not agree, and what agreement less noise would give.

Usage: bench/dump_outputs MODEL FP32 650; bench/dump_outputs MODEL INT8 650 int8; bench/margins.py FP32 INT8
For classifiers that end in a Softmax: differences of logarithms are those of the logits. A tie
counts as agreement. Standard library only.
"""
import array
import math
import os
import sys

N_TOP = 6  # the likeliest classes of fp32: between them it is decided


def logits(path):
    values = array.array("f")
    with open(path, "rb") as file:
        values.frombytes(file.read())
    return [math.log(v) if v > 0 else -104.0 for v in values]


def largest(values):
    return max(range(len(values)), key=values.__getitem__)


def read(fp32, int8):
    """By picture: the classes that matter in fp32 and in int8, the likeliest of fp32 first; logits less that one's."""
    rows, n = [], 0
    while os.path.exists(f"{fp32}/{n}.out"):
        f, q = logits(f"{fp32}/{n}.out"), logits(f"{int8}/{n}.out")
        top = sorted(range(len(f)), key=f.__getitem__, reverse=True)[:N_TOP]
        top += [c for c in (largest(q),) if c not in top]
        rows.append(([f[c] - f[top[0]] for c in top], [q[c] - q[top[0]] for c in top]))
        n += 1
    return rows


def agreement(rows, factor):
    return sum(largest([f + factor * (q - f) for f, q in zip(*row)]) == 0 for row in rows) / len(rows)


def main():
    rows = read(*sys.argv[1:3])
    noise = math.sqrt(sum((q - f) ** 2 for row in rows for f, q in list(zip(*row))[1:N_TOP]) / len(rows) / (N_TOP - 1))
    margins = sorted(-row[0][1] for row in rows)
    apart = sorted(-row[0][1] for row in rows if largest(row[1]) != 0)
    print(f"{len(rows)} pictures, {len(apart)} do not agree")
    print(f"noise of a difference between the likeliest class and the next five: {noise:.3f} rms")
    print(f"margins between the first two classes: median {margins[len(margins) // 2]:.2f}, below the noise in "
          f"{sum(m < noise for m in margins)} pictures")
    if apart:
        print(f"  where they do not agree: median {apart[len(apart) // 2]:.3f}, largest {apart[-1]:.3f}")
    print("agreement with the same noise, less by: " +
          ", ".join(f"{db} dB {100 * agreement(rows, 10 ** (-db / 20)):.2f} %" for db in range(7)))


if __name__ == "__main__":
    main()
