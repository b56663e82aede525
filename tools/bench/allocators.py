#!/usr/bin/env python3
"""Loads and drops a checkpoint under several allocators, and tells what each keeps and costs.

    cargo build --release -p ebb-memory
    python3 tools/bench/allocators.py MODELS CHECKPOINT [times] [side]

MODELS holds checkpoints/CHECKPOINT. jemalloc and mimalloc are preloaded where the system has their libraries
(Debian: libjemalloc2, libmimalloc2.0); the others are glibc with what `ebb_kernels::heap` can tell it.
"""

import glob
import json
import os
import subprocess
import sys

models, checkpoint = sys.argv[1:3]
times = sys.argv[3] if len(sys.argv) > 3 else "6"
side = sys.argv[4] if len(sys.argv) > 4 else "64"
binary = os.path.join(os.path.dirname(__file__), "../../target/release/ebb-memory")


def library(name):
    found = sorted(glob.glob(f"/usr/lib/*/lib{name}.so.2*") + glob.glob(f"/usr/lib64/lib{name}.so.2*"))
    return found[0] if found else None


runs = [
    ("glibc, default", "default", {}),
    ("glibc, trim after each drop", "trim", {}),
    ("glibc, blocks of 64 KiB go back", str(64 << 10), {}),
    ("glibc, blocks of 256 KiB go back", str(256 << 10), {}),
    ("glibc, blocks of 4 MiB go back", str(4 << 20), {}),
]
for name, knob, value in [
    ("jemalloc", "MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"),
    ("mimalloc", "MIMALLOC_PURGE_DELAY", "0"),
]:
    if path := library(name):
        runs.append((f"{name}, default", "default", {"LD_PRELOAD": path}))
        runs.append((f"{name}, purging at once", "default", {"LD_PRELOAD": path, knob: value}))

print(f"load average {os.getloadavg()[0]:.1f}; MiB beyond idle and the ledger after each drop")
print(f"{'allocator':34} {'after each':36} {'peak':>6} {'faults':>8} {'load s':>7} {'run s':>7}")
for name, allocator, environment in runs:
    command = [binary, "--models", models, "--allocator", allocator, "drops", checkpoint]
    done = subprocess.run(
        command + ["--times", times, "--side", side],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    idle, rounds = lines[0]["idle"], lines[1:-1]
    after = " ".join(str((r["after"] - r["ledger"] - idle) >> 20) for r in rounds)
    rest = rounds[1:] or rounds
    middle = lambda key: sorted(r[key] for r in rest)[len(rest) // 2]
    peak = max(r["most"] for r in rounds) >> 20
    print(f"{name:34} {after:36} {peak:6} {middle('faults'):8} {middle('loading'):7.2f} {middle('seconds'):7.2f}", flush=True)
