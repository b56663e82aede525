#!/usr/bin/env python3
"""Pairs whole pictures: `ebb run --report` beside the same checkpoint in ComfyUI, PyTorch and stable-diffusion.cpp.

    cargo build --release --bin ebb
    python3 tools/bench/peers.py CHECKPOINT.safetensors [--size 512] [--steps 4] [--rounds 2] [--threads 2]
                                 [--ebb target/release/ebb] [--comfyui FOLDER] [--comfyui-python PYTHON]
                                 [--sd-cpp path/to/sd-cli] [--diffusers] [--only ebb-auto,comfyui-f32 …]

Engines take turns, a process each, so that the machine's other load falls on all; medians are printed, with the load
average. A guided pair is one call of the UNet in all but stable-diffusion.cpp, which makes two.

- ComfyUI runs the same workflow on its own server, with `--use-pytorch-cross-attention`, its fastest on a CPU. `wall` is from
  the process's start to the workflow's end; `load` is what its loader node takes.
- `--diffusers` adds diffusers' UNet and autoencoder with PyTorch's fused attention, on an SD 1.5 file's weights. It needs
  torch, diffusers and safetensors here. It has no text encoder: its prompt is noise, which costs the same.

`step` leaves a run's first step out where there are others: it also faults the weights in, or packs them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINES = ["ebb-auto", "ebb-f32", "ebb-bf16", "comfyui-f32", "comfyui-bf16", "torch-f32", "torch-bf16", "sd.cpp"]

# ComfyUI's options for a precision. Its text encoder takes what it takes.
COMFYUI = {
    "f32": ["--force-fp32", "--fp32-vae", "--use-pytorch-cross-attention"],
    "bf16": ["--bf16-unet", "--bf16-vae", "--use-pytorch-cross-attention"],
}


def workflow(checkpoint, size, steps):
    """Text to picture, in the API format."""
    text = {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse at dusk", "clip": ["1", 1]}}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "2": text,
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": size, "height": size, "batch_size": 1}},
        "5": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0],
                "seed": 1, "steps": steps, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
            },
        },
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "peer"}},
    }


def timed(command, **options):
    """Runs a process: wall seconds, its output, the most memory it held."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    out, err = process.communicate()
    wall = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{err[-2000:]}")
    return wall, out, err


def ebb(args, precision):
    with tempfile.TemporaryDirectory() as base:
        base = Path(base)
        (base / "models/checkpoints").mkdir(parents=True)
        checkpoint = Path(args.checkpoint).resolve()
        # The file's own folder is a model folder: a link out of one would not be followed.
        paths = f"peer:\n  base_path: {checkpoint.parent}\n  checkpoints: .\n"
        (base / "extra_model_paths.yaml").write_text(paths)
        (base / "workflow.json").write_text(json.dumps(workflow(checkpoint.name, args.size, args.steps)))
        wall, _, _ = timed([
            args.ebb, "run", str(base / "workflow.json"), "--base-directory", str(base), "--precision", precision,
            "--threads", str(args.threads), "--report", str(base / "report.json"),
        ])
        report = json.loads((base / "report.json").read_text())
    loads = {load["label"].split()[-1]: load["seconds"] for load in report["loads"]}
    nodes = {step["class"]: step["seconds"] for step in report["steps"]}
    return {
        "wall": wall,
        "load": sum(loads.values()),
        "step": (nodes["KSampler"] - loads.get("denoiser", 0.0)) / args.steps,
        "decode": nodes["VAEDecode"] - loads.get("vae", 0.0),
        "GB": report["memory"]["process"]["vm_hwm"] / 1e9,
        "ledger GB": report["memory"]["ledger_peak"] / 1e9,
    }


def comfyui(args, precision):
    with tempfile.TemporaryDirectory() as base:
        file = Path(base) / "workflow.json"
        checkpoint = Path(args.checkpoint).resolve()
        file.write_text(json.dumps(workflow(checkpoint.name, args.size, args.steps)))
        script = str(Path(__file__).with_name("comfyui.py"))
        _, out, _ = timed(
            [args.comfyui_python, script, args.comfyui, str(file), str(checkpoint.parent), *COMFYUI[precision]],
            env=os.environ | {"OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads)},
        )
    found = json.loads(out.splitlines()[-1])
    nodes = found["nodes"]
    # Progress is told after each step: the first one's time is in no difference.
    return {
        "wall": found["wall"],
        "load": nodes["CheckpointLoaderSimple"],
        "step": statistics.median(found["steps"]) if found["steps"] else nodes["KSampler"] / args.steps,
        "decode": nodes["VAEDecode"],
        "GB": found["GB"],
    }


def torch_peer(args, precision):
    me = [sys.executable, __file__, args.checkpoint, "--peer", precision]
    wall, out, _ = timed(me + ["--size", str(args.size), "--steps", str(args.steps), "--threads", str(args.threads)])
    return {"wall": wall, **json.loads(out.splitlines()[-1])}


def sd_cpp(args):
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "out.png")
        wall, out, err = timed([
            args.sd_cpp, "-m", args.checkpoint, "-p", "a lighthouse at dusk", "--cfg-scale", "7", "--steps",
            str(args.steps), "-W", str(args.size), "-H", str(args.size), "-t", str(args.threads), "-o", picture,
            "--sampling-method", "euler",
        ])
    seconds = {}
    for line in (out + err).splitlines():
        for key, sign in (("sampling", "sampling completed, taking "), ("decode", "decode_first_stage completed, taking ")):
            if sign in line:
                seconds[key] = float(line.split(sign)[1].rstrip("s \n").split("s")[0])
    step = seconds["sampling"] / args.steps if "sampling" in seconds else float("nan")
    return {"wall": wall, "step": step, "decode": seconds.get("decode", float("nan"))}


