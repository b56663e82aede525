//! The last lines of the log, for `/internal/logs` and the front end's terminal panel.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept.
const LINES: usize = 300;
/// Bytes of a line that are kept.
const LONGEST: usize = 4096;

/// A line of the log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// When, as RFC 3339 in UTC.
    t: String,
    /// The line with its end.
    m: String,
}

/// Keeps the last lines. Clones are the same log. Hand it to `tracing_subscriber` as a writer.
#[derive(Clone, Default)]
pub struct LogBuffer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Lines since the start: where a reader has got to.
    written: u64,
}

impl LogBuffer {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is kept, oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.iter().cloned().collect()
    }

    /// Lines after the first `seen` ones, and how many there are now.
    pub(crate) fn since(&self, seen: u64) -> (Vec<Entry>, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = usize::try_from(state.written.saturating_sub(seen))
            .unwrap_or(usize::MAX)
            .min(state.entries.len());
        (state.entries.iter().skip(state.entries.len() - new).cloned().collect(), state.written)
    }

    fn push(&self, line: &str) {
        let mut end = line.len().min(LONGEST);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let entry = Entry { t: timestamp(SystemTime::now()), m: line[..end].to_owned() };
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.entries.len() == LINES {
            state.entries.pop_front();
        }
        state.entries.push_back(entry);
        state.written += 1;
    }
}

/// `2026-01-31T12:00:00.123Z`.
pub(crate) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = ((since.as_secs() / 86_400) as i64, since.as_secs() % 86_400);
    // Days to a date in the Gregorian calendar: Howard Hinnant, "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        since.subsec_millis()
    )
}

/// Writes into the buffer; one call is one line, which is how `tracing_subscriber` writes.
pub struct LogWriter(LogBuffer);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> LogWriter {
        LogWriter(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates() {
        let at = |secs| timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59.000Z");
    }

    #[test]
    fn the_last_lines_are_kept() {
        let log = LogBuffer::new();
        for i in 0..LINES + 10 {
            log.make_writer().write_all(format!("line {i}\n").as_bytes()).expect("written");
        }
        let entries = log.entries();
        assert_eq!((entries.len(), entries[0].m.as_str()), (LINES, "line 10\n"));
        let (new, seen) = log.since(LINES as u64 + 8);
        assert_eq!((new.len(), seen), (2, LINES as u64 + 10));
        assert_eq!(log.since(0).0.len(), LINES);
    }
}
