//! The store on SQLite: one file in the data folder, one thread that writes it, any number that read.
//!
//! - [`schema`](self): tables and pragmas; `writer`: the thread and its group commit; `rows`: rows to values;
//!   `submit`, `run`, `order`, `history`: the verbs, each a function on a connection.

mod history;
mod order;
mod rows;
mod run;
mod schema;
mod submit;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use self::writer::Writer;
pub use self::writer::{Fault, Moment};
use crate::error::QueueError;
use crate::job::{Claimed, EventRecord, JobRecord, JobSummary, NewEvent, NewJob, ResultRecord};
use crate::store::{
    Cancelled, Counts, Ended, Filter, HistoryWindow, JobStore, Limits, Page, Place, Recovered, Result,
    Submitted, Then,
};

/// Jobs in `queue.sqlite3` below the data folder.
pub struct SqliteStore {
    path: PathBuf,
    limits: Limits,
    writer: Writer,
    /// Connections that nobody reads from at the moment.
    readers: Mutex<Vec<Connection>>,
    /// Held as long as the store lives; the system frees it when the process dies, however it dies.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store below `folder`, making both if they are not there.
    pub fn open(folder: &Path, limits: Limits) -> Result<Self> {
        Self::open_with_fault(folder, limits, None)
    }

    /// As [`SqliteStore::open`], with a function that is called around each commit: tests stop the process there.
    pub fn open_with_fault(folder: &Path, limits: Limits, fault: Option<Fault>) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|e| QueueError::File { path: folder.to_owned(), source: Arc::new(e) })?;
        let lock = schema::lock(&folder.join("queue.lock"))?;
        let path = folder.join("queue.sqlite3");
        let writer = Writer::start(schema::open_writer(&path)?, fault)?;
        Ok(Self { path, limits, writer, readers: Mutex::new(Vec::new()), _lock: lock })
    }

    fn read<T>(&self, look: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::open_reader(&self.path)?,
        };
        let answer = look(&conn);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        answer
    }
}

/// Milliseconds since 1970; 0 on a clock before that.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl JobStore for SqliteStore {
    fn submit(&self, job: NewJob) -> Result<Submitted> {
        let limits = self.limits;
        self.writer.write("submit", move |c| submit::submit(c, &job, limits, now_ms()))
    }

    fn submit_then(&self, job: NewJob, then: Then) {
        let limits = self.limits;
        let submit = move |c: &Connection| {
            let submitted = submit::submit(c, &job, limits, now_ms())?;
            Ok((submitted, order::counts(c)?))
        };
        self.writer.write_then("submit", submit, then);
    }

    fn next_number(&self) -> Result<i64> {
        self.read(submit::next_number)
    }

    fn recover(&self) -> Result<Recovered> {
        let limits = self.limits;
        self.writer.write("recover", move |c| run::recover(c, limits, now_ms()))
    }

    fn queued(&self, limit: u64) -> Result<Vec<JobSummary>> {
        self.read(|c| order::queued(c, limit))
    }

    fn claim(&self, id: &str, passed_over: &[String]) -> Result<Option<Claimed>> {
        let (id, passed_over) = (id.to_owned(), passed_over.to_vec());
        self.writer.write("claim", move |c| run::claim(c, &id, &passed_over, now_ms()))
    }

    fn release(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.writer.write("release", move |c| run::release(c, &id))
    }

    fn finish(&self, id: &str, ended: Ended) -> Result<()> {
        let (id, limits) = (id.to_owned(), self.limits);
        self.writer.write("finish", move |c| run::finish(c, &id, &ended, limits, now_ms()))
    }

    fn cancel(&self, id: &str) -> Result<Cancelled> {
        let id = id.to_owned();
        self.writer.write("cancel", move |c| run::cancel(c, &id, now_ms()))
    }

    fn remove_queued(&self, ids: &[String]) -> Result<Vec<String>> {
        let ids = ids.to_vec();
        self.writer.write("remove_queued", move |c| order::remove(c, &ids))
    }

    fn clear_queued(&self) -> Result<u64> {
        self.writer.write("clear_queued", order::clear)
    }

    fn reorder(&self, id: &str, place: Place) -> Result<JobSummary> {
        let id = id.to_owned();
        self.writer.write("reorder", move |c| order::reorder(c, &id, &place))
    }

    fn set_priority(&self, id: &str, priority: i32) -> Result<JobSummary> {
        let id = id.to_owned();
        self.writer.write("set_priority", move |c| order::set_priority(c, &id, priority))
    }

    fn set_paused(&self, paused: bool) -> Result<()> {
        self.writer.write("set_paused", move |c| order::set_paused(c, paused))
    }

    fn paused(&self) -> Result<bool> {
        self.read(order::paused)
    }

    fn counts(&self) -> Result<Counts> {
        self.read(order::counts)
    }

    fn get(&self, id: &str) -> Result<Option<JobRecord>> {
        self.read(|c| history::get(c, id))
    }

    fn list(&self, filter: &Filter) -> Result<Page> {
        self.read(|c| history::list(c, filter))
    }

    fn history(&self, window: HistoryWindow) -> Result<Vec<JobRecord>> {
        self.read(|c| history::history(c, window))
    }

    fn remove_history(&self, ids: &[String]) -> Result<u64> {
        let ids = ids.to_vec();
        self.writer.write("remove_history", move |c| history::remove(c, &ids))
    }

    fn clear_history(&self) -> Result<u64> {
        self.writer.write("clear_history", history::clear)
    }

    fn append_events(&self, id: &str, events: Vec<NewEvent>) -> Result<()> {
        let id = id.to_owned();
        self.writer.write_later("append_events", move |c| history::append(c, &id, &events))
    }

    fn events_after(&self, id: &str, seq: i64, limit: u64) -> Result<Vec<EventRecord>> {
        self.read(|c| history::events(c, id, seq, limit))
    }

    fn results(&self, id: &str) -> Result<Vec<ResultRecord>> {
        self.read(|c| history::results(c, id))
    }

    fn result_by_hash(&self, sha256: &str) -> Result<Option<ResultRecord>> {
        self.read(|c| history::by_hash(c, sha256))
    }

    fn flush(&self) -> Result<()> {
        self.writer.write("flush", |_| Ok(()))
    }
}
