//! Random numbers that agree with PyTorch, NumPy and torchsde bit for bit, up to the last bits of `log`
//! and `cos`.

mod brownian;
mod generator;
mod mt19937;
mod seed_sequence;

pub use brownian::BrownianTree;
pub use generator::Generator;
