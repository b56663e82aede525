//! Which instructions the kernels use: found at run time, forced lower by `EBB_KERNELS_PATH`.

use std::sync::OnceLock;

use crate::error::{KernelError, Result};

/// An implementation of every kernel, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// AVX-512 (F, BW, VL) with BF16 products.
    Avx512Bf16,
    /// AVX-512 (F, BW, VL).
    Avx512,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// NEON of 64-bit ARM.
    Neon,
    /// Plain Rust, any machine.
    Portable,
}

impl Path {
    /// Every path, best first.
    pub const ALL: [Path; 5] = [Path::Avx512Bf16, Path::Avx512, Path::Avx2, Path::Neon, Path::Portable];

    /// The name `EBB_KERNELS_PATH` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Path::Avx512Bf16 => "avx512bf16",
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::Neon => "neon",
            Path::Portable => "portable",
        }
    }

    /// Whether this machine has the instructions.
    pub fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Bf16 => Path::Avx512.available() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                Path::Avx2.available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "aarch64")]
            Path::Neon => true,
            Path::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The best path of this machine.
    pub fn best() -> Path {
        Path::ALL.into_iter().find(|p| p.available()).unwrap_or(Path::Portable)
    }

    /// The path to use: the best one, or the one `EBB_KERNELS_PATH` names. Read once a process.
    pub fn selected() -> Result<Path> {
        static SELECTED: OnceLock<Result<Path>> = OnceLock::new();
        SELECTED
            .get_or_init(|| match std::env::var("EBB_KERNELS_PATH") {
                Ok(value) if !value.is_empty() => Path::parse(&value),
                _ => Ok(Path::best()),
            })
            .clone()
    }

    fn parse(value: &str) -> Result<Path> {
        let refuse = |reason: String| Err(KernelError::Path { value: value.to_string(), reason });
        let names = || Path::ALL.map(Path::name).join(", ");
        match Path::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(value)) {
            Some(p) if p.available() => Ok(p),
            Some(_) => refuse("this processor lacks its instructions".to_string()),
            None => refuse(format!("not one of {}", names())),
        }
    }

    /// Whether bf16 products run as such; otherwise bf16 values are widened and multiplied in f32.
    pub const fn multiplies_bf16(self) -> bool {
        matches!(self, Path::Avx512Bf16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_unknown_ones_explained() {
        assert_eq!(Path::parse("portable"), Ok(Path::Portable));
        let error = Path::parse("sse9").unwrap_err().to_string();
        assert!(error.contains("EBB_KERNELS_PATH=sse9") && error.contains("avx512bf16"), "{error}");
    }
}
