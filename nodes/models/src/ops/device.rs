//! Which device computes, as users name it.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use super::Ops;
use crate::Result;

/// What computes: `cpu`, `cuda`, `cuda:1`, `metal`, `metal:1` or `candle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compute {
    /// The kernels of `ebb-kernels`.
    #[default]
    Cpu,
    /// candle's operators on the CPU: slower, a second opinion, and the code that GPUs run.
    Candle,
    /// candle's operators on an NVIDIA GPU, by its number. Needs the feature `cuda`.
    Cuda(usize),
    /// candle's operators on an Apple GPU, by its number. Needs the feature `metal`.
    Metal(usize),
}

impl Compute {
    /// candle's device; none for [`Compute::Cpu`], which candle does not compute on.
    ///
    /// # Errors
    /// Where this build has no code for the device, or the machine no such device.
    pub fn open(self) -> Result<Option<Device>> {
        Ok(Some(match self {
            Self::Cpu => return Ok(None),
            Self::Candle => Device::Cpu,
            Self::Cuda(number) => Device::new_cuda(number)?,
            Self::Metal(number) => Device::new_metal(number)?,
        }))
    }

    /// The feature that a build needs for it and lacks.
    pub fn lacks(self) -> Option<&'static str> {
        match self {
            Self::Cuda(_) if cfg!(not(feature = "cuda")) => Some("cuda"),
            Self::Metal(_) if cfg!(not(feature = "metal")) => Some("metal"),
            _ => None,
        }
    }
}

impl FromStr for Compute {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => {
                let number = number.parse().map_err(|_| format!("`{number}` is no device's number"))?;
                (kind, Some(number))
            }
            None => (text, None),
        };
        match (kind, number) {
            ("cpu", None) => Ok(Self::Cpu),
            ("candle", None) => Ok(Self::Candle),
            ("cuda", number) => Ok(Self::Cuda(number.unwrap_or(0))),
            ("metal", number) => Ok(Self::Metal(number.unwrap_or(0))),
            _ => Err(format!("`{text}` is none of cpu, cuda, cuda:N, metal, metal:N, candle")),
        }
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Candle => f.write_str("candle"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

impl Ops {
    /// Whether matrix products in bf16 run as such, and save time.
    pub fn multiplies_bf16(&self) -> bool {
        match &*self.0 {
            super::Backend::Cpu(cpu) => cpu.kernels().path().multiplies_bf16(),
            super::Backend::Candle(candle) => !candle.device().is_cpu(),
            super::Backend::Meta(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_printed() {
        for (text, expected) in [
            ("cpu", Compute::Cpu),
            ("candle", Compute::Candle),
            ("cuda", Compute::Cuda(0)),
            ("cuda:3", Compute::Cuda(3)),
            ("metal:1", Compute::Metal(1)),
        ] {
            let found: Compute = text.parse().expect("a device");
            assert_eq!(found, expected);
            assert_eq!(found.to_string().parse(), Ok(expected));
        }
        for text in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(text.parse::<Compute>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_device_that_a_build_lacks_is_an_error() {
        assert!(Compute::Cpu.open().is_ok_and(|device| device.is_none()));
        assert!(Compute::Candle.open().is_ok_and(|device| device.is_some()));
        for device in [Compute::Cuda(0), Compute::Metal(0)] {
            assert!(device.lacks().is_none() || device.open().is_err(), "{device}");
        }
    }
}
