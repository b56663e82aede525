"""A picture by comfy-api-simplified, as its README shows it."""

import struct
import sys

from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper

address, path = sys.argv[1:]
api = ComfyApiWrapper(address)
workflow = ComfyWorkflowWrapper(path)
workflow.set_node_param("Sample", "steps", 4)
workflow.set_node_param("What to show", "text", "a green apple")

images = api.queue_and_wait_images(workflow, output_node_title="Save")
assert len(images) == 1, f"one picture was expected, {list(images)} came"
name, data = next(iter(images.items()))
assert data.startswith(b"\x89PNG\r\n\x1a\n"), f"{name} is not a PNG"
size = struct.unpack(">II", data[16:24])
assert size == (128, 128), f"{name} is {size}"
print(f"Python: {name}, {size[0]}x{size[1]}")
