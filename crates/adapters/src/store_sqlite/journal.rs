//! The event log. Numbers are given inside the transaction that writes the fact, so they have no gaps; in one
//! agent's log time never goes back, whatever the clock does.

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use uuid::Uuid;

use super::columns::{int, key, uint};
use super::failure::Fault;
use super::writer::Writing;

/// Logs facts that come with a write of `agent`, whose log was last written at `logged_at`; returns the new
/// time of that kind, which the caller writes into the record's row.
pub(super) fn append_with(
    w: &mut Writing<'_>,
    agent: AgentId,
    mut logged_at: Timestamp,
    facts: Vec<LogRecord>,
) -> Result<Timestamp, Fault> {
    for mut fact in facts {
        if fact.agent == Some(agent) {
            logged_at = logged_at.max(fact.at);
            fact.at = logged_at;
            insert(w, &fact)?;
        } else {
            append(w, fact)?;
        }
    }
    Ok(logged_at)
}

/// Logs a fact by itself.
pub(super) fn append(w: &mut Writing<'_>, mut fact: LogRecord) -> Result<(), Fault> {
    if let Some(agent) = fact.agent {
        // One statement raises the newest time of the agent's log and returns it, so that a fact which comes by itself
        // cannot be older than one that came with a write.
        let sql = "UPDATE agents SET logged_at = max(logged_at, ?2) WHERE id = ?1 RETURNING logged_at";
        let mut statement = w.conn.prepare_cached(sql)?;
        let last: Option<i64> =
            statement.query_row(params![key(agent), int(fact.at.0)], |row| row.get(0)).optional()?;
        fact.at = Timestamp(last.map_or(fact.at.0, uint));
    }
    insert(w, &fact)
}

fn insert(w: &mut Writing<'_>, fact: &LogRecord) -> Result<(), Fault> {
    let next = w.books.newest + 1;
    let sql = "INSERT INTO events (seq, kind, agent, task, at, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let task = fact.task.as_ref().map(|task| task.as_str());
    let row =
        params![int(next), fact.kind(), fact.agent.map(key), task, int(fact.at.0), fact.data().to_string()];
    w.conn.prepare_cached(sql)?.execute(row)?;
    w.books.newest = next;
    Ok(())
}

/// Reads logged facts. A damaged one keeps its number and its kind and has no data, so that the log has no gap.
pub(super) fn entries(conn: &Connection, after: u64, limit: usize) -> Result<Vec<Entry>, Fault> {
    let sql = "SELECT seq, kind, agent, task, at, data FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![int(after), limit], |row| {
        let agent: Option<Vec<u8>> = row.get(2)?;
        let task: Option<String> = row.get(3)?;
        let data: String = row.get(5)?;
        Ok(Entry {
            seq: uint(row.get(0)?),
            fact: LogRecord::stored(
                row.get::<_, String>(1)?,
                agent.and_then(|bytes| Uuid::from_slice(&bytes).ok()).map(AgentId),
                task.and_then(|task| task.parse().ok()),
                Timestamp(uint(row.get(4)?)),
                serde_json::from_str(&data).unwrap_or(Value::Null),
            ),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
