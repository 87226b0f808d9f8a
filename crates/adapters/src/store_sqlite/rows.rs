//! Rows of `agents`: what the columns say about a record, reading one back, setting a damaged one aside.

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, Epoch, InvalidName, NodeId, Timestamp};
use mosaic_core::ports::store::{StoreError, Versioned};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use thiserror::Error;
use uuid::Uuid;

use super::columns::{key, uint};
use super::failure::Fault;
use super::tally::{QueueClass, Tally};
use super::writer::Writing;

/// The columns that [`read`] takes, in its order.
pub(super) const COLUMNS: &str = "seq, id, version, epoch, node, status, queue, dead, logged_at, body, home";

/// A record as it was read, with what the columns say beside it.
pub(super) struct StoredRow {
    pub(super) versioned: Versioned,
    pub(super) place: QueueClass,
    pub(super) logged_at: Timestamp,
}

/// A row that is no record, and why.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) seq: i64,
    pub(super) why: String,
}

/// Reads a row of [`COLUMNS`]. The outer error is SQLite's, the inner one says that the row is damaged.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<StoredRow, Unreadable>> {
    let seq: i64 = row.get(0)?;
    Ok(parse(row, seq).map_err(|e| Unreadable { seq, why: e.to_string() }))
}

/// Reason why a row is no record.
#[derive(Debug, Error)]
enum RowError {
    /// A column does not hold what it should.
    #[error(transparent)]
    Column(#[from] rusqlite::Error),
    /// The body is no text.
    #[error(transparent)]
    Body(#[from] FromSqlError),
    /// The body is no record.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A node's name is none.
    #[error("node {0}")]
    Node(#[from] InvalidName),
    /// The body belongs to another row.
    #[error("the record is that of agent {0}")]
    OtherAgent(AgentId),
    /// The body and the index do not agree.
    #[error("its status is {here} here and {index} in the index")]
    OtherStatus {
        /// The status in the body.
        here: &'static str,
        /// The status in the index.
        index: String,
    },
}

fn parse(row: &Row<'_>, seq: i64) -> Result<StoredRow, RowError> {
    let id = AgentId(Uuid::from_bytes(row.get(1)?));
    let body = row.get_ref(9)?.as_bytes()?;
    let agent: Agent = serde_json::from_slice(body)?;
    if agent.id != id {
        return Err(RowError::OtherAgent(agent.id));
    }
    let node: Option<String> = row.get(4)?;
    let home: Option<String> = row.get(10)?;
    let named = |name: Option<String>| name.map(|name| name.parse::<NodeId>()).transpose();
    let (node, home) = (named(node)?, named(home)?);
    let status: String = row.get(5)?;
    let place = QueueClass::from_columns(&status, row.get(6)?, node.is_some(), row.get::<_, i64>(7)? == 1);
    if status != agent.status().as_str() {
        return Err(RowError::OtherStatus { here: agent.status().as_str(), index: status });
    }
    let number = |column| row.get::<_, i64>(column).map(uint);
    let (version, epoch) = (number(2)?, Epoch(number(3)?));
    let versioned = Versioned { agent, version, seq: uint(seq), epoch, node, home, short: None };
    Ok(StoredRow { versioned, place, logged_at: Timestamp(number(8)?) })
}

/// Reads one record by id, or the answer that there is none.
pub(super) fn find(conn: &Connection, id: AgentId) -> Result<Result<Versioned, Unreadable>, Fault> {
    Ok(find_kept(conn, id)?.map(|kept| kept.versioned))
}

fn find_kept(conn: &Connection, id: AgentId) -> Result<Result<StoredRow, Unreadable>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM agents WHERE id = ?1");
    if let Some(found) = conn.prepare_cached(&sql)?.query_row([key(id)], read).optional()? {
        return Ok(found);
    }
    let aside = conn
        .prepare_cached("SELECT 1 FROM quarantine WHERE id = ?1")?
        .query_row([id.to_string()], |_| Ok(()))
        .optional()?;
    if aside.is_some() {
        return Err(StoreError::Quarantined(id).into());
    }
    Err(match removed_at(conn, id)? {
        Some(at) => StoreError::Pruned { agent: id, at, node: None },
        None => StoreError::NotFound(id),
    }
    .into())
}

/// Returns when an agent's record was removed, if it was.
fn removed_at(conn: &Connection, agent: AgentId) -> Result<Option<Timestamp>, Fault> {
    let mut statement = conn.prepare_cached("SELECT at FROM tombstones WHERE id = ?1")?;
    let at: Option<i64> = statement.query_row([key(agent)], |row| row.get(0)).optional()?;
    Ok(at.map(|at| Timestamp(uint(at))))
}

/// Reads one record by id inside a write; a damaged one is set aside at once.
pub(super) fn load(w: &mut Writing<'_>, id: AgentId) -> Result<StoredRow, Fault> {
    match find_kept(w.conn, id)? {
        Ok(kept) => Ok(kept),
        Err(bad) => {
            quarantine(w, &bad)?;
            Err(StoreError::Quarantined(id).into())
        }
    }
}

/// Moves a row into the table `quarantine` if it still cannot be read.
pub(super) fn quarantine(w: &mut Writing<'_>, bad: &Unreadable) -> Result<(), Fault> {
    let sql = format!("SELECT {COLUMNS} FROM agents WHERE seq = ?1");
    let mut statement = w.conn.prepare_cached(&sql)?;
    let mut rows = statement.query([bad.seq])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    // The row was read in an earlier transaction, and a write may have made it whole since then. Only what is damaged
    // now is moved.
    if read(row)?.is_ok() {
        return Ok(());
    }
    let id = match row.get_ref(1)? {
        ValueRef::Blob(bytes) => match Uuid::from_slice(bytes) {
            Ok(id) => id.hyphenated().to_string(),
            Err(_) => base16ct::lower::encode_string(bytes),
        },
        other => format!("{other:?}"),
    };
    drop(rows);
    let sql = "INSERT INTO quarantine (seq, id, why, task_id, agent_type, status, body)
        SELECT seq, ?2, ?3, task_id, agent_type, status, CAST(body AS BLOB) FROM agents WHERE seq = ?1";
    w.conn.prepare_cached(sql)?.execute(params![bad.seq, id, bad.why])?;
    w.conn.prepare_cached("DELETE FROM agents WHERE seq = ?1")?.execute([bad.seq])?;
    w.books.tally = Tally::recount(w.conn)?;
    tracing::warn!(agent.id = %id, why = %bad.why, "a damaged record was set aside");
    Ok(())
}
