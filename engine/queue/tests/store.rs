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