def peer(args):
    """The PyTorch side, in a process of its own: loads, samples by Euler's method, decodes, writes a PNG."""
    import resource

    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
    from PIL import Image
    from safetensors.torch import load_file

    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.peer]
    start = time.perf_counter()
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280),
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), latent_channels=4, layers_per_block=2, sample_size=512,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )
    tensors = load_file(args.checkpoint)
    unet.load_state_dict(convert_ldm_unet_checkpoint(dict(tensors), dict(unet.config)), assign=True)
    vae.load_state_dict(convert_ldm_vae_checkpoint(dict(tensors), dict(vae.config)), assign=True, strict=False)
    del tensors
    # Channels last is its best layout for convolutions.
    unet = unet.to(dtype).to(memory_format=torch.channels_last).eval()
    vae = vae.to(dtype).to(memory_format=torch.channels_last).eval()
    load = time.perf_counter() - start
    cells = args.size // 8
    x = torch.randn(1, 4, cells, cells, generator=torch.Generator().manual_seed(1))
    context = torch.randn(2, 77, 768).to(dtype)
    sigmas = torch.linspace(14.6, 0.0, args.steps + 1)
    x, steps = x * sigmas[0], []
    for i in range(args.steps):
        start = time.perf_counter()
        scaled = (x / (sigmas[i] ** 2 + 1) ** 0.5).to(dtype).repeat(2, 1, 1, 1)
        noise = unet(scaled.contiguous(memory_format=torch.channels_last), 999 - i * 50, context).sample.float()
        noise = noise[1:] + 7.0 * (noise[:1] - noise[1:])
        x = x + noise * (sigmas[i + 1] - sigmas[i])
        steps.append(time.perf_counter() - start)
    start = time.perf_counter()
    picture = vae.decode((x / 0.18215).to(dtype)).sample.float()
    decode = time.perf_counter() - start
    pixels = ((picture[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().byte().numpy()
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(pixels).save(Path(folder) / "out.png")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # Its first step also faults the weights in: it is in `wall` and not in `step`, where there are others.
    step = statistics.median(steps[1:] or steps)
    print(json.dumps({"load": load, "step": step, "decode": decode, "GB": held / 1e9}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ebb", default="target/release/ebb")
    parser.add_argument("--comfyui", help="ComfyUI's folder")
    parser.add_argument("--comfyui-python", default=sys.executable)
    parser.add_argument("--sd-cpp")
    parser.add_argument("--diffusers", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--peer", choices=["f32", "bf16"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args)
    there = {"ebb": True, "comfyui": args.comfyui, "torch": args.diffusers, "sd.cpp": args.sd_cpp}
    asked = args.only.split(",") if args.only else ENGINES
    if unknown := set(asked) - set(ENGINES):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(ENGINES)}")
    chosen = [e for e in asked if there[e.partition("-")[0]]]
    runs = {engine: [] for engine in chosen}
    for _ in range(args.rounds):
        for engine in chosen:
            kind, _, precision = engine.partition("-")
            run = {"ebb": ebb, "comfyui": comfyui, "torch": torch_peer}.get(kind)
            result = run(args, precision) if run else sd_cpp(args)
            result["load avg"] = os.getloadavg()[0]
            runs[engine].append(result)
            print(engine, {key: round(value, 2) for key, value in result.items()}, file=sys.stderr, flush=True)
    columns = ["step", "decode", "load", "wall", "GB", "ledger GB", "load avg"]
    print(f"{args.size}², {args.steps} steps, {args.threads} threads, medians of {args.rounds}; seconds and GB")
    print(f"{'':<12}" + "".join(f"{c:>11}" for c in columns))
    medians = {}
    for engine, results in runs.items():
        row = {c: statistics.median(r[c] for r in results) if c in results[0] else None for c in columns}
        medians[engine] = row
        print(f"{engine:<12}" + "".join(f"{'' if row[c] is None else f'{row[c]:.2f}':>11}" for c in columns))
    base = next((name for name in ("comfyui-f32", "torch-f32") if name in medians), None)
    for engine, row in medians.items() if base else ():
        if engine != base:
            ratios = {c: medians[base][c] / row[c] for c in ("step", "decode", "wall")}
            print(f"{base} / {engine}: " + ", ".join(f"{c} {r:.2f}×" for c, r in ratios.items()))


if __name__ == "__main__":
    main()
