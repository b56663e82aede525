// Text to image, the way everyone's first workflow looks.
export function demoWorkflow() {
  const node = (id, type, pos, size, inputs, outputs, widgets_values, extra = {}) => ({ id, type, pos, size, flags: {}, order: 0, mode: 0, inputs, outputs, properties: { "Node name for S&R": type }, widgets_values, ...extra })
  const input = (name, type, link) => ({ name, type, link })
  const output = (name, links) => ({ name, type: name, links })
  return {
    last_node_id: 9,
    last_link_id: 9,
    nodes: [
      node(4, "CheckpointLoaderSimple", [40, 300], [315, 98], [], [output("MODEL", [1]), output("CLIP", [3, 5]), output("VAE", [8])], ["tiny-emoji-sd1.safetensors"]),
      node(6, "CLIPTextEncode", [420, 120], [380, 160], [input("clip", "CLIP", 3)], [output("CONDITIONING", [4])], ["a smiling face with heart eyes"], { color: "#232", bgcolor: "#353", title: "Prompt" }),
      node(7, "CLIPTextEncode", [420, 340], [380, 160], [input("clip", "CLIP", 5)], [output("CONDITIONING", [6])], ["blurry"], { color: "#322", bgcolor: "#533", title: "Negative prompt" }),
      node(5, "EmptyLatentImage", [420, 560], [315, 106], [], [output("LATENT", [2])], [64, 64, 1]),
      node(3, "KSampler", [860, 180], [315, 262], [input("model", "MODEL", 1), input("positive", "CONDITIONING", 4), input("negative", "CONDITIONING", 6), input("latent_image", "LATENT", 2)], [output("LATENT", [7])], [42, "randomize", 16, 4, "euler", "normal", 1]),
      node(8, "VAEDecode", [1230, 180], [210, 46], [input("samples", "LATENT", 7), input("vae", "VAE", 8)], [output("IMAGE", [9])], []),
      node(9, "SaveImage", [1230, 290], [300, 330], [input("images", "IMAGE", 9)], [], ["ebb"]),
    ],
    links: [[1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"], [4, 6, 0, 3, 1, "CONDITIONING"], [5, 4, 1, 7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"], [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"], [9, 8, 0, 9, 0, "IMAGE"]],
    groups: [],
    config: {},
    extra: {},
    version: 0.4,
  }
}
