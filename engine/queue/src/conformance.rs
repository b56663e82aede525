//! What every store must do, as one suite. A new store passes it or is not a store.
//!
//! ```no_run
//! # fn open() -> (ebb_queue::SqliteStore, ()) { unimplemented!() }
//! ebb_queue::conformance::all(|limits| open());
//! ```
//!
//! The functions panic when something is wrong: they are tests. `make` opens an empty store with the limits given; what
//! it returns beside the store (a temporary folder, say) lives as long as the check.

use serde_json::value::RawValue;

use crate::error::QueueError;
use crate::job::{Idempotency, JobBody, JobNumber, NewEvent, NewJob, NewResult, Outcome};
use crate::state::JobState;
use crate::store::{Cancelled, Ended, Filter, HistoryWindow, JobStore, Limits, Place, Submitted};

/// A check and its name.
type Check<S> = (&'static str, fn(&S));

/// Runs every check, each on an empty store.
pub fn all<S: JobStore, G>(make: impl Fn(Limits) -> (S, G)) {
    let limits = Limits::default();
    let checks: [Check<S>; 15] = [
        ("a job goes its way", a_job_goes_its_way),
        ("a submission that nobody waits for", a_submission_that_nobody_waits_for),
        ("order is priority, number, arrival", order_is_priority_number_arrival),
        ("ids are used once at a time", ids_are_used_once_at_a_time),
        ("idempotency keys", idempotency_keys),
        ("only allowed transitions", only_allowed_transitions),
        ("cancel whatever it does", cancel_whatever_it_does),
        ("recover counts attempts", recover_counts_attempts),
        ("release does not count", release_does_not_count),
        ("reorder", reorder),
        ("reorder until floats are exhausted", reorder_until_floats_are_exhausted),
        ("pause is kept", pause_is_kept),
        ("history windows", history_windows),
        ("events resume by sequence", events_resume_by_sequence),
        ("results by content", results_by_content),
    ];
    for (name, check) in checks {
        println!("checking: {name}");
        let (store, guard) = make(limits);
        check(&store);
        drop((store, guard));
    }
    let (store, _guard) = make(Limits { max_queued: 3, max_history: 2, max_attempts: 3 });
    limits_hold(&store);
}

/// A job to hand in: its prompt says its id.
pub fn job(id: &str, number: i64) -> NewJob {
    NewJob {
        id: id.to_owned(),
        number: JobNumber::Counted(number),
        priority: 0,
        client_id: Some("client-a".to_owned()),
        idempotency: None,
        body: JobBody {
            prompt: raw(&format!("{{\"1\": {{\"class_type\": \"{id}\"}}}}")),
            extra_data: raw("{\"client_id\": \"client-a\"}"),
            outputs: raw("[\"1\"]"),
        },
        components: vec!["model.safetensors".to_owned()],
    }
}

/// An end to report.
pub fn ended(state: JobState) -> Ended {
    Ended {
        state,
        outcome: Outcome {
            outputs: raw("{\"1\": {\"images\": []}}"),
            status: raw("{\"status_str\": \"success\", \"completed\": true, \"messages\": []}"),
            meta: raw("{}"),
            error: None,
        },
        results: vec![],
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON in a test")
}

fn ids(store: &impl JobStore) -> Vec<String> {
    store.queued(100).expect("queued").into_iter().map(|j| j.id).collect()
}

fn submit_all(store: &impl JobStore, ids: &[&str]) {
    for (i, id) in ids.iter().enumerate() {
        store.submit(job(id, i as i64)).expect("submit");
    }
}

fn run(store: &impl JobStore, id: &str, state: JobState) {
    store.claim(id, &[]).expect("claim").expect("it waits");
    store.finish(id, ended(state)).expect("finish");
}

fn a_job_goes_its_way(store: &impl JobStore) {
    let submitted = store.submit(job("a", 7)).expect("submit");
    assert!(
        matches!(&submitted, Submitted::New(s) if s.state == JobState::Queued && s.number == JobNumber::Counted(7))
    );
    let record = store.get("a").expect("get").expect("it is there");
    assert_eq!(
        record.body.prompt.get(),
        "{\"1\": {\"class_type\": \"a\"}}",
        "the prompt comes back as it came"
    );
    assert_eq!(record.summary.client_id.as_deref(), Some("client-a"));
    assert_eq!(record.summary.components, ["model.safetensors"]);
    assert!(record.outcome.is_none());

    let claimed = store.claim("a", &[]).expect("claim").expect("it waits");
    assert_eq!((claimed.record.summary.attempts, claimed.next_event), (1, 1));
    assert!(claimed.record.summary.started_ms.is_some());
    assert!(store.claim("a", &[]).expect("claim").is_none(), "one worker at a time");
    assert_eq!(store.counts().expect("counts").remaining(), 1);

    store.finish("a", ended(JobState::Succeeded)).expect("finish");
    let record = store.get("a").expect("get").expect("it is there");
    assert_eq!(record.summary.state, JobState::Succeeded);
    assert!(record.summary.finished_ms.is_some());
    assert_eq!(record.outcome.expect("an outcome").outputs.get(), "{\"1\": {\"images\": []}}");
    let counts = store.counts().expect("counts");
    assert_eq!((counts.remaining(), counts.succeeded), (0, 1));
    assert!(store.get("b").expect("get").is_none());
}

fn a_submission_that_nobody_waits_for(store: &impl JobStore) {
    let (tell, told) = std::sync::mpsc::channel();
    for id in ["a", "b", "a"] {
        let tell = tell.clone();
        store.submit_then(job(id, 0), Box::new(move |answer| tell.send(answer).expect("it is waited for")));
    }
    let next = || told.recv_timeout(std::time::Duration::from_secs(60)).expect("an answer");
    for waiting in 1..=2 {
        let (submitted, counts) = next().expect("submitted");
        assert!(matches!(submitted, Submitted::New(_)));
        assert_eq!(counts.queued, waiting, "the jobs with this one");
    }
    assert!(matches!(next(), Err(QueueError::Duplicate { .. })));
    assert_eq!(ids(store), ["a", "b"]);
}

fn order_is_priority_number_arrival(store: &impl JobStore) {
    for (id, number, priority) in [
        ("third", JobNumber::Counted(2), 0),
        ("fourth", JobNumber::Given(2.0), 0),
        ("second", JobNumber::Given(-0.5), 0),
        ("last", JobNumber::Counted(-100), -1),
        ("first", JobNumber::Counted(50), 1),
    ] {
        store.submit(NewJob { number, priority, ..job(id, 0) }).expect("submit");
    }
    assert_eq!(ids(store), ["first", "second", "third", "fourth", "last"]);
    assert_eq!(store.next_number().expect("next_number"), 101, "above every count, in front or not");
    let page = store.list(&Filter {
        states: vec![JobState::Queued],
        offset: 1,
        limit: Some(2),
        newest_first: false,
    });
    let page = page.expect("list");
    assert_eq!(page.total, 5);
    assert_eq!(page.jobs.iter().map(|j| j.summary.id.as_str()).collect::<Vec<_>>(), ["second", "third"]);
    assert_eq!(store.set_priority("last", 9).expect("set_priority").priority, 9);
    assert_eq!(ids(store)[0], "last");
}

fn ids_are_used_once_at_a_time(store: &impl JobStore) {
    submit_all(store, &["a"]);
    let again = store.submit(job("a", 1));
    assert!(matches!(again, Err(QueueError::Duplicate { state: JobState::Queued, .. })), "{again:?}");
    store.claim("a", &[]).expect("claim").expect("it waits");
    let again = store.submit(job("a", 1));
    assert!(matches!(again, Err(QueueError::Duplicate { state: JobState::Running, .. })), "{again:?}");
    store.finish("a", ended(JobState::Failed)).expect("finish");
    store.submit(job("a", 2)).expect("a finished job makes way");
    assert_eq!(store.get("a").expect("get").expect("it is there").summary.state, JobState::Queued);
    assert_eq!(store.history(HistoryWindow::default()).expect("history").len(), 0);
}

fn idempotency_keys(store: &impl JobStore) {
    let with = |id: &str, key: &str, fingerprint: &str| NewJob {
        idempotency: Some(Idempotency { key: key.to_owned(), fingerprint: fingerprint.to_owned() }),
        ..job(id, 0)
    };
    assert!(matches!(store.submit(with("a", "k", "f")).expect("submit"), Submitted::New(_)));
    let again = store.submit(with("b", "k", "f")).expect("submit");
    assert!(matches!(&again, Submitted::Existing(s) if s.id == "a"), "{again:?}");
    let other = store.submit(with("c", "k", "g"));
    assert!(matches!(&other, Err(QueueError::KeyReused { id, .. }) if id == "a"), "{other:?}");
    assert!(store.get("c").expect("get").is_none());
    run(store, "a", JobState::Succeeded);
    let again = store.submit(with("d", "k", "f")).expect("submit");
    assert_eq!(again.summary().state, JobState::Succeeded, "the key holds after the job has ended");
}

fn only_allowed_transitions(store: &impl JobStore) {
    submit_all(store, &["a"]);
    assert!(matches!(store.finish("a", ended(JobState::Succeeded)), Err(QueueError::Transition { .. })));
    assert!(matches!(store.release("a"), Err(QueueError::Transition { .. })));
    store.claim("a", &[]).expect("claim").expect("it waits");
    assert!(matches!(store.finish("a", ended(JobState::Running)), Err(QueueError::Transition { .. })));
    store.finish("a", ended(JobState::Failed)).expect("finish");
    for state in JobState::ALL {
        assert!(
            matches!(store.finish("a", ended(state)), Err(QueueError::Transition { .. })),
            "failed -> {state}"
        );
    }
    assert!(matches!(store.finish("b", ended(JobState::Failed)), Err(QueueError::NotFound { .. })));
    assert!(store.claim("b", &[]).expect("claim").is_none());
    assert!(matches!(store.set_priority("a", 1), Err(QueueError::NotQueued { .. })));
}

fn cancel_whatever_it_does(store: &impl JobStore) {
    submit_all(store, &["waits", "runs", "over"]);
    store.claim("runs", &[]).expect("claim").expect("it waits");
    run(store, "over", JobState::Succeeded);
    assert_eq!(store.cancel("waits").expect("cancel"), Cancelled::WasQueued);
    assert_eq!(store.cancel("runs").expect("cancel"), Cancelled::Requested);
    assert_eq!(store.cancel("over").expect("cancel"), Cancelled::AlreadyFinished(JobState::Succeeded));
    assert!(matches!(store.cancel("nobody"), Err(QueueError::NotFound { .. })));
    assert!(store.claim("waits", &[]).expect("claim").is_none());
    assert!(store.get("runs").expect("get").expect("it is there").summary.cancel_requested);
    let shown = store.history(HistoryWindow::default()).expect("history");
    assert_eq!(shown.len(), 1, "a job that no worker had is not history");
    assert_eq!(store.counts().expect("counts").cancelled, 1);
    let recovered = store.recover().expect("recover");
    assert_eq!(recovered.cancelled, ["runs"], "a job that was being stopped does not start again");
}

fn recover_counts_attempts(store: &impl JobStore) {
    submit_all(store, &["a", "b"]);
    for attempt in 1..=3 {
        let claimed = store.claim("a", &[]).expect("claim").expect("it waits");
        assert_eq!(claimed.record.summary.attempts, attempt);
        let recovered = store.recover().expect("recover");
        if attempt < 3 {
            assert_eq!((recovered.requeued.as_slice(), recovered.failed.len()), (&["a".to_owned()][..], 0));
            assert_eq!(ids(store), ["a", "b"], "it waits where it waited");
        } else {
            assert_eq!((recovered.requeued.len(), recovered.failed.as_slice()), (0, &["a".to_owned()][..]));
        }
    }
    let record = store.get("a").expect("get").expect("it is there");
    assert_eq!(record.summary.state, JobState::Failed);
    let status = record.outcome.expect("an outcome").status;
    assert!(status.get().contains("3 times of 3 allowed"), "history says why: {}", status.get());
}

fn release_does_not_count(store: &impl JobStore) {
    submit_all(store, &["a"]);
    for _ in 0..5 {
        let claimed = store.claim("a", &[]).expect("claim").expect("it waits");
        assert_eq!(claimed.record.summary.attempts, 1);
        store.release("a").expect("release");
    }
    assert_eq!(ids(store), ["a"]);
}

fn reorder(store: &impl JobStore) {
    submit_all(store, &["a", "b", "c", "d"]);
    store.reorder("d", Place::Front).expect("reorder");
    assert_eq!(ids(store), ["d", "a", "b", "c"]);
    store.reorder("d", Place::Back).expect("reorder");
    assert_eq!(ids(store), ["a", "b", "c", "d"]);
    store.reorder("d", Place::Before("b".to_owned())).expect("reorder");
    assert_eq!(ids(store), ["a", "d", "b", "c"]);
    store.reorder("a", Place::Before("a".to_owned())).expect("reorder");
    assert_eq!(ids(store), ["a", "d", "b", "c"]);
    assert!(matches!(store.reorder("x", Place::Front), Err(QueueError::NotFound { .. })));
    assert!(matches!(store.reorder("a", Place::Before("x".to_owned())), Err(QueueError::NotFound { .. })));
    assert_eq!(store.remove_queued(&["d".to_owned(), "x".to_owned()]).expect("remove"), ["d"]);
    assert_eq!(store.clear_queued().expect("clear"), 3);
    assert_eq!(ids(store).len(), 0);
}

fn reorder_until_floats_are_exhausted(store: &impl JobStore) {
    submit_all(store, &["a", "b", "c"]);
    // Each move halves the gap before c; a float has 52 halvings.
    for i in 0..200 {
        let (mover, other) = if i % 2 == 0 { ("a", "b") } else { ("b", "a") };
        store.reorder(mover, Place::Before("c".to_owned())).expect("reorder");
        assert_eq!(ids(store), [other, mover, "c"], "after {i} moves");
    }
}

fn pause_is_kept(store: &impl JobStore) {
    assert!(!store.paused().expect("paused"));
    store.set_paused(true).expect("pause");
    store.set_paused(true).expect("pause twice");
    assert!(store.paused().expect("paused"));
    store.set_paused(false).expect("resume");
    assert!(!store.paused().expect("paused"));
}

fn history_windows(store: &impl JobStore) {
    let names = ["a", "b", "c", "d", "e"];
    submit_all(store, &names);
    // Completion order, not arrival.
    for id in names.iter().rev() {
        run(store, id, JobState::Succeeded);
    }
    let shown = |offset: Option<u64>, max_items: Option<u64>| -> Vec<String> {
        let window = HistoryWindow { offset, max_items };
        store.history(window).expect("history").into_iter().map(|j| j.summary.id).collect()
    };
    assert_eq!(shown(None, None), ["e", "d", "c", "b", "a"]);
    assert_eq!(shown(None, Some(2)), ["b", "a"], "the newest, oldest first");
    assert_eq!(shown(Some(1), Some(2)), ["d", "c"]);
    assert_eq!(shown(Some(4), None), ["a"]);
    assert_eq!(shown(Some(9), None), Vec::<String>::new());
    assert_eq!(shown(None, Some(0)), Vec::<String>::new());
    assert_eq!(store.remove_history(&["c".to_owned(), "x".to_owned()]).expect("remove"), 1);
    store.submit(job("waiting", 0)).expect("submit");
    assert_eq!(store.clear_history().expect("clear"), 4);
    assert_eq!(ids(store), ["waiting"], "clearing history leaves the queue alone");
}

fn events_resume_by_sequence(store: &impl JobStore) {
    submit_all(store, &["a"]);
    let claimed = store.claim("a", &[]).expect("claim").expect("it waits");
    let events = |from: i64, to: i64| -> Vec<NewEvent> {
        (from..=to)
            .map(|seq| NewEvent {
                seq,
                at_ms: seq,
                kind: "progress".to_owned(),
                data: raw(&format!("{{\"n\":{seq}}}")),
            })
            .collect()
    };
    assert_eq!(claimed.next_event, 1);
    store.append_events("a", events(1, 3)).expect("append");
    store.append_events("a", events(4, 5)).expect("append");
    store.flush().expect("flush");
    let seen = |after| -> Vec<i64> {
        store.events_after("a", after, 3).expect("events").iter().map(|e| e.seq).collect()
    };
    assert_eq!(seen(0), [1, 2, 3]);
    assert_eq!(seen(3), [4, 5]);
    assert_eq!(store.events_after("a", 4, 9).expect("events")[0].data.get(), "{\"n\":5}");
    store.recover().expect("recover");
    let claimed = store.claim("a", &[]).expect("claim").expect("it waits");
    assert_eq!(claimed.next_event, 6, "a second attempt goes on counting");
    assert!(matches!(store.events_after("x", 0, 9), Err(QueueError::NotFound { .. })));
}

fn results_by_content(store: &impl JobStore) {
    let file = |name: &str, sha256: &str| NewResult {
        node_id: "9".to_owned(),
        kind: "images".to_owned(),
        folder: "output".to_owned(),
        subfolder: String::new(),
        filename: name.to_owned(),
        sha256: sha256.to_owned(),
        bytes: 12,
    };
    submit_all(store, &["a", "b"]);
    store.claim("a", &[]).expect("claim").expect("it waits");
    let results = vec![file("a_1.png", "aa"), file("a_2.png", "bb")];
    store.finish("a", Ended { results, ..ended(JobState::Succeeded) }).expect("finish");
    store.claim("b", &[]).expect("claim").expect("it waits");
    store
        .finish("b", Ended { results: vec![file("b_1.png", "aa")], ..ended(JobState::Succeeded) })
        .expect("finish");
    let names: Vec<_> = store.results("a").expect("results").into_iter().map(|r| r.file.filename).collect();
    assert_eq!(names, ["a_1.png", "a_2.png"]);
    let found = store.result_by_hash("aa").expect("by hash").expect("it is there");
    assert_eq!((found.job_id.as_str(), found.file.filename.as_str()), ("b", "b_1.png"));
    assert!(store.result_by_hash("cc").expect("by hash").is_none());
    store.remove_history(&["b".to_owned()]).expect("remove");
    assert_eq!(store.result_by_hash("aa").expect("by hash").expect("still there").job_id, "a");
}

fn limits_hold(store: &impl JobStore) {
    submit_all(store, &["a", "b", "c"]);
    let full = store.submit(job("d", 3));
    assert!(matches!(full, Err(QueueError::Full { queued: 3, limit: 3 })), "{full:?}");
    for id in ["a", "b", "c"] {
        run(store, id, JobState::Succeeded);
    }
    let kept: Vec<_> = store.history(HistoryWindow::default()).expect("history");
    assert_eq!(
        kept.iter().map(|j| j.summary.id.as_str()).collect::<Vec<_>>(),
        ["b", "c"],
        "the oldest goes first"
    );
}
