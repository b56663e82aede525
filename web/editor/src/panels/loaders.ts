// Which node loads a file of which folder.

import type { Dragged } from "./drag.ts"

/** The loader for each folder and the input that takes the file. The first that the server has is used. */
const LOADERS: Record<string, [node: string, input: string][]> = {
  checkpoints: [["CheckpointLoaderSimple", "ckpt_name"]],
  loras: [["LoraLoader", "lora_name"], ["LoraLoaderModelOnly", "lora_name"]],
  vae: [["VAELoader", "vae_name"]],
  vae_approx: [["VAELoader", "vae_name"]],
  diffusion_models: [["UNETLoader", "unet_name"]],
  unet: [["UNETLoader", "unet_name"]],
  text_encoders: [["CLIPLoader", "clip_name"]],
  clip: [["CLIPLoader", "clip_name"]],
  clip_vision: [["CLIPVisionLoader", "clip_name"]],
  controlnet: [["ControlNetLoader", "control_net_name"]],
  upscale_models: [["UpscaleModelLoader", "model_name"]],
  style_models: [["StyleModelLoader", "style_model_name"]],
  gligen: [["GLIGENLoader", "gligen_name"]],
  hypernetworks: [["HypernetworkLoader", "hypernetwork_name"]],
  photomaker: [["PhotoMakerLoader", "photomaker_model_name"]],
  model_patches: [["ModelPatchLoader", "name"]],
}

export function loaderFor(folder: string, file: string, known: (type: string) => boolean): Dragged | null {
  const loader = (LOADERS[folder] ?? []).find(([node]) => known(node))
  return loader ? { node: loader[0], values: { [loader[1]]: file } } : null
}
