//! kill −9 at every transition. The child is this test binary again: it walks jobs through all their states and stops
//! dead at the moment it was told; the parent kills it there, opens what it left, and checks that nothing is lost,
//! nothing is doubled and nothing that was answered has been forgotten.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ebb_queue::conformance::{ended, job};
use ebb_queue::sqlite::{Fault, Moment};
use ebb_queue::{HistoryWindow, JobState, JobStore, Limits, Place, SqliteStore};

const FOLDER: &str = "EBB_TEST_KILL_FOLDER";
const AT: &str = "EBB_TEST_KILL_AT";
/// Set when the child takes up what an earlier run left, instead of walking.
const TAKES_UP: &str = "EBB_TEST_KILL_TAKES_UP";

/// The walk: what it asks for and what it says when it has been answered.
fn walk(store: &SqliteStore) {
    let say = |word: &str| println!("\nanswered {word}");
    for (i, id) in ["done", "fails", "again", "stopped", "dropped", "moved"].iter().enumerate() {
        store.submit(job(id, i as i64)).expect("submit");
        say(&format!("submit:{id}"));
    }
    store.claim("done", &[]).expect("claim");
    say("claim:done");
    store.finish("done", ended(JobState::Succeeded)).expect("finish");
    say("finish:done");
    store.claim("fails", &[]).expect("claim");
    say("claim:fails");
    store.finish("fails", ended(JobState::Failed)).expect("finish");
    say("finish:fails");
    store.cancel("stopped").expect("cancel");
    say("cancel:stopped");
    store.remove_queued(&["dropped".to_owned()]).expect("remove");
    say("remove:dropped");
    store.reorder("moved", Place::Front).expect("reorder");
    say("reorder:moved");
    store.claim("again", &[]).expect("claim");
    say("claim:again");
    store.cancel("again").expect("cancel");
    say("cancel:again");
    store.finish("again", ended(JobState::Cancelled)).expect("finish");
    say("finish:again");
    store.claim("moved", &[]).expect("claim");
    say("claim:moved");
    store.release("moved").expect("release");
    say("release:moved");
    store.set_paused(true).expect("pause");
    say("pause");
    store.set_priority("moved", 5).expect("priority");
    say("priority:moved");
    println!("\nend");
}

/// Writes of the walk: one commit each.
const WRITES: u32 = 20;

#[test]
fn child() {
    let (Ok(folder), Ok(at)) = (std::env::var(FOLDER), std::env::var(AT)) else { return };
    let (moment, nth) = at.split_once(':').expect("MOMENT:N");
    let moment = if moment == "before" { Moment::BeforeCommit } else { Moment::AfterCommit };
    let nth: u32 = nth.parse().expect("a number");
    let fault = stop_at(moment, nth);
    let store =
        SqliteStore::open_with_fault(Path::new(&folder), Limits::default(), Some(fault)).expect("a store");
    if std::env::var(TAKES_UP).is_ok() {
        store.recover().expect("recover");
        println!("\nend");
    } else {
        walk(&store);
    }
}

/// Says when the moment has come for the nth time, and stays there.
fn stop_at(moment: Moment, nth: u32) -> Fault {
    let seen = AtomicU32::new(0);
    Arc::new(move |m: Moment, _: &[&'static str]| {
        if m == moment && seen.fetch_add(1, Ordering::SeqCst) == nth {
            println!("\nat the moment");
            // Until it is killed.
            loop {
                std::thread::park();
            }
        }
    })
}

/// Runs the walk until the moment, kills it there; what it had been answered by then.
fn killed_at(folder: &Path, at: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this binary"));
    child.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(FOLDER, folder).env(AT, at);
    killed(child, at)
}

fn killed(mut child: Command, at: &str) -> Vec<String> {
    let mut child = child.stdout(Stdio::piped()).spawn().expect("the child");
    let mut answered = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
        let line = line.expect("a line");
        if let Some(word) = line.strip_prefix("answered ") {
            answered.push(word.to_owned());
        }
        if line == "at the moment" {
            break;
        }
        assert_ne!(line, "end", "the walk has fewer writes than the test thinks ({at})");
    }
    child.kill().expect("kill -9");
    child.wait().expect("it is dead");
    answered
}

