//! Handing a job in.

use rusqlite::{Connection, params};

use super::rows::{SUMMARY, exec, find, first, must_find, number, summary};
use crate::error::QueueError;
use crate::job::{JobNumber, NewJob};
use crate::state::JobState;
use crate::store::{Limits, Result, Submitted};

pub(super) fn submit(conn: &Connection, job: &NewJob, limits: Limits, now_ms: i64) -> Result<Submitted> {
    if let Some(existing) = by_key(conn, job)? {
        return Ok(existing);
    }
    if let Some(old) = find(conn, &job.id)? {
        if !old.state.is_finished() {
            return Err(QueueError::Duplicate { id: old.id, state: old.state });
        }
        exec(conn, "forgetting the job of the same id", "DELETE FROM jobs WHERE seq = ?1", params![old.seq])?;
    }
    let waiting = "SELECT coalesce(max(jobs), 0) FROM tally WHERE state = 'queued'";
    let queued = number(conn, waiting, [])?.max(0) as u64;
    if queued >= limits.max_queued {
        return Err(QueueError::Full { queued, limit: limits.max_queued });
    }
    let components = serde_json::Value::from(job.components.clone()).to_string();
    let (key, fingerprint) = job.idempotency.as_ref().map(|i| (&i.key, &i.fingerprint)).unzip();
    exec(
        conn,
        "storing a job",
        "INSERT INTO jobs (id, number, number_counted, priority, state, client_id, idempotency_key, fingerprint, \
         components, created_ms, prompt, extra_data, outputs_to_run) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            job.id,
            job.number.key(),
            matches!(job.number, JobNumber::Counted(_)),
            job.priority,
            JobState::Queued.as_str(),
            job.client_id,
            key,
            fingerprint,
            components,
            now_ms,
            job.body.prompt.get(),
            job.body.extra_data.get(),
            job.body.outputs.get(),
        ],
    )?;
    Ok(Submitted::New(must_find(conn, &job.id)?))
}

/// The job that the idempotency key names already.
fn by_key(conn: &Connection, job: &NewJob) -> Result<Option<Submitted>> {
    let Some(idempotency) = &job.idempotency else { return Ok(None) };
    let sql = format!("SELECT {SUMMARY}, fingerprint FROM jobs WHERE idempotency_key = ?1");
    let found = first(conn, &sql, params![idempotency.key], |row| {
        let fingerprint: Option<String> = row.get(14).map_err(QueueError::sql("reading a job"))?;
        Ok((summary(row)?, fingerprint))
    })?;
    match found {
        None => Ok(None),
        Some((old, fingerprint)) if fingerprint.as_deref() == Some(&idempotency.fingerprint) => {
            Ok(Some(Submitted::Existing(old)))
        }
        Some((old, _)) => Err(QueueError::KeyReused { key: idempotency.key.clone(), id: old.id }),
    }
}

/// Above every counted number that is stored: a job handed in after a restart does not overtake those that wait.
pub(super) fn next_number(conn: &Connection) -> Result<i64> {
    number(
        conn,
        "SELECT CAST(coalesce(max(abs(number)) + 1, 0) AS INTEGER) FROM jobs WHERE number_counted",
        [],
    )
}
