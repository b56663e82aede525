//! Figures of this process and this machine, read when they are asked for.

/// Memory of machine and process, in bytes. 0 where the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Of the machine.
    pub(crate) total: u64,
    /// Of the machine, what could be had without swapping.
    pub(crate) available: u64,
    /// `RssAnon` of the process: what it holds itself, without mapped files.
    pub(crate) rss_anon: u64,
}

pub(crate) fn memory() -> Memory {
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let process = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Memory {
        total: kib(&machine, "MemTotal:"),
        available: kib(&machine, "MemAvailable:"),
        rss_anon: kib(&process, "RssAnon:"),
    }
}

/// `NAME   1234 kB` in bytes.
fn kib(table: &str, name: &str) -> u64 {
    let line = table.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// The name of the processor.
pub(crate) fn cpu() -> String {
    let table = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = table
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, n)| n.trim()));
    name.unwrap_or("cpu").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        assert_eq!(kib("MemTotal:  12 kB\nMemFree: 3 kB", "MemTotal:"), 12 * 1024);
        assert_eq!(kib("", "MemTotal:"), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        let m = memory();
        assert!(m.rss_anon > 0 && m.total >= m.available && m.available > 0);
    }
}
