"""Writes a procedural checkpoint of any size: nothing is downloaded.

    python3 tools/checkpoint/make_checkpoint.py tests/reference/models/sd15-full/manifest.json OUT.safetensors [f32|f16|bf16] [salt]

Streams tensor by tensor (peak memory: one tensor). Needs only numpy. With a salt, every tensor is drawn for the name
SALT + name, so that several distinct checkpoints of one shape can be made. f16 and bf16 round to nearest even. What such
a model draws is noise, but every byte of it is read and every product is computed: it serves speed, memory and comparison."""
import json, math, struct, sys
import numpy as np
import synth

manifest, out, dtype = sys.argv[1], sys.argv[2], (sys.argv[3] if len(sys.argv) > 3 else "f16")
salt = sys.argv[4] if len(sys.argv) > 4 else ""
tensors = json.load(open(manifest))["tensors"]
size = {"f32": 4, "f16": 2, "bf16": 2}[dtype]
header, at = {}, 0
for name, shape in tensors.items():
    n = math.prod(shape) * size
    header[name] = {"dtype": dtype.upper(), "shape": shape, "data_offsets": [at, at + n]}
    at += n
head = json.dumps(header, separators=(",", ":")).encode()
head += b" " * (-len(head) % 8)
with open(out, "wb") as f:
    f.write(struct.pack("<Q", len(head)) + head)
    for name, shape in tensors.items():
        o, s = synth.offset_scale(name, shape)
        total = math.prod(shape)
        for a in range(0, total, 1 << 24):
            b = min(total, a + (1 << 24))
            v = np.float32(o) + np.float32(s) * synth.uniform(salt + name, b - a, a)
            if dtype == "f16": v = v.astype(np.float16)
            elif dtype == "bf16":
                u = v.view(np.uint32); v = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)
            f.write(v.tobytes())