fn check(folder: &Path, answered: &[String], at: &str) {
    let store = SqliteStore::open(folder, Limits::default()).expect("it opens after a kill");
    let has = |word: &str| answered.iter().any(|a| a == word);
    let recovered = store.recover().expect("recover");
    let state = |id: &str| store.get(id).expect("get").map(|j| j.summary.state);
    for id in ["done", "fails", "again", "stopped", "moved"] {
        assert!(!has(&format!("submit:{id}")) || state(id).is_some(), "{at}: {id} was accepted and is lost");
        assert_ne!(state(id), Some(JobState::Running), "{at}: nobody runs {id}");
    }
    let expect = |condition: bool, text: &str| assert!(condition, "{at}: {text} ({recovered:?})");
    expect(!has("finish:done") || state("done") == Some(JobState::Succeeded), "done stays done");
    expect(!has("finish:fails") || state("fails") == Some(JobState::Failed), "failed stays failed");
    expect(!has("cancel:stopped") || state("stopped") == Some(JobState::Cancelled), "stopped stays stopped");
    expect(!has("remove:dropped") || state("dropped").is_none(), "dropped stays dropped");
    expect(
        !has("cancel:again") || state("again") == Some(JobState::Cancelled),
        "a stop that was promised holds",
    );
    let attempts = |id: &str| store.get(id).expect("get").map_or(0, |j| j.summary.attempts);
    expect(!has("claim:done") || attempts("done") == 1, "the attempt counted");
    if has("claim:done") && !has("finish:done") {
        expect(
            matches!(state("done"), Some(JobState::Queued | JobState::Succeeded)),
            "a job that ran waits again, unless its end had been stored",
        );
    }
    expect(!has("pause") || store.paused().expect("paused"), "a pause holds");
    if has("priority:moved") {
        let moved = store.get("moved").expect("get").map(|j| j.summary.priority);
        expect(moved == Some(5), "a new priority holds");
    }
    // What waits runs on, each job once, in order; history is whole.
    let waiting = store.queued(100).expect("queued");
    if has("reorder:moved") {
        assert_eq!(waiting.first().map(|j| j.id.as_str()), Some("moved"), "{at}: the new order is kept");
    }
    let before = store.history(HistoryWindow::default()).expect("history").len();
    for job in &waiting {
        store.claim(&job.id, &[]).expect("claim").expect("it waits");
        store.finish(&job.id, ended(JobState::Succeeded)).expect("finish");
    }
    let history = store.history(HistoryWindow::default()).expect("history");
    assert_eq!(history.len(), before + waiting.len(), "{at}: each job is in history once");
    assert_eq!(store.counts().expect("counts").remaining(), 0);
}

#[test]
fn kill_9_at_every_transition() {
    for nth in 0..WRITES {
        for moment in ["before", "after"] {
            let folder = tempfile::tempdir().expect("a folder");
            let at = format!("{moment}:{nth}");
            let answered = killed_at(folder.path(), &at);
            assert_eq!(
                answered.len(),
                nth as usize,
                "{at}: every earlier write had been answered, this one not"
            );
            check(folder.path(), &answered, &at);
        }
    }
}

/// The start after a kill is killed as well: what it would have done the next one does, once.
#[test]
fn kill_9_while_taking_up() {
    for moment in ["before", "after"] {
        let folder = tempfile::tempdir().expect("a folder");
        {
            let store = SqliteStore::open(folder.path(), Limits::default()).expect("a store");
            for (i, id) in ["waits", "ran once", "ran three times", "was being stopped"].iter().enumerate() {
                store.submit(job(id, i as i64)).expect("submit");
            }
            let start = |id: &str| drop(store.claim(id, &[]).expect("claim").expect("it waits"));
            for _ in 0..2 {
                start("ran three times");
                store.recover().expect("recover");
            }
            for id in ["ran three times", "ran once", "was being stopped"] {
                start(id);
            }
            store.cancel("was being stopped").expect("cancel");
        }
        let mut child = Command::new(std::env::current_exe().expect("this binary"));
        child
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .env(AT, format!("{moment}:0"))
            .env(TAKES_UP, "1");
        killed(child, moment);
        let store = SqliteStore::open(folder.path(), Limits::default()).expect("it opens after a kill");
        let recovered = store.recover().expect("recover");
        assert_eq!(recovered == Default::default(), moment == "after", "{moment}: {recovered:?}");
        let of = |id: &str| {
            let job = store.get(id).expect("get").expect("it is there");
            (job.summary.state, job.summary.attempts, job.outcome.is_some())
        };
        assert_eq!(of("waits"), (JobState::Queued, 0, false), "{moment}");
        assert_eq!(of("ran once"), (JobState::Queued, 1, false), "{moment}: an attempt is counted once");
        assert_eq!(of("ran three times"), (JobState::Failed, 3, true), "{moment}");
        assert_eq!(of("was being stopped"), (JobState::Cancelled, 1, true), "{moment}");
        let waiting: Vec<String> = store.queued(9).expect("queued").into_iter().map(|j| j.id).collect();
        assert_eq!(waiting, ["waits", "ran once"], "{moment}: where they waited before");
    }
}
