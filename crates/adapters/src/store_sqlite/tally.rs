//! Number of records in each class, and the class of a record.

use mosaic_core::domain::agent::{Agent, State, Status};
use mosaic_core::domain::outcome::EndReason;
use rusqlite::Connection;

use super::columns::{DELAYED, NOT_QUEUED, READY};

/// Where a record is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueClass {
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

impl QueueClass {
    /// Returns where a record belongs by its columns.
    pub(super) fn from_columns(status: &str, queue: i64, held: bool, dead: bool) -> Self {
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

    /// Adds `n` records (subtracts when negative) to a place.
    pub(super) fn add(&mut self, place: QueueClass, n: i64) {
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
