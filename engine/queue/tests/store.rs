//! The suite on the SQLite store, and what only a store on a disk can be asked.

use std::sync::Arc;

use ebb_queue::conformance::{self, ended, job};
use ebb_queue::{JobState, JobStore, Limits, QueueError, SqliteStore};

#[test]
fn sqlite_passes_the_suite() {
    conformance::all(|limits| {
        let folder = tempfile::tempdir().expect("a folder");
        (SqliteStore::open(folder.path(), limits).expect("a store"), folder)
    });
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = SqliteStore::open(folder.path(), Limits::default()).expect("a store");
    let second = SqliteStore::open(folder.path(), Limits::default());
    assert!(matches!(second, Err(QueueError::InUse { .. })));
    drop(first);
    SqliteStore::open(folder.path(), Limits::default()).expect("free again");
}

#[test]
fn what_was_stored_is_there_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let store = SqliteStore::open(folder.path(), Limits::default()).expect("a store");
        for i in 0..10 {
            store.submit(job(&format!("job-{i}"), i)).expect("submit");
        }
        store.set_paused(true).expect("pause");
        store.claim("job-0", &[]).expect("claim");
        store.finish("job-0", ended(JobState::Succeeded)).expect("finish");
    }
    let store = SqliteStore::open(folder.path(), Limits::default()).expect("a store");
    assert!(store.paused().expect("paused"));
    assert_eq!(store.queued(100).expect("queued").len(), 9);
    assert_eq!(store.next_number().expect("next"), 10);
}

#[test]
fn fifty_threads_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path(), Limits::default()).expect("a store"));
    std::thread::scope(|scope| {
        for thread in 0..50 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for i in 0..10 {
                    let submitted = store.submit(job(&format!("{thread}-{i}"), i)).expect("submit");
                    // Read-your-write from any thread, at once.
                    assert!(store.get(&submitted.summary().id).expect("get").is_some());
                }
            });
        }
    });
    assert_eq!(store.counts().expect("counts").queued, 500);
}

#[test]
fn a_database_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(SqliteStore::open(folder.path(), Limits::default()).expect("a store"));
    let conn = rusqlite::Connection::open(folder.path().join("queue.sqlite3")).expect("the file");
    conn.pragma_update(None, "user_version", 99).expect("a pragma");
    drop(conn);
    let opened = SqliteStore::open(folder.path(), Limits::default());
    assert!(matches!(opened, Err(QueueError::TooNew { found: 99, .. })));
}

#[test]
fn a_damaged_row_names_its_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path(), Limits::default()).expect("a store");
    store.submit(job("a", 0)).expect("submit");
    let conn = rusqlite::Connection::open(folder.path().join("queue.sqlite3")).expect("the file");
    conn.execute("UPDATE jobs SET prompt = '{'", []).expect("damage");
    let error = store.get("a").expect_err("it does not read back").to_string();
    assert!(error.contains("job a") && error.contains("prompt"), "{error}");
}

#[test]
fn a_database_of_the_first_version_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let store = SqliteStore::open(folder.path(), Limits::default()).expect("a store");
        for (i, id) in ["a", "b", "c", "d"].iter().enumerate() {
            store.submit(job(id, i as i64)).expect("submit");
        }
        store.claim("a", &[]).expect("claim");
        store.finish("a", ended(JobState::Failed)).expect("finish");
        store.claim("b", &[]).expect("claim");
    }
    // What the first version did not have.
    let conn = rusqlite::Connection::open(folder.path().join("queue.sqlite3")).expect("the file");
    conn.execute_batch(
        "DROP TRIGGER jobs_come; DROP TRIGGER jobs_go; DROP TRIGGER jobs_change; DROP TABLE tally; \
         PRAGMA user_version = 1;",
    )
    .expect("the first version");
    drop(conn);
    let store = SqliteStore::open(folder.path(), Limits::default()).expect("it opens");
    let counts = store.counts().expect("counts");
    assert_eq!((counts.queued, counts.running, counts.failed), (2, 1, 1));
    store.recover().expect("recover");
    let counts = store.counts().expect("counts");
    assert_eq!((counts.queued, counts.running, counts.failed), (3, 0, 1));
}

/// The database keeps the counts by itself; they are what counting would give, whatever happens to jobs.
#[test]
fn counts_are_those_of_the_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { max_history: 3, ..Limits::default() };
    let store = SqliteStore::open(folder.path(), limits).expect("a store");
    let conn = rusqlite::Connection::open(folder.path().join("queue.sqlite3")).expect("the file");
    let check = |after: &str| {
        let counts = store.counts().expect("counts");
        let count = |state: &str| -> u64 {
            let sql = "SELECT count(*) FROM jobs WHERE state = ?1";
            conn.query_row(sql, [state], |row| row.get::<_, i64>(0)).expect("a count") as u64
        };
        let found = [counts.queued, counts.running, counts.succeeded, counts.failed, counts.cancelled];
        assert_eq!(found, JobState::ALL.map(|state| count(state.as_str())), "after {after}");
    };
    let name = |i: i64| format!("job-{i}");
    for i in 0..30 {
        store.submit(job(&name(i), i)).expect("submit");
    }
    check("submitting");
    for i in 0..6 {
        store.claim(&name(i), &[]).expect("claim");
        let state = [JobState::Succeeded, JobState::Failed, JobState::Cancelled][i as usize % 3];
        store.finish(&name(i), ended(state)).expect("finish");
    }
    check("the oldest history was forgotten");
    store.submit(job(&name(5), 40)).expect("a finished job of the id makes way");
    check("submitting an id again");
    store.claim(&name(6), &[]).expect("claim");
    store.release(&name(6)).expect("release");
    store.claim(&name(7), &[]).expect("claim");
    check("a release");
    store.cancel(&name(8)).expect("cancel");
    store.remove_queued(&[name(9), name(10), name(0)]).expect("remove");
    check("cancelling and removing");
    store.recover().expect("recover");
    check("recovering");
    store.clear_queued().expect("clear");
    store.clear_history().expect("clear");
    check("clearing");
}
