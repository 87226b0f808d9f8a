//! Rows of `agents`: what the columns say about a record, reading one back, setting a damaged one aside.

use mosaic_core::domain::agent::{Agent, State, Status};
use mosaic_core::domain::ids::{AgentId, Epoch, NodeId, Timestamp};
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::store::{StoreError, Versioned};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::failure::Fault;
use super::removal;
use super::writer::Writing;

/// The columns that [`read`] takes, in its order.
pub(super) const COLUMNS: &str = "seq, id, version, epoch, node, status, queue, dead, logged_at, body, home";

/// Not in the queue, ready, delayed: the values of the column `queue`.
pub(super) const NOT_QUEUED: i64 = 0;
pub(super) const READY: i64 = 1;
pub(super) const DELAYED: i64 = 2;

/// Turns a number into a column; what no column can hold becomes the largest that one can.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Turns a column into a number; negative ones never were written.
pub(super) fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Returns an id as it stands in a column.
pub(super) fn key(id: AgentId) -> [u8; 16] {
    id.0.into_bytes()
}

/// A record as it was read, with what the columns say beside it.
pub(super) struct Kept {
    pub(super) versioned: Versioned,
    pub(super) place: Place,
    pub(super) logged_at: Timestamp,
}

/// A row that is no record, and why.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) seq: i64,
    pub(super) why: String,
}

/// Where a record is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) class: Class,
    pub(super) dead: bool,
}

/// The exclusive classes of [`Tally`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Ready,
    Delayed,
    Active,
    Completed,
    Failed,
    Killed,
    /// Neither queued nor held nor settled.
    Loose,
}

impl Place {
    fn from_columns(status: &str, queue: i64, held: bool, dead: bool) -> Self {
        let class = match (status, queue) {
            ("completed", _) => Class::Completed,
            ("failed", _) => Class::Failed,
            ("killed", _) => Class::Killed,
            (_, READY) => Class::Ready,
            (_, DELAYED) => Class::Delayed,
            _ if held => Class::Active,
            _ => Class::Loose,
        };
        Self { class, dead }
    }

    /// Returns where a record belongs that is held, unless its state ends the lease.
    pub(super) fn of(agent: &Agent, held: bool) -> Self {
        let status = agent.status();
        let queue = queue_column(agent);
        Self::from_columns(status.as_str(), queue, held && !ends_lease(agent), is_dead(agent))
    }
}

/// Returns the column `queue` for a record that nobody holds.
pub(super) fn queue_column(agent: &Agent) -> i64 {
    match (&agent.state, agent.not_before()) {
        (State::Queued { .. }, None) => READY,
        (State::Queued { .. }, Some(_)) => DELAYED,
        _ => NOT_QUEUED,
    }
}

/// Tells whether a lease ends with this state.
pub(super) fn ends_lease(agent: &Agent) -> bool {
    matches!(agent.state, State::Queued { .. } | State::Settled { .. })
}

/// Tells whether an agent failed although every attempt was used.
pub(super) fn is_dead(agent: &Agent) -> bool {
    use EndReason::{AgentError, NodeLost, RateLimited};
    let retried = |reason| matches!(reason, AgentError | RateLimited | NodeLost);
    agent.end().is_some_and(|end| end.status == Status::Failed && retried(end.reason))
}

/// Number of records in each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) ready: i64,
    pub(super) delayed: i64,
    pub(super) active: i64,
    pub(super) completed: i64,
    pub(super) failed: i64,
    pub(super) killed: i64,
    pub(super) dead: i64,
}

