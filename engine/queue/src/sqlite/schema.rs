//! Opening the database: pragmas, the one process that may hold it, and its tables.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::error::QueueError;

/// Version of the tables below, kept in `user_version`.
const VERSION: i64 = 2;

/// `seq` orders by arrival and `finish_seq` by completion: clocks go backwards, these do not.
const TABLES: &str = "
CREATE TABLE jobs (
  seq              INTEGER PRIMARY KEY AUTOINCREMENT,
  id               TEXT    NOT NULL UNIQUE,
  number           REAL    NOT NULL,
  number_counted   INTEGER NOT NULL,
  priority         INTEGER NOT NULL,
  state            TEXT    NOT NULL,
  attempts         INTEGER NOT NULL DEFAULT 0,
  passed_over      INTEGER NOT NULL DEFAULT 0,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  client_id        TEXT,
  idempotency_key  TEXT UNIQUE,
  fingerprint      TEXT,
  components       TEXT    NOT NULL,
  created_ms       INTEGER NOT NULL,
  started_ms       INTEGER,
  finished_ms      INTEGER,
  finish_seq       INTEGER UNIQUE,
  prompt           TEXT    NOT NULL,
  extra_data       TEXT    NOT NULL,
  outputs_to_run   TEXT    NOT NULL,
  outputs          TEXT,
  status           TEXT,
  meta             TEXT,
  error            TEXT
);
CREATE INDEX jobs_by_turn ON jobs (state, priority DESC, number, seq);
CREATE INDEX jobs_by_completion ON jobs (finish_seq) WHERE started_ms IS NOT NULL;
CREATE TABLE events (
  job   INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  seq   INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  kind  TEXT    NOT NULL,
  data  TEXT    NOT NULL,
  PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE TABLE results (
  id        INTEGER PRIMARY KEY,
  job       INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  node_id   TEXT    NOT NULL,
  kind      TEXT    NOT NULL,
  folder    TEXT    NOT NULL,
  subfolder TEXT    NOT NULL,
  filename  TEXT    NOT NULL,
  sha256    TEXT    NOT NULL,
  bytes     INTEGER NOT NULL
);
CREATE INDEX results_by_content ON results (sha256);
CREATE INDEX results_by_job ON results (job);
CREATE TABLE flags (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// Jobs by state, kept by the database itself: every submission asks how many wait, and counting ten thousand of them
/// would take longer than storing the new one. Since version 2.
const TALLY: &str = "
CREATE TABLE tally (state TEXT PRIMARY KEY, jobs INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO tally (state, jobs) SELECT state, count(*) FROM jobs GROUP BY state;
CREATE TRIGGER jobs_come AFTER INSERT ON jobs BEGIN
  INSERT INTO tally (state, jobs) VALUES (new.state, 1) ON CONFLICT (state) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_go AFTER DELETE ON jobs BEGIN
  UPDATE tally SET jobs = jobs - 1 WHERE state = old.state;
END;
CREATE TRIGGER jobs_change AFTER UPDATE OF state ON jobs WHEN new.state <> old.state BEGIN
  UPDATE tally SET jobs = jobs - 1 WHERE state = old.state;
  INSERT INTO tally (state, jobs) VALUES (new.state, 1) ON CONFLICT (state) DO UPDATE SET jobs = jobs + 1;
END;
";

/// Takes the folder for this process: two servers on one queue would run its jobs twice.
pub(super) fn lock(path: &Path) -> Result<File, QueueError> {
    let file_error = |e| QueueError::File { path: path.to_owned(), source: Arc::new(e) };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(file_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(QueueError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(e)) => Err(file_error(e)),
    }
}

/// The one connection that writes.
pub(super) fn open_writer(path: &Path) -> Result<Connection, QueueError> {
    let mut conn = Connection::open(path).map_err(QueueError::sql("opening the job database"))?;
    // WAL lets requests read while a commit waits for the disk; FULL makes a commit wait for it.
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=10000;",
    )
    .map_err(QueueError::sql("preparing the job database"))?;
    conn.set_prepared_statement_cache_capacity(64);
    migrate(&mut conn)?;
    Ok(conn)
}

/// A connection for one read at a time.
pub(super) fn open_reader(path: &Path) -> Result<Connection, QueueError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn =
        Connection::open_with_flags(path, flags).map_err(QueueError::sql("opening the job database"))?;
    conn.execute_batch("PRAGMA query_only=ON; PRAGMA busy_timeout=10000;")
        .map_err(QueueError::sql("preparing the job database"))?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

fn migrate(conn: &mut Connection) -> Result<(), QueueError> {
    let doing = "reading the version of the job database";
    let found: i64 =
        conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(QueueError::sql(doing))?;
    if found > VERSION {
        return Err(QueueError::TooNew { found, supported: VERSION });
    }
    if found == VERSION {
        return Ok(());
    }
    let doing = "creating the tables of the job database";
    let tx = conn.transaction().map_err(QueueError::sql(doing))?;
    if found < 1 {
        tx.execute_batch(TABLES).map_err(QueueError::sql(doing))?;
    }
    tx.execute_batch(TALLY).map_err(QueueError::sql(doing))?;
    tx.pragma_update(None, "user_version", VERSION).map_err(QueueError::sql(doing))?;
    tx.commit().map_err(QueueError::sql(doing))
}
