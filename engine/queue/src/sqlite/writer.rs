//! The one thread that writes, and its group commit.
//!
//! Fifty clients that submit at once cost one fsync, not fifty: whatever has arrived by the time the thread is free
//! goes into one transaction, each task in a savepoint of its own so that a refusal undoes that task only. Answers are
//! given after the commit. A batch of nothing but events commits without waiting for the disk.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::QueueError;
use crate::store::Result;

/// Tasks in one transaction at most: bounds how long the first of them waits.
const BATCH: usize = 512;
/// Tasks that may wait for the thread before a caller is held back.
const BACKLOG: usize = 4096;
/// How long events wait for company.
const LINGER: Duration = Duration::from_millis(40);

/// A moment in a write at which a test may stop the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The change is made and not committed.
    BeforeCommit,
    /// It is committed and nobody has been told.
    AfterCommit,
}

/// Called at each [`Moment`] with the names of the verbs in the batch. For tests that kill the process.
pub type Fault = Arc<dyn Fn(Moment, &[&'static str]) + Send + Sync>;

type Reply = Box<dyn FnOnce(Result<()>) + Send>;

/// What a task left: how to answer its caller, and the error that it met.
type Ran = (Reply, Option<QueueError>);

/// Makes the change in the open transaction, or is told why there is none.
type Change = Box<dyn FnOnce(Result<&Connection>) -> Ran + Send>;

struct Task {
    verb: &'static str,
    durable: bool,
    run: Change,
}

/// Handle to the writing thread. Dropping it lets the thread finish what it has and waits for it.
pub(super) struct Writer {
    /// `None` once closed.
    tasks: Mutex<Option<SyncSender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(conn: Connection, fault: Option<Fault>) -> Result<Self> {
        let (tasks, inbox) = sync_channel(BACKLOG);
        let thread = std::thread::Builder::new()
            .name("ebb-queue-writer".into())
            .spawn(move || work(conn, inbox, fault))
            .map_err(|e| QueueError::File { path: "ebb-queue-writer".into(), source: Arc::new(e) })?;
        Ok(Self { tasks: Mutex::new(Some(tasks)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `change` in the writing thread and returns once it is durable, or once it has been undone.
    pub(super) fn write<T: Send + 'static>(
        &self,
        verb: &'static str,
        change: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = sync_channel::<Result<T>>(1);
        // The caller waits for exactly this message; it cannot have gone away.
        self.write_then(verb, change, move |outcome| drop(answer.send(outcome)));
        answered.recv().map_err(|_| QueueError::Closed)?
    }

    /// Hands `change` over; `then` is told the outcome from the writing thread once it is durable or undone. A store
    /// that is closed drops it.
    pub(super) fn write_then<T: Send + 'static>(
        &self,
        verb: &'static str,
        change: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        then: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        let handed = self.send(Task {
            verb,
            durable: true,
            run: Box::new(move |conn| {
                let outcome = conn.and_then(|conn| savepoint(conn, verb, change));
                let met = outcome.as_ref().err().cloned();
                let reply = Box::new(move |commit: Result<()>| {
                    then(outcome.and_then(|value| commit.map(|()| value)));
                });
                (reply, met)
            }),
        });
        if handed.is_err() {
            tracing::debug!(verb, "a write came after the end of the job store");
        }
    }

    /// Hands `change` over and returns at once. A failure is logged: nobody waits for it.
    pub(super) fn write_later(
        &self,
        verb: &'static str,
        change: impl FnOnce(&Connection) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.send(Task {
            verb,
            durable: false,
            run: Box::new(move |conn| {
                let outcome = conn.and_then(|conn| savepoint(conn, verb, change));
                let met = outcome.as_ref().err().cloned();
                let reply = Box::new(move |commit: Result<()>| {
                    if let Err(error) = outcome.and(commit) {
                        tracing::warn!(%error, verb, "a write that nobody waits for failed");
                    }
                });
                (reply, met)
            }),
        })
    }

    fn send(&self, task: Task) -> Result<()> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tasks.ok_or(QueueError::Closed)?.send(task).map_err(|_| QueueError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

/// One task's change: kept whole or undone whole, whatever the rest of the batch does.
fn savepoint<T>(
    conn: &Connection,
    verb: &'static str,
    change: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let sql =
        |text: &str| conn.prepare_cached(text).and_then(|mut s| s.execute([])).map_err(QueueError::sql(verb));
    sql("SAVEPOINT task")?;
    let outcome = change(conn);
    if outcome.is_err() && conn.is_autocommit() {
        // The whole transaction was undone, the savepoint with it.
        return outcome;
    }
    if outcome.is_err() {
        sql("ROLLBACK TO task")?;
    }
    sql("RELEASE task")?;
    outcome
}

fn work(conn: Connection, inbox: Receiver<Task>, fault: Option<Fault>) {
    let mut synchronous = true;
    while let Some(batch) = gather(&inbox) {
        let durable = batch.iter().any(|t| t.durable);
        if durable != synchronous {
            let pragma = if durable { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            match conn.execute_batch(pragma) {
                Ok(()) => synchronous = durable,
                Err(error) => tracing::warn!(%error, "cannot change how the job database waits for the disk"),
            }
        }
        let verbs: Vec<&'static str> = batch.iter().map(|t| t.verb).collect();
        let at = |moment| fault.iter().for_each(|f| f(moment, &verbs));
        let mut replies = Vec::with_capacity(batch.len());
        let mut open = conn.execute_batch("BEGIN IMMEDIATE").map_err(QueueError::sql("starting to write"));
        if let Err(error) = &open {
            tracing::error!(%error, verbs = ?verbs, "the job database refuses to be written");
        }
        for task in batch {
            // Outside a transaction a task's savepoint would commit by itself, so the task is not run.
            let (reply, met) = (task.run)(open.as_ref().map(|()| &conn).map_err(Clone::clone));
            replies.push(reply);
            // A full disk makes SQLite undo the whole transaction at once: what came before is gone with it.
            if open.is_ok() && conn.is_autocommit() {
                open = Err(met.unwrap_or(QueueError::DiskFull));
            }
        }
        let committed = match open {
            Ok(()) => {
                at(Moment::BeforeCommit);
                conn.execute_batch("COMMIT").map_err(QueueError::sql("waiting for the disk")).inspect_err(
                    |_| {
                        // A failed commit may leave the transaction open; the next batch needs a fresh one.
                        let _ = conn.execute_batch("ROLLBACK");
                    },
                )
            }
            Err(error) => Err(error),
        };
        at(Moment::AfterCommit);
        for reply in replies {
            reply(committed.clone());
        }
    }
    // Leaves one file behind instead of three when the program ends in order.
    let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// The next batch, `None` when every handle is gone.
fn gather(inbox: &Receiver<Task>) -> Option<Vec<Task>> {
    let mut batch = vec![inbox.recv().ok()?];
    let started = Instant::now();
    while batch.len() < BATCH {
        let durable = batch.iter().any(|t| t.durable);
        let wait = if durable { Duration::ZERO } else { LINGER.saturating_sub(started.elapsed()) };
        match inbox.recv_timeout(wait) {
            Ok(task) => batch.push(task),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(conn: &Connection, text: &str) -> Result<()> {
        conn.execute("INSERT INTO t (x) VALUES (?1)", [text]).map(drop).map_err(QueueError::sql("inserting"))
    }

    #[test]
    fn a_disk_that_fills_up_undoes_the_whole_batch_and_says_so_to_all_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let conn = Connection::open(folder.path().join("x.sqlite3")).expect("a database");
        conn.execute_batch("CREATE TABLE t (x TEXT UNIQUE); PRAGMA max_page_count=8;").expect("tables");
        // Holds the thread until all three tasks are there, so that they make one batch.
        let (go, wait) = sync_channel::<()>(0);
        let wait = Mutex::new(wait);
        let first = std::sync::atomic::AtomicBool::new(true);
        let hold: Fault = Arc::new(move |moment, _| {
            if moment == Moment::AfterCommit && first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                let _ = wait.lock().expect("one waits").recv();
            }
        });
        let writer = Writer::start(conn, Some(hold)).expect("a thread");
        std::thread::scope(|scope| {
            let held = scope.spawn(|| writer.write("hold", |_| Ok(())));
            std::thread::sleep(Duration::from_millis(100));
            let tasks = [
                scope.spawn(|| writer.write("before", |c| insert(c, "small"))),
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(100));
                    writer.write("fills", |c| insert(c, &"x".repeat(100_000)))
                }),
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(200));
                    writer.write("after", |c| insert(c, "after"))
                }),
            ];
            std::thread::sleep(Duration::from_millis(300));
            go.send(()).expect("it waits");
            held.join().expect("no panic").expect("an empty write");
            for task in tasks {
                let answer = task.join().expect("no panic");
                assert!(matches!(answer, Err(QueueError::DiskFull)), "{answer:?}");
            }
        });
        let kept = writer.write("count", |c| {
            c.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
                .map_err(QueueError::sql("counting"))
        });
        assert_eq!(kept.expect("it goes on"), 0, "what was refused is not there");
        writer.write("again", |c| insert(c, "small")).expect("there is room for a little");
    }
}