impl Tally {
    /// Reads the sums.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT ready, delayed, active, completed, failed, killed, dead FROM tally";
        conn.prepare_cached(sql)?.query_row([], |row| {
            Ok(Self {
                ready: row.get(0)?,
                delayed: row.get(1)?,
                active: row.get(2)?,
                completed: row.get(3)?,
                failed: row.get(4)?,
                killed: row.get(5)?,
                dead: row.get(6)?,
            })
        })
    }

    /// Counts anew: what stands in the columns of a damaged row need not be what it was counted as.
    pub(super) fn recount(conn: &Connection) -> rusqlite::Result<Self> {
        let count = |condition: &str| -> rusqlite::Result<i64> {
            let sql = format!("SELECT count(*) FROM agents WHERE {condition}");
            conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))
        };
        Ok(Self {
            ready: count("queue = 1")?,
            delayed: count("queue = 2")?,
            active: count("node IS NOT NULL")?,
            completed: count("status = 'completed'")?,
            failed: count("status = 'failed'")?,
            killed: count("status = 'killed'")?,
            dead: count("dead = 1")?,
        })
    }

    /// Writes the sums.
    pub(super) fn store(&self, conn: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE tally SET ready = ?1, delayed = ?2, active = ?3, completed = ?4, failed = ?5, killed = ?6, dead = ?7";
        let Self { ready, delayed, active, completed, failed, killed, dead } = self;
        conn.prepare_cached(sql)?.execute([ready, delayed, active, completed, failed, killed, dead])?;
        Ok(())
    }

    /// Adds `n` records (takes away when negative) to a place.
    pub(super) fn add(&mut self, place: Place, n: i64) {
        match place.class {
            Class::Ready => self.ready += n,
            Class::Delayed => self.delayed += n,
            Class::Active => self.active += n,
            Class::Completed => self.completed += n,
            Class::Failed => self.failed += n,
            Class::Killed => self.killed += n,
            Class::Loose => {}
        }
        self.dead += if place.dead { n } else { 0 };
    }
}

/// Reads a row of [`COLUMNS`]. The outer error is SQLite's, the inner one says that the row is damaged.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Kept, Unreadable>> {
    let seq: i64 = row.get(0)?;
    Ok(parse(row, seq).map_err(|why| Unreadable { seq, why }))
}

fn parse(row: &Row<'_>, seq: i64) -> Result<Kept, String> {
    let words = |e: rusqlite::Error| e.to_string();
    let id = AgentId(Uuid::from_bytes(row.get(1).map_err(words)?));
    let body = row.get_ref(9).map_err(words)?.as_bytes().map_err(|e| e.to_string())?;
    let agent: Agent = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if agent.id != id {
        return Err(format!("the record is that of agent {}", agent.id));
    }
    let node: Option<String> = row.get(4).map_err(words)?;
    let home: Option<String> = row.get(10).map_err(words)?;
    let named = |name: Option<String>| {
        name.map(|name| name.parse::<NodeId>()).transpose().map_err(|e| format!("node {e}"))
    };
    let (node, home) = (named(node)?, named(home)?);
    let status: String = row.get(5).map_err(words)?;
    let place = Place::from_columns(
        &status,
        row.get(6).map_err(words)?,
        node.is_some(),
        row.get::<_, i64>(7).map_err(words)? == 1,
    );
    if status != agent.status().as_str() {
        return Err(format!("its status is {} here and {status} in the index", agent.status().as_str()));
    }
    let number = |column| row.get::<_, i64>(column).map(uint).map_err(words);
    let (version, epoch) = (number(2)?, Epoch(number(3)?));
    let versioned = Versioned { agent, version, seq: uint(seq), epoch, node, home, short: None };
    Ok(Kept { versioned, place, logged_at: Timestamp(number(8)?) })
}

/// Reads one record by id, or the answer that there is none.
pub(super) fn find(conn: &Connection, id: AgentId) -> Result<Result<Versioned, Unreadable>, Fault> {
    Ok(find_kept(conn, id)?.map(|kept| kept.versioned))
}

fn find_kept(conn: &Connection, id: AgentId) -> Result<Result<Kept, Unreadable>, Fault> {
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
    Err(match removal::removed_at(conn, id)? {
        Some(at) => StoreError::Pruned { agent: id, at, node: None },
        None => StoreError::NotFound(id),
    }
    .into())
}

/// Reads one record by id inside a write; a damaged one is set aside at once.
pub(super) fn load(w: &mut Writing<'_>, id: AgentId) -> Result<Kept, Fault> {
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
