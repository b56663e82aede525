//! What the kernel says of this process.

/// Bytes of anonymous memory that are in RAM (`RssAnon`); `None` where the system has no `/proc`.
pub fn rss_anon() -> Option<u64> {
    resident().0
}

/// Bytes of anonymous memory that are in RAM (`RssAnon`), and the most that ever were, pages of files included
/// (`VmHWM`); `None` where the system has no `/proc`.
pub fn resident() -> (Option<u64>, Option<u64>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib * 1024)
    };
    (field("RssAnon"), field("VmHWM"))
}
