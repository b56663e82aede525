//! Looking back: lists, history, the event log, results.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::rows::{RECORD, TURN, all, exec, first, must_find, number, raw, record};
use crate::error::QueueError;
use crate::job::{EventRecord, JobRecord, NewEvent, NewResult, ResultRecord};
use crate::state::JobState;
use crate::store::{Filter, HistoryWindow, Page, Result};

/// Jobs that history shows: a worker had them and they are over.
const SHOWN: &str = "finish_seq IS NOT NULL AND started_ms IS NOT NULL";

pub(super) fn get(conn: &Connection, id: &str) -> Result<Option<JobRecord>> {
    first(conn, &format!("SELECT {RECORD} FROM jobs WHERE id = ?1"), params![id], record)
}

pub(super) fn list(conn: &Connection, filter: &Filter) -> Result<Page> {
    let states = if filter.states.is_empty() { JobState::ALL.to_vec() } else { filter.states.clone() };
    let marks = vec!["?"; states.len()].join(", ");
    let order = match filter.newest_first {
        true => "seq DESC".to_owned(),
        // Jobs that wait come in the order in which they would run, after those that do run.
        false => "CASE state WHEN 'queued' THEN 1 ELSE 0 END, \
             CASE state WHEN 'queued' THEN -priority END, CASE state WHEN 'queued' THEN number END, seq"
            .to_string(),
    };
    let order = if states == [JobState::Queued] { TURN.to_owned() } else { order };
    let mut values: Vec<Value> = states.iter().map(|s| Value::from(s.as_str().to_owned())).collect();
    let total = number(
        conn,
        &format!("SELECT coalesce(sum(jobs), 0) FROM tally WHERE state IN ({marks})"),
        params_from_iter(values.clone()),
    )? as u64;
    values.push(Value::from(filter.limit.map_or(-1, bounded)));
    values.push(Value::from(bounded(filter.offset)));
    let sql = format!("SELECT {RECORD} FROM jobs WHERE state IN ({marks}) ORDER BY {order} LIMIT ? OFFSET ?");
    Ok(Page { jobs: all(conn, &sql, params_from_iter(values), record)?, total })
}

pub(super) fn history(conn: &Connection, window: HistoryWindow) -> Result<Vec<JobRecord>> {
    let limit = window.max_items.map_or(-1, bounded);
    match window.offset {
        Some(offset) => {
            let sql =
                format!("SELECT {RECORD} FROM jobs WHERE {SHOWN} ORDER BY finish_seq LIMIT ?1 OFFSET ?2");
            all(conn, &sql, params![limit, bounded(offset)], record)
        }
        None => {
            let sql = format!("SELECT {RECORD} FROM jobs WHERE {SHOWN} ORDER BY finish_seq DESC LIMIT ?1");
            let mut newest = all(conn, &sql, params![limit], record)?;
            newest.reverse();
            Ok(newest)
        }
    }
}

pub(super) fn remove(conn: &Connection, ids: &[String]) -> Result<u64> {
    let mut removed = 0;
    for id in ids {
        let sql = "DELETE FROM jobs WHERE id = ?1 AND finish_seq IS NOT NULL";
        removed += exec(conn, "forgetting a job", sql, params![id])? as u64;
    }
    Ok(removed)
}

pub(super) fn clear(conn: &Connection) -> Result<u64> {
    Ok(exec(conn, "clearing history", "DELETE FROM jobs WHERE finish_seq IS NOT NULL", [])? as u64)
}

pub(super) fn append(conn: &Connection, id: &str, events: &[NewEvent]) -> Result<()> {
    let job = must_find(conn, id)?;
    for event in events {
        let sql = "INSERT OR REPLACE INTO events (job, seq, at_ms, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![job.seq, event.seq, event.at_ms, event.kind, event.data.get()];
        exec(conn, "adding to the log of a job", sql, values)?;
    }
    Ok(())
}

pub(super) fn events(conn: &Connection, id: &str, after: i64, limit: u64) -> Result<Vec<EventRecord>> {
    let job = must_find(conn, id)?;
    let sql = "SELECT seq, at_ms, kind, data FROM events WHERE job = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    all(conn, sql, params![job.seq, after, bounded(limit)], |row| {
        let doing = "reading the log of a job";
        Ok(EventRecord {
            seq: row.get(0).map_err(QueueError::sql(doing))?,
            at_ms: row.get(1).map_err(QueueError::sql(doing))?,
            kind: row.get(2).map_err(QueueError::sql(doing))?,
            data: raw(row, 3, id, "event")?.unwrap_or_default(),
        })
    })
}

const RESULT: &str = "SELECT jobs.id, node_id, kind, folder, subfolder, filename, sha256, bytes \
     FROM results JOIN jobs ON jobs.seq = results.job";

pub(super) fn results(conn: &Connection, id: &str) -> Result<Vec<ResultRecord>> {
    let job = must_find(conn, id)?;
    all(conn, &format!("{RESULT} WHERE results.job = ?1 ORDER BY results.id"), params![job.seq], result)
}

pub(super) fn by_hash(conn: &Connection, sha256: &str) -> Result<Option<ResultRecord>> {
    first(
        conn,
        &format!("{RESULT} WHERE sha256 = ?1 ORDER BY results.id DESC LIMIT 1"),
        params![sha256],
        result,
    )
}

fn result(row: &Row<'_>) -> Result<ResultRecord> {
    let doing = "reading a result";
    let bytes: i64 = row.get(7).map_err(QueueError::sql(doing))?;
    Ok(ResultRecord {
        job_id: row.get(0).map_err(QueueError::sql(doing))?,
        file: NewResult {
            node_id: row.get(1).map_err(QueueError::sql(doing))?,
            kind: row.get(2).map_err(QueueError::sql(doing))?,
            folder: row.get(3).map_err(QueueError::sql(doing))?,
            subfolder: row.get(4).map_err(QueueError::sql(doing))?,
            filename: row.get(5).map_err(QueueError::sql(doing))?,
            sha256: row.get(6).map_err(QueueError::sql(doing))?,
            bytes: bytes.max(0) as u64,
        },
    })
}

fn bounded(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
