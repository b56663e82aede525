//! Submissions, one at a time and fifty clients at once, and lists of a long queue. `cargo bench -p ebb-queue`.

use std::sync::Arc;

use divan::Bencher;
use ebb_queue::conformance::job;
use ebb_queue::{Filter, JobState, JobStore, Limits, SqliteStore};

fn main() {
    divan::main();
}

fn store(jobs: i64) -> (tempfile::TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { max_queued: 10_000_000, ..Limits::default() };
    let store = Arc::new(SqliteStore::open(folder.path(), limits).expect("a store"));
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for i in (thread..jobs).step_by(16) {
                    store.submit(job(&format!("job-{i}"), i)).expect("submit");
                }
            });
        }
    });
    (folder, store)
}

#[divan::bench(sample_count = 50)]
fn submit_one(bencher: Bencher) {
    let (_folder, store) = store(0);
    let n = std::sync::atomic::AtomicI64::new(0);
    bencher.bench(|| {
        let i = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        store.submit(job(&format!("job-{i}"), i))
    });
}

#[divan::bench(sample_count = 10)]
fn fifty_clients_ten_each(bencher: Bencher) {
    let (_folder, store) = store(0);
    let n = std::sync::atomic::AtomicI64::new(0);
    bencher.bench(|| {
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let i = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        store.submit(job(&format!("job-{i}"), i)).expect("submit");
                    }
                });
            }
        });
    });
}

#[divan::bench(sample_count = 10)]
fn list_ten_thousand(bencher: Bencher) {
    let (_folder, store) = store(10_000);
    let filter = Filter { states: vec![JobState::Queued], ..Filter::default() };
    bencher.bench(|| store.list(&filter).expect("list").jobs.len());
}

#[divan::bench(sample_count = 50)]
fn page_of_ten_thousand(bencher: Bencher) {
    let (_folder, store) = store(10_000);
    let filter = Filter { states: vec![JobState::Queued], limit: Some(200), ..Filter::default() };
    bencher.bench(|| store.list(&filter).expect("list").jobs.len());
}

#[divan::bench(sample_count = 100)]
fn count_ten_thousand(bencher: Bencher) {
    let (_folder, store) = store(10_000);
    bencher.bench(|| store.counts().expect("counts"));
}
