#!/usr/bin/env python3
"""One workflow on a ComfyUI server of its own, from its start to the picture, timed from the server's own messages.

    PYTHON tools/bench/comfyui.py COMFYUI-FOLDER WORKFLOW.json CHECKPOINT-FOLDER [ComfyUI's options …]

Run it with ComfyUI's Python: it needs aiohttp, which ComfyUI does too. Prints one line of JSON: `wall` (seconds from
starting the process to the workflow's end), `ready` (until the server answers), `steps` (seconds of each sampling step),
`nodes` (seconds by class), `GB` (the most memory that the process held). `peers.py` calls it.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

PATIENCE = 1800


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def held(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9


async def ready(session, base, process):
    while process.poll() is None:
        try:
            async with session.get(f"{base}/system_stats"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)
    sys.exit("ComfyUI ended before it answered")


async def drive(base, workflow, process, start):
    """Queues the workflow and listens until its end."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        await ready(session, base, process)
        answered = time.perf_counter()
        nodes, progress, current = {}, [], (None, answered)
        async with session.ws_connect(f"{base}/ws?clientId=bench", max_msg_size=0) as ws:
            async with session.post(f"{base}/prompt", json={"prompt": workflow, "client_id": "bench"}) as response:
                if response.status != 200:
                    sys.exit(f"ComfyUI refused the workflow: {await response.text()}")
            async for message in ws:
                now = time.perf_counter()
                if message.type != aiohttp.WSMsgType.TEXT:
                    continue
                event = json.loads(message.data)
                kind, data = event["type"], event.get("data", {})
                if kind == "execution_error":
                    sys.exit(f"ComfyUI failed: {data.get('exception_message')}")
                if kind == "progress":
                    progress.append((data["value"], now))
                if kind == "executing":
                    node, since = current
                    if node is not None:
                        nodes[node] = nodes.get(node, 0.0) + now - since
                    current = (data.get("node"), now)
                    if data.get("node") is None:
                        break
    times = dict(progress)
    steps = [times[n] - times[n - 1] for n in sorted(times) if n - 1 in times]
    named = {workflow[node]["class_type"]: seconds for node, seconds in nodes.items()}
    done = time.perf_counter()
    return {"wall": done - start, "ready": answered - start, "steps": steps, "nodes": named, "GB": held(process.pid)}


def main():
    folder, workflow, checkpoints, *options = sys.argv[1:]
    workflow = json.loads(Path(workflow).read_text())
    port = free_port()
    with tempfile.TemporaryDirectory() as base:
        paths = Path(base) / "paths.yaml"
        paths.write_text(f"bench:\n  base_path: {Path(checkpoints).resolve()}\n  checkpoints: .\n")
        for name in ("output", "temp", "input", "user"):
            (Path(base) / name).mkdir()
        command = [
            sys.executable, "main.py", "--cpu", "--port", str(port), "--extra-model-paths-config", str(paths),
            "--output-directory", f"{base}/output", "--temp-directory", f"{base}/temp", "--disable-all-custom-nodes",
            "--input-directory", f"{base}/input", "--user-directory", f"{base}/user", *options,
        ]
        log = open(Path(base) / "log", "w+")
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=os.environ)
        try:
            result = asyncio.run(drive(f"http://127.0.0.1:{port}", workflow, process, start))
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-3000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        if not list((Path(base) / "output").rglob("*.png")):
            sys.exit("ComfyUI wrote no picture")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
