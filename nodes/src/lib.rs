//! ComfyUI's nodes on Ebb's engine: loaders, conditioning, sampling, latents, images, masks.
