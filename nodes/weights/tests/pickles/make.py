"""Writes the PyTorch files beside this script, without PyTorch: Python's own pickler, given classes of
PyTorch's names and the persistent ids that torch.save gives to storages.   python make.py"""
import collections, io, pathlib, pickle, struct, sys, types, zipfile

HERE = pathlib.Path(__file__).parent


def module(name):
    made = sys.modules[name] = types.ModuleType(name)
    return made


def named(owner, name, value):
    value.__module__, value.__qualname__, value.__name__ = owner.__name__, name, name
    setattr(owner, name, value)
    return value


torch, utils = module("torch"), module("torch._utils")
torch._utils = utils
lightning = module("pytorch_lightning")
for part in ("callbacks", "callbacks.model_checkpoint"):
    module(f"pytorch_lightning.{part}")
sys.modules["pytorch_lightning.callbacks"].model_checkpoint = sys.modules["pytorch_lightning.callbacks.model_checkpoint"]
Checkpoint = named(sys.modules["pytorch_lightning.callbacks.model_checkpoint"], "ModelCheckpoint", type("ModelCheckpoint", (), {}))
FloatStorage = named(torch, "FloatStorage", type("FloatStorage", (), {}))
HalfStorage = named(torch, "HalfStorage", type("HalfStorage", (), {}))
rebuild = named(utils, "_rebuild_tensor_v2", lambda *a: None)
rebuild_parameter = named(utils, "_rebuild_parameter", lambda *a: None)


class Storage:
    def __init__(self, key, kind, values):
        self.key, self.kind, self.values = key, kind, values

    def bytes(self):
        return struct.pack(f"<{len(self.values)}{'f' if self.kind is FloatStorage else 'e'}", *self.values)


class Tensor:
    def __init__(self, storage, offset, shape, strides):
        self.args = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return rebuild, self.args


class Parameter:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        return rebuild_parameter, (self.tensor, True, collections.OrderedDict())


class Pickler(pickle.Pickler):
    legacy = False

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        id = ("storage", value.kind, value.key, "cpu", len(value.values))
        return id + (None,) if self.legacy else id


def dump(value, protocol=2, legacy=False):
    out = io.BytesIO()
    pickler = Pickler(out, protocol)
    pickler.legacy = legacy
    pickler.dump(value)
    return out.getvalue()


def archive(name, value, storages, protocol=2, **more):
    with zipfile.ZipFile(HERE / name, "w", more.get("compression", zipfile.ZIP_STORED)) as z:
        def put(inside, data):
            z.writestr(zipfile.ZipInfo(f"archive/{inside}"), data, more.get("compression", zipfile.ZIP_STORED))
        put("data.pkl", dump(value, protocol))
        for s in storages:
            put(f"data/{s.key}", s.bytes())
        put("version", b"3\n")


a = Storage("0", FloatStorage, [float(i) for i in range(6)])
b = Storage("1", HalfStorage, [0.5, -1.5, 2.5])
checkpoint = {
    "epoch": 3, "global_step": 2 ** 40, "lr": 0.25, "note": "gr\u00fc\u00dfe",
    "callbacks": {Checkpoint: {"best": None}},
    "state_dict": collections.OrderedDict([
        ("model.weight", Tensor(a, 0, (2, 3), (3, 1))),
        ("model.transposed", Tensor(a, 0, (3, 2), (1, 3))),
        ("model.slice", Tensor(a, 2, (2,), (1,))),
        ("model.half", Parameter(Tensor(b, 0, (3,), (1,)))),
        ("model.empty", Tensor(b, 0, (0, 4), (4, 1))),
    ]),
}
archive("checkpoint.ckpt", checkpoint, [a, b])
archive("protocol4.pt", checkpoint["state_dict"], [a, b], protocol=4)
archive("embedding.pt", {"string_to_token": {"*": 265}, "string_to_param": {"*": Tensor(a, 0, (2, 3), (3, 1))},
                         "name": "style", "step": 99}, [a])
archive("nested.pth", {"params_ema": {"conv.weight": Tensor(a, 0, (6,), (1,))}}, [a])
archive("compressed.pt", {"w": Tensor(a, 0, (6,), (1,))}, [a], compression=zipfile.ZIP_DEFLATED)
(HERE / "legacy.pt").write_bytes(
    dump(0x1950A86A20F9469CFC6C) + dump(1001) + dump({"little_endian": True, "type_sizes": {"int": 4}})
    + dump({"w": Tensor(a, 0, (2, 3), (3, 1)), "h": Tensor(b, 1, (2,), (1,))}, legacy=True)
    + dump(["0", "1"]) + struct.pack("<q", 6) + a.bytes() + struct.pack("<q", 3) + b.bytes())


class Evil:
    def __init__(self, call, *args):
        self.call = call, args

    def __reduce__(self):
        return self.call


import os, subprocess, builtins
for name, evil in {
    "evil-system.pt": Evil(os.system, "touch ebb-was-here"),
    "evil-eval.pt": Evil(eval, "1"),
    "evil-popen.pt": Evil(subprocess.Popen, ["true"]),
    "evil-getattr.pt": Evil(getattr, dict, "update"),
}.items():
    archive(name, {"w": Tensor(a, 0, (6,), (1,)), "x": evil}, [a])
