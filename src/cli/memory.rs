//! `--memory`: bytes, a part of the machine's, or what the machine can spare.

use std::str::FromStr;

use ebb_engine::residency::pressure::System;

/// The most memory that the ledger may name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MemoryLimit {
    /// No limit.
    None,
    /// Nine tenths of what the machine, or the process's group, may use.
    Auto,
    /// So many bytes.
    Bytes(u64),
    /// So much of what there is.
    Percent(f64),
}

impl FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no amount of memory: 6GiB, 6000MB, 75%, auto or none");
        match text {
            "none" => return Ok(Self::None),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| refuse())?;
            let sensible = percent > 0.0 && percent <= 100.0;
            return if sensible { Ok(Self::Percent(percent)) } else { Err(refuse()) };
        }
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "kb" => 1_000,
            "m" | "mib" => 1 << 20,
            "mb" => 1_000_000,
            "g" | "gib" => 1 << 30,
            "gb" => 1_000_000_000,
            "t" | "tib" => 1 << 40,
            "tb" => 1_000_000_000_000,
            _ => return Err(refuse()),
        };
        let bytes = number.parse::<f64>().map_err(|_| refuse())? * factor as f64;
        // Below 2^63 every f64 has its integer.
        if (1.0..9e18).contains(&bytes) { Ok(Self::Bytes(bytes as u64)) } else { Err(refuse()) }
    }
}

impl MemoryLimit {
    /// The limit in bytes; none where there is none or the machine does not say what it has.
    pub(super) fn bytes(self) -> Option<u64> {
        let part = |percent: f64| Some((System::default().limit()? as f64 * percent / 100.0) as u64);
        match self {
            Self::None => None,
            Self::Auto => part(90.0),
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => part(percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        let read = |text: &str| text.parse::<MemoryLimit>();
        assert_eq!(read("6GiB"), Ok(MemoryLimit::Bytes(6 << 30)));
        assert_eq!(read("1.5 GB"), Ok(MemoryLimit::Bytes(1_500_000_000)));
        assert_eq!(read("4096"), Ok(MemoryLimit::Bytes(4096)));
        assert_eq!(read("75%"), Ok(MemoryLimit::Percent(75.0)));
        for wrong in ["", "-1", "0", "1.2.3G", "6 GiB!", "101%", "NaN%", "1e30", "99999999999T"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
