//! Text encoders, denoisers and autoencoders as blocks on the kernels.
