//! The process's own memory, as the system counts it.

use serde_json::{Value as Json, json};

/// A field of `/proc`'s files, given in kB, in bytes.
pub(super) fn kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// `RssAnon` and `VmHWM` in bytes; null where the system does not tell.
pub(super) fn memory() -> Json {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    json!({"rss_anon": kib(&status, "RssAnon"), "vm_hwm": kib(&status, "VmHWM")})
}
