//! What a worker does with a job: take it, put it back, end it; and what a start does with the jobs of a run that died.

use rusqlite::{Connection, params};
use serde_json::json;
use serde_json::value::RawValue;

use super::rows::{RECORD, SUMMARY, TURN, all, check, exec, find, first, must_find, number, record, summary};
use crate::error::QueueError;
use crate::job::{Claimed, JobSummary, Outcome};
use crate::state::JobState;
use crate::store::{Cancelled, Ended, Limits, Recovered, Result};

pub(super) fn claim(
    conn: &Connection,
    id: &str,
    passed_over: &[String],
    now_ms: i64,
) -> Result<Option<Claimed>> {
    let Some(job) = find(conn, id)? else { return Ok(None) };
    if job.state != JobState::Queued {
        return Ok(None);
    }
    exec(
        conn,
        "taking a job",
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, started_ms = coalesce(started_ms, ?2) \
         WHERE seq = ?1",
        params![job.seq, now_ms],
    )?;
    for other in passed_over {
        let sql = "UPDATE jobs SET passed_over = passed_over + 1 WHERE id = ?1 AND state = 'queued'";
        exec(conn, "noting that a job was passed over", sql, params![other])?;
    }
    let sql = format!("SELECT {RECORD} FROM jobs WHERE seq = ?1");
    let record =
        first(conn, &sql, params![job.seq], record)?.ok_or(QueueError::NotFound { id: id.to_owned() })?;
    let last = "SELECT coalesce(max(seq), 0) FROM events WHERE job = ?1";
    Ok(Some(Claimed { next_event: number(conn, last, params![job.seq])? + 1, record }))
}

pub(super) fn release(conn: &Connection, id: &str) -> Result<()> {
    let job = must_find(conn, id)?;
    check(&job, JobState::Queued)?;
    let sql = "UPDATE jobs SET state = 'queued', attempts = max(attempts - 1, 0) WHERE seq = ?1";
    exec(conn, "putting a job back", sql, params![job.seq]).map(drop)
}

pub(super) fn finish(conn: &Connection, id: &str, ended: &Ended, limits: Limits, now_ms: i64) -> Result<()> {
    let job = must_find(conn, id)?;
    end(conn, &job, ended.state, &ended.outcome, now_ms)?;
    for file in &ended.results {
        exec(
            conn,
            "storing a result",
            "INSERT INTO results (job, node_id, kind, folder, subfolder, filename, sha256, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                job.seq,
                file.node_id,
                file.kind,
                file.folder,
                file.subfolder,
                file.filename,
                file.sha256,
                i64::try_from(file.bytes).unwrap_or(i64::MAX)
            ],
        )?;
    }
    let sql = "DELETE FROM jobs WHERE finish_seq <= (SELECT max(finish_seq) FROM jobs) - ?1";
    exec(
        conn,
        "forgetting the oldest history",
        sql,
        params![i64::try_from(limits.max_history).unwrap_or(i64::MAX)],
    )
    .map(drop)
}

fn end(conn: &Connection, job: &JobSummary, state: JobState, outcome: &Outcome, now_ms: i64) -> Result<()> {
    check(job, state)?;
    exec(
        conn,
        "ending a job",
        "UPDATE jobs SET state = ?2, finished_ms = ?3, outputs = ?4, status = ?5, meta = ?6, error = ?7, \
         finish_seq = (SELECT coalesce(max(finish_seq), 0) + 1 FROM jobs) WHERE seq = ?1",
        params![
            job.seq,
            state.as_str(),
            now_ms,
            outcome.outputs.get(),
            outcome.status.get(),
            outcome.meta.get(),
            outcome.error.as_ref().map(|e| e.get())
        ],
    )
    .map(drop)
}

pub(super) fn cancel(conn: &Connection, id: &str, now_ms: i64) -> Result<Cancelled> {
    let job = must_find(conn, id)?;
    match job.state {
        JobState::Queued => {
            end(
                conn,
                &job,
                JobState::Cancelled,
                &stopped("the job was cancelled while it waited", now_ms),
                now_ms,
            )?;
            Ok(Cancelled::WasQueued)
        }
        JobState::Running => {
            let sql = "UPDATE jobs SET cancel_requested = 1 WHERE seq = ?1";
            exec(conn, "noting that a job shall stop", sql, params![job.seq])?;
            Ok(Cancelled::Requested)
        }
        over => Ok(Cancelled::AlreadyFinished(over)),
    }
}

pub(super) fn recover(conn: &Connection, limits: Limits, now_ms: i64) -> Result<Recovered> {
    let sql = format!("SELECT {SUMMARY} FROM jobs WHERE state = 'running' ORDER BY {TURN}");
    let mut found = Recovered::default();
    for job in all(conn, &sql, [], summary)? {
        if job.cancel_requested {
            let outcome = stopped("the server ended while the job was being stopped", now_ms);
            end(conn, &job, JobState::Cancelled, &outcome, now_ms)?;
            found.cancelled.push(job.id);
        } else if job.attempts >= limits.max_attempts {
            let message = format!(
                "the server ended unexpectedly while this job ran, {} times of {} allowed: it is not started again",
                job.attempts, limits.max_attempts
            );
            end(conn, &job, JobState::Failed, &stopped(&message, now_ms), now_ms)?;
            found.failed.push(job.id);
        } else {
            check(&job, JobState::Queued)?;
            exec(
                conn,
                "queueing a job again",
                "UPDATE jobs SET state = 'queued' WHERE seq = ?1",
                params![job.seq],
            )?;
            found.requeued.push(job.id);
        }
    }
    Ok(found)
}

/// The outcome of a job that no worker can tell about.
fn stopped(reason: &str, now_ms: i64) -> Outcome {
    let message = json!({ "exception_message": reason, "exception_type": "JobStopped", "timestamp": now_ms });
    let status =
        json!({ "status_str": "error", "completed": false, "messages": [["execution_error", message]] });
    Outcome { outputs: empty(), status: raw(&status), meta: empty(), error: Some(raw(&message)) }
}

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    // Text of a JSON value is JSON.
    RawValue::from_string(value.to_string()).unwrap_or_else(|_| empty())
}

fn empty() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}
