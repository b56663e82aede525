//! Linux's own words on memory: `/proc/meminfo`, pressure stall information, and control groups of both versions.

use std::path::{Path, PathBuf};

use super::{Gauge, Reading};

/// The machine, or the control group that the process is in where that has less.
#[derive(Clone, Debug)]
pub struct System {
    proc: PathBuf,
    groups: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl System {
    /// The system whose `/proc` and `/sys` lie below a folder.
    pub fn below(root: &Path) -> Self {
        Self { proc: root.join("proc"), groups: root.join("sys/fs/cgroup") }
    }

    /// Bytes that the process may use: the machine's memory, or the tightest limit of its control groups.
    pub fn limit(&self) -> Option<u64> {
        let groups = self.folders().into_iter().filter_map(|folder| folder.limit());
        groups.chain(self.machine("MemTotal")).min()
    }

    fn machine(&self, field: &str) -> Option<u64> {
        let text = std::fs::read_to_string(self.proc.join("meminfo")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// The group of the process and those above it.
    fn folders(&self) -> Vec<Group> {
        let Ok(text) = std::fs::read_to_string(self.proc.join("self/cgroup")) else { return Vec::new() };
        let mut found = Vec::new();
        for line in text.lines() {
            // `0::/path` is version 2; `7:memory:/path` is version 1.
            let mut parts = line.splitn(3, ':');
            let (number, kinds, path) = (parts.next(), parts.next(), parts.next().unwrap_or("/"));
            let root = match (number, kinds) {
                (Some("0"), Some("")) => self.groups.clone(),
                (_, Some(kinds)) if kinds.split(',').any(|kind| kind == "memory") => {
                    self.groups.join("memory")
                }
                _ => continue,
            };
            let second = number == Some("0");
            let own = root.join(path.trim_start_matches('/'));
            // A container may see its own group as the root, under a path that is not there.
            let own = if own.is_dir() { own } else { root.clone() };
            let above = own.ancestors().take_while(|folder| folder.starts_with(&root));
            found.extend(above.map(|folder| Group { folder: folder.to_owned(), second }));
        }
        found
    }
}

impl Gauge for System {
    fn read(&self) -> Reading {
        let groups = self.folders();
        let spare = groups.iter().filter_map(Group::spare);
        let available = spare.chain(self.machine("MemAvailable")).min();
        let own = groups.first().map(|group| group.folder.join("memory.pressure"));
        let files = own.into_iter().chain([self.proc.join("pressure/memory")]);
        let stalled = files.filter_map(|file| stalled(&std::fs::read_to_string(file).ok()?)).next();
        Reading { available, limit: self.limit(), stalled }
    }
}

struct Group {
    folder: PathBuf,
    /// Of version 2.
    second: bool,
}

impl Group {
    fn number(&self, second: &str, first: &str) -> Option<u64> {
        let file = self.folder.join(if self.second { second } else { first });
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// `max` of version 2 and the huge number of version 1 are no limit.
    fn limit(&self) -> Option<u64> {
        self.number("memory.max", "memory.limit_in_bytes").filter(|limit| *limit < 1 << 60)
    }

    /// What is left of the limit; the page cache can be dropped.
    fn spare(&self) -> Option<u64> {
        let (limit, used) = (self.limit()?, self.number("memory.current", "memory.usage_in_bytes")?);
        let stat = std::fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let field = |name: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let cache = field("inactive_file") + field("active_file");
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    }
}

/// `some avg10=1.23 …`.
fn stalled(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("avg10=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    const MACHINE: (&str, &str) =
        ("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\n");

    #[test]
    fn a_machine_without_groups() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[MACHINE, ("proc/pressure/memory", "some avg10=12.50 avg60=1.00\nfull avg10=1.00\n")],
        );
        let read = System::below(root.path()).read();
        let expected = Reading { available: Some(512_000), limit: Some(1_024_000), stalled: Some(12.5) };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_tightest_group_of_version_2_counts_and_its_cache_does_not() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                MACHINE,
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/memory.max", "100000\n"),
                ("sys/fs/cgroup/a/memory.current", "90000\n"),
                ("sys/fs/cgroup/a/memory.stat", "anon 60000\ninactive_file 20000\nactive_file 10000\n"),
                ("sys/fs/cgroup/a/b/memory.pressure", "some avg10=99.00 avg60=1.00\n"),
            ],
        );
        let read = System::below(root.path()).read();
        let expected = Reading { available: Some(40_000), limit: Some(100_000), stalled: Some(99.0) };
        assert_eq!(read, expected);
    }

    #[test]
    fn groups_of_version_1_and_their_lack_of_a_limit() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                MACHINE,
                ("proc/self/cgroup", "5:cpu:/x\n4:memory:/y\n"),
                ("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "70000\n"),
                ("sys/fs/cgroup/memory/y/memory.usage_in_bytes", "50000\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let system = System::below(root.path());
        assert_eq!((system.limit(), system.read().available), (Some(70_000), Some(20_000)));
    }
}
