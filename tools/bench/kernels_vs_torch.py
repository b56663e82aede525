#!/usr/bin/env python3
"""Times each operator of `cargo bench -p ebb-kernels --bench share_of_peak` beside PyTorch's at the same shape.

    cargo bench -p ebb-kernels --bench share_of_peak --no-run
    python3 tools/bench/kernels_vs_torch.py target/release/deps/share_of_peak-<hash> [part of a name] [rounds] [threads]

The two take turns, a process of ours and calls of torch's, so that the machine's other load falls on both; medians
are printed. torch gets its best layout (channels_last for convolutions) and its fused attention.
"""

import re
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F


def operator(name):
    """The same operator in torch, as a function of nothing."""
    dtype = torch.bfloat16 if name.endswith("bf16") else torch.float32

    def rand(*shape):
        return torch.randn(*shape).to(dtype)

    if m := re.search(r"conv(\d)x\d (\d+)->(\d+) (\d+)\^2 b(\d+)", name):
        k, i, o, size, b = map(int, m.groups())
        x = rand(b, i, size, size).to(memory_format=torch.channels_last)
        w = rand(o, i, k, k).to(memory_format=torch.channels_last)
        return lambda: F.conv2d(x, w, padding=k // 2)
    if m := re.search(r"linear (\d+)x(\d+)x(\d+)( geglu)?", name):
        rows, k, o = map(int, m.groups()[:3])
        x, w = rand(rows, k), rand(o, k)
        if not m.group(4):
            return lambda: F.linear(x, w)

        def geglu():
            value, gate = F.linear(x, w).chunk(2, dim=-1)
            return value * F.gelu(gate)

        return geglu
    if m := re.search(r"attention b(\d+) h(\d+) (\d+)x(\d+) d(\d+)", name):
        b, h, q, k, d = map(int, m.groups())
        x = rand(b, q, h, d).transpose(1, 2)
        y, z = rand(b, k, h, d).transpose(1, 2), rand(b, k, h, d).transpose(1, 2)
        return lambda: F.scaled_dot_product_attention(x, y, z)
    if m := re.search(r"group_norm\+silu (\d+) (\d+)\^2 b(\d+)", name):
        c, size, b = map(int, m.groups())
        x = rand(b, c, size, size).to(memory_format=torch.channels_last)
        w, bias = rand(c), rand(c)
        return lambda: F.silu(F.group_norm(x, 32, w, bias))
    if m := re.search(r"layer_norm (\d+)x(\d+)", name):
        rows, c = map(int, m.groups())
        x, w, bias = rand(rows, c), rand(c), rand(c)
        return lambda: F.layer_norm(x, (c,), w, bias)
    return None


def ours(binary, name, threads):
    command = [binary, name, "rounds=3", f"threads={threads}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row = next(line for line in out.splitlines() if line.startswith(name + " "))
    return float(row[len(name):].split()[0]) / 1e3


def torchs(run):
    run()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    binary, part = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    threads = int(sys.argv[4]) if len(sys.argv) > 4 else torch.get_num_threads()
    torch.set_num_threads(threads)
    names = subprocess.run([binary, "list"], check=True, capture_output=True, text=True).stdout.splitlines()
    print(f"torch {torch.__version__}, {threads} threads, median of {rounds}")
    print(f"{'operator':<44} {'ebb ms':>9} {'torch ms':>9} {'ratio':>6}")
    with torch.inference_mode():
        for name in names:
            run = operator(name) if part in name else None
            if run is None:
                continue
            pairs = [(ours(binary, name, threads), torchs(run)) for _ in range(rounds)]
            a, b = (statistics.median(side) for side in zip(*pairs))
            print(f"{name:<44} {a * 1e3:>9.2f} {b * 1e3:>9.2f} {b / a:>5.2f}x", flush=True)


if __name__ == "__main__":
    main()
