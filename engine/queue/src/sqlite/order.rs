//! The queue itself: who waits, in which order, and how that changes.

use rusqlite::{Connection, params};

use super::rows::{SUMMARY, TURN, all, exec, first, must_find, number, summary};
use crate::error::QueueError;
use crate::job::JobSummary;
use crate::state::JobState;
use crate::store::{Counts, Place, Result};

pub(super) fn queued(conn: &Connection, limit: u64) -> Result<Vec<JobSummary>> {
    let sql = format!("SELECT {SUMMARY} FROM jobs WHERE state = 'queued' ORDER BY {TURN} LIMIT ?1");
    all(conn, &sql, params![i64::try_from(limit).unwrap_or(i64::MAX)], summary)
}

pub(super) fn remove(conn: &Connection, ids: &[String]) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for id in ids {
        let sql = "DELETE FROM jobs WHERE id = ?1 AND state = 'queued'";
        if exec(conn, "removing a waiting job", sql, params![id])? > 0 {
            removed.push(id.clone());
        }
    }
    Ok(removed)
}

pub(super) fn clear(conn: &Connection) -> Result<u64> {
    Ok(exec(conn, "clearing the queue", "DELETE FROM jobs WHERE state = 'queued'", [])? as u64)
}

pub(super) fn reorder(conn: &Connection, id: &str, place: &Place) -> Result<JobSummary> {
    let job = waiting(conn, id)?;
    let edge = |which: &str, step: f64| -> Result<f64> {
        let sql = format!(
            "SELECT {which}(number) FROM jobs WHERE state = 'queued' AND priority = ?1 AND seq <> ?2"
        );
        let edge: Option<f64> = conn
            .query_row(&sql, params![job.priority, job.seq], |row| row.get(0))
            .map_err(QueueError::sql("looking for the end of the queue"))?;
        Ok(edge.map_or(job.number.key(), |e| e + step))
    };
    let (target, priority) = match place {
        Place::Front => (edge("min", -1.0)?, job.priority),
        Place::Back => (edge("max", 1.0)?, job.priority),
        Place::Before(other) => {
            let other = waiting(conn, other)?;
            if other.seq == job.seq {
                return Ok(job);
            }
            (between(conn, &job, &other)?, other.priority)
        }
    };
    let sql = "UPDATE jobs SET number = ?2, number_counted = 0, priority = ?3 WHERE seq = ?1";
    exec(conn, "moving a job", sql, params![job.seq, target, priority])?;
    must_find(conn, id)
}

/// A number just before that of `other`, making room when the neighbours leave none.
fn between(conn: &Connection, job: &JobSummary, other: &JobSummary) -> Result<f64> {
    let room = |other: &JobSummary| -> Result<Option<f64>> {
        let sql = format!(
            "SELECT {SUMMARY} FROM jobs WHERE state = 'queued' AND priority = ?1 AND seq <> ?2 \
             AND (number < ?3 OR (number = ?3 AND seq < ?4)) ORDER BY number DESC, seq DESC LIMIT 1"
        );
        let high = other.number.key();
        let before = first(conn, &sql, params![other.priority, job.seq, high, other.seq], summary)?;
        let Some(before) = before else { return Ok(Some(high - 1.0)) };
        let low = before.number.key();
        let middle = low + (high - low) / 2.0;
        Ok((low < middle && middle < high).then_some(middle))
    };
    if let Some(middle) = room(other)? {
        return Ok(middle);
    }
    // Equal numbers, or halved until a float holds no more: count the jobs of this priority anew, in their order.
    let sql = format!("SELECT {SUMMARY} FROM jobs WHERE state = 'queued' AND priority = ?1 ORDER BY {TURN}");
    for (i, waiting) in all(conn, &sql, params![other.priority], summary)?.iter().enumerate() {
        let sql = "UPDATE jobs SET number = ?2, number_counted = 0 WHERE seq = ?1";
        exec(conn, "making room in the queue", sql, params![waiting.seq, i as f64])?;
    }
    let other = must_find(conn, &other.id)?;
    Ok(room(&other)?.unwrap_or(other.number.key() - 0.5))
}

pub(super) fn set_priority(conn: &Connection, id: &str, priority: i32) -> Result<JobSummary> {
    let job = waiting(conn, id)?;
    let sql = "UPDATE jobs SET priority = ?2 WHERE seq = ?1";
    exec(conn, "changing a priority", sql, params![job.seq, priority])?;
    must_find(conn, id)
}

fn waiting(conn: &Connection, id: &str) -> Result<JobSummary> {
    let job = must_find(conn, id)?;
    match job.state {
        JobState::Queued => Ok(job),
        state => Err(QueueError::NotQueued { id: job.id, state }),
    }
}

pub(super) fn set_paused(conn: &Connection, paused: bool) -> Result<()> {
    let sql = "INSERT INTO flags (name, value) VALUES ('paused', ?1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    exec(conn, "pausing the queue", sql, params![paused]).map(drop)
}

pub(super) fn paused(conn: &Connection) -> Result<bool> {
    Ok(number(conn, "SELECT coalesce(max(value), 0) FROM flags WHERE name = 'paused'", [])? != 0)
}

pub(super) fn counts(conn: &Connection) -> Result<Counts> {
    let rows = all(conn, "SELECT state, jobs FROM tally", [], |row| {
        let doing = "counting jobs";
        let state: String = row.get(0).map_err(QueueError::sql(doing))?;
        let count: i64 = row.get(1).map_err(QueueError::sql(doing))?;
        Ok((state, count as u64))
    })?;
    let of = |state: JobState| rows.iter().find(|(s, _)| s == state.as_str()).map_or(0, |(_, n)| *n);
    Ok(Counts {
        queued: of(JobState::Queued),
        running: of(JobState::Running),
        succeeded: of(JobState::Succeeded),
        failed: of(JobState::Failed),
        cancelled: of(JobState::Cancelled),
    })
}
