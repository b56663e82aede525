//! Rows to values. A row that does not read back names its job and its column.

use rusqlite::{Connection, Row, params};
use serde_json::value::RawValue;

use crate::error::QueueError;
use crate::job::{JobBody, JobNumber, JobRecord, JobSummary, Outcome};
use crate::state::JobState;
use crate::store::Result;

/// Columns of [`summary`], in its order.
pub(super) const SUMMARY: &str = "seq, id, number, number_counted, priority, state, attempts, passed_over, \
     cancel_requested, client_id, components, created_ms, started_ms, finished_ms";

/// Columns of [`record`], in its order.
pub(super) const RECORD: &str = "seq, id, number, number_counted, priority, state, attempts, passed_over, \
     cancel_requested, client_id, components, created_ms, started_ms, finished_ms, \
     prompt, extra_data, outputs_to_run, outputs, status, meta, error";

/// How jobs wait: the order in which they would run.
pub(super) const TURN: &str = "priority DESC, number, seq";

pub(super) fn summary(row: &Row<'_>) -> Result<JobSummary> {
    let read = QueueError::sql;
    let doing = "reading a job";
    let id: String = row.get(1).map_err(read(doing))?;
    let number: f64 = row.get(2).map_err(read(doing))?;
    let counted: bool = row.get(3).map_err(read(doing))?;
    let state: String = row.get(5).map_err(read(doing))?;
    let components: String = row.get(10).map_err(read(doing))?;
    Ok(JobSummary {
        seq: row.get(0).map_err(read(doing))?,
        number: if counted { JobNumber::Counted(number as i64) } else { JobNumber::Given(number) },
        priority: row.get(4).map_err(read(doing))?,
        state: state.parse().map_err(|reason| corrupt(&id, "state", reason))?,
        attempts: row.get(6).map_err(read(doing))?,
        passed_over: row.get(7).map_err(read(doing))?,
        cancel_requested: row.get(8).map_err(read(doing))?,
        client_id: row.get(9).map_err(read(doing))?,
        components: serde_json::from_str(&components)
            .map_err(|e| corrupt(&id, "components", e.to_string()))?,
        created_ms: row.get(11).map_err(read(doing))?,
        started_ms: row.get(12).map_err(read(doing))?,
        finished_ms: row.get(13).map_err(read(doing))?,
        id,
    })
}

pub(super) fn record(row: &Row<'_>) -> Result<JobRecord> {
    let summary = summary(row)?;
    let id = &summary.id;
    let body = JobBody {
        prompt: need(row, 14, id, "prompt")?,
        extra_data: need(row, 15, id, "extra_data")?,
        outputs: need(row, 16, id, "outputs_to_run")?,
    };
    let outcome = match raw(row, 17, id, "outputs")? {
        Some(outputs) => Some(Outcome {
            outputs,
            status: need(row, 18, id, "status")?,
            meta: need(row, 19, id, "meta")?,
            error: raw(row, 20, id, "error")?,
        }),
        None => None,
    };
    Ok(JobRecord { summary, body, outcome })
}

/// Every row of a query, through one of the functions above.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let doing = "listing jobs";
    let mut statement = conn.prepare_cached(sql).map_err(QueueError::sql(doing))?;
    let mut rows = statement.query(params).map_err(QueueError::sql(doing))?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(QueueError::sql(doing))? {
        out.push(read(row)?);
    }
    Ok(out)
}

/// The first row of a query.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    Ok(all(conn, sql, params, read)?.into_iter().next())
}

/// One job by id, without its texts.
pub(super) fn find(conn: &Connection, id: &str) -> Result<Option<JobSummary>> {
    first(conn, &format!("SELECT {SUMMARY} FROM jobs WHERE id = ?1"), params![id], summary)
}

/// One job by id, or the error that says it is not there.
pub(super) fn must_find(conn: &Connection, id: &str) -> Result<JobSummary> {
    find(conn, id)?.ok_or_else(|| QueueError::NotFound { id: id.to_owned() })
}

/// Executes a statement; the number of rows it changed.
pub(super) fn exec(
    conn: &Connection,
    doing: &'static str,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<usize> {
    conn.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(QueueError::sql(doing))
}

/// A single number that a query answers.
pub(super) fn number(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<i64> {
    conn.prepare_cached(sql)
        .and_then(|mut s| s.query_row(params, |row| row.get(0)))
        .map_err(QueueError::sql("counting jobs"))
}

/// Refuses a change of state that the table does not have.
pub(super) fn check(job: &JobSummary, to: JobState) -> Result<()> {
    if job.state.may_become(to) {
        return Ok(());
    }
    Err(QueueError::Transition { id: job.id.clone(), from: job.state, to })
}

fn need(row: &Row<'_>, column: usize, id: &str, what: &'static str) -> Result<Box<RawValue>> {
    raw(row, column, id, what)?.ok_or_else(|| corrupt(id, what, "it is missing".into()))
}

pub(super) fn raw(
    row: &Row<'_>,
    column: usize,
    id: &str,
    what: &'static str,
) -> Result<Option<Box<RawValue>>> {
    let text: Option<String> = row.get(column).map_err(QueueError::sql("reading a job"))?;
    text.map(|t| RawValue::from_string(t).map_err(|e| corrupt(id, what, e.to_string()))).transpose()
}

fn corrupt(id: &str, what: &'static str, reason: String) -> QueueError {
    QueueError::Corrupt { id: id.to_owned(), what, reason }
}
