//! Writing records: admit, advance under a lease, amend without one. Each verb looks before it writes, so what it
//! refuses needs no undoing.

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, Epoch, Timestamp};
use mosaic_core::domain::queue::rank;
use mosaic_core::limits::IDEMPOTENCY;
use mosaic_core::ports::store::{Admission, Admitted, Change, Idempotency, Lease, StoreError, Versioned};
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::columns::{int, key, uint};
use super::failure::Fault;
use super::journal;
use super::rows::{self, StoredRow, Unreadable};
use super::tally::{self, QueueClass};
use super::writer::Writing;

/// Writes a new agent; see the port.
pub(super) fn admit(
    w: &mut Writing<'_>,
    admission: Admission,
    body: &str,
    limit: u64,
) -> Result<Admitted, Fault> {
    let Admission { agent, idempotency, job: _, job_data: _, facts } = admission;
    // The key comes before every other refusal. A request that is repeated must get the agent of its first try, also
    // when the queue is full by now or that agent still works on the task.
    if let Some(given) = &idempotency
        && let Some(first) = replay(w, given, agent.spawned_at)?
    {
        return Ok(Admitted::Replay(rows::load(w, first)?.versioned));
    }
    refuse_second(w, &agent)?;
    let queued = uint(w.books.tally.ready) + uint(w.books.tally.delayed);
    if queued >= limit {
        return Err(StoreError::QueueFull(queued).into());
    }
    let taken = w.conn.prepare_cached("SELECT 1 FROM agents WHERE id = ?1")?.exists([key(agent.id)])?;
    if taken {
        return Err(StoreError::Conflict(agent.id).into());
    }
    let logged_at = journal::append_with(w, agent.id, Timestamp(0), facts)?;
    let seq = insert(w, &agent, logged_at, body)?;
    if let Some(given) = &idempotency {
        remember(w, given, &agent)?;
    }
    Ok(Admitted::New(Versioned {
        agent,
        version: 1,
        seq,
        epoch: Epoch(0),
        node: None,
        home: None,
        short: None,
    }))
}

/// Returns the agent that this key stands for, when it is known and still young enough.
fn replay(w: &Writing<'_>, given: &Idempotency, now: Timestamp) -> Result<Option<AgentId>, Fault> {
    let sql = "SELECT fingerprint, agent, at FROM idempotency WHERE key = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
    };
    let known = w.conn.prepare_cached(sql)?.query_row([&given.key], read).optional()?;
    match known {
        Some((_, _, at)) if now.since(Timestamp(uint(at))) >= IDEMPOTENCY => Ok(None),
        Some((fingerprint, _, _)) if fingerprint != given.fingerprint => {
            Err(StoreError::IdempotencyMismatch.into())
        }
        Some((_, agent, _)) => Ok(Some(AgentId(Uuid::from_bytes(agent)))),
        None => Ok(None),
    }
}

/// Refuses an agent of a (task, type) that an agent still works on.
fn refuse_second(w: &mut Writing<'_>, agent: &Agent) -> Result<(), Fault> {
    loop {
        let sql = "SELECT seq, id FROM agents WHERE task_id = ?1 AND agent_type = ?2 AND terminal = 0";
        let named = params![agent.spec.task_id.as_str(), agent.spec.agent_type.as_str()];
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
        let Some((seq, id)) = w.conn.prepare_cached(sql)?.query_row(named, read).optional()? else {
            return Ok(());
        };
        match Uuid::from_slice(&id) {
            Ok(id) => return Err(StoreError::TaskActive { agent: AgentId(id) }.into()),
            // The refusal has to name the agent. One whose id cannot be read would keep the task from being worked on
            // for good, and no answer could say which agent it is.
            Err(e) => rows::quarantine(w, &Unreadable { seq, why: format!("its id is no UUID: {e}") })?,
        }
    }
}

fn insert(w: &mut Writing<'_>, agent: &Agent, logged_at: Timestamp, body: &str) -> Result<u64, Fault> {
    let sql =
        "INSERT INTO agents (id, task_id, agent_type, repository, branch, labels, search, spawned_at, rank,
            status, phase, terminal, dead, queue, not_before, node, epoch, version, logged_at, body, ended_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, NULL, 0, 1, ?16, ?17, ?18)";
    let spec = &agent.spec;
    w.conn.prepare_cached(sql)?.execute(params![
        key(agent.id),
        spec.task_id.as_str(),
        spec.agent_type.as_str(),
        spec.context.repository.to_string(),
        spec.context.branch.as_str(),
        labels(agent),
        searched(agent),
        int(agent.spawned_at.0),
        int(rank(spec.priority, agent.spawned_at)),
        agent.status().as_str(),
        agent.phase().as_str(),
        agent.is_terminal(),
        tally::is_dead(agent),
        tally::queue_column(agent),
        agent.not_before().map(|at| int(at.0)),
        int(logged_at.0),
        body,
        ended_at(agent),
    ])?;
    let seq = w.conn.last_insert_rowid();
    w.books.tally.add(QueueClass::of(agent, false), 1);
    Ok(uint(seq))
}

/// Returns the column `search`.
pub(super) fn searched(agent: &Agent) -> String {
    format!("{}\n{}\n{}", agent.name, agent.spec.task_id, agent.id).to_lowercase()
}

/// Returns the column `ended_at`.
pub(super) fn ended_at(agent: &Agent) -> Option<i64> {
    agent.end().map(|end| int(end.at.0))
}

/// Returns the labels as lines `key=value` between line breaks, which neither may contain.
pub(super) fn labels(agent: &Agent) -> Option<String> {
    let labels = &agent.spec.labels;
    let lines: String = labels.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    (!labels.is_empty()).then(|| format!("\n{lines}"))
}

fn remember(w: &Writing<'_>, given: &Idempotency, agent: &Agent) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO idempotency (key, fingerprint, agent, at) VALUES (?1, ?2, ?3, ?4)";
    let row = params![given.key, given.fingerprint, key(agent.id), int(agent.spawned_at.0)];
    w.conn.prepare_cached(sql)?.execute(row)?;
    // Two old keys go for each new one, so the table shrinks to what is young without ever stopping the writer.
    let sql = "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE at <= ?1 ORDER BY at LIMIT 2)";
    let lifetime = u64::try_from(IDEMPOTENCY.as_millis()).unwrap_or(u64::MAX);
    let old = agent.spawned_at.0.saturating_sub(lifetime);
    w.conn.prepare_cached(sql)?.execute([int(old)])?;
    Ok(())
}

/// Writes a new state under a lease; see the port.
pub(super) fn advance(w: &mut Writing<'_>, lease: &Lease, change: Change, body: &str) -> Result<u64, Fault> {
    let kept = rows::load(w, lease.agent)?;
    let now = &kept.versioned;
    let holds = now.node.as_ref() == Some(&lease.node) && now.epoch == lease.epoch;
    if !holds || change.agent.id != lease.agent {
        return Err(StoreError::Fenced(lease.agent).into());
    }
    put(w, &kept, change, body)
}

/// Writes new states of agents that nobody holds; see the port.
pub(super) fn amend(
    w: &mut Writing<'_>,
    changes: Vec<(u64, Change, String)>,
) -> Result<Vec<Result<u64, StoreError>>, Fault> {
    changes.into_iter().map(|(version, change, body)| settle(amend_one(w, version, change, &body))).collect()
}

/// Parts what is an answer for one change from what undoes all of them.
fn settle(result: Result<u64, Fault>) -> Result<Result<u64, StoreError>, Fault> {
    match result {
        Ok(version) => Ok(Ok(version)),
        Err(Fault::Said(e)) => Ok(Err(e)),
        Err(fault @ Fault::Sql(_)) => Err(fault),
    }
}

fn amend_one(w: &mut Writing<'_>, version: u64, change: Change, body: &str) -> Result<u64, Fault> {
    let kept = rows::load(w, change.agent.id)?;
    let now = &kept.versioned;
    let rewrites_end = now.agent.is_terminal() && now.agent.state != change.agent.state;
    if now.node.is_some() || now.version != version || rewrites_end {
        return Err(StoreError::Conflict(change.agent.id).into());
    }
    put(w, &kept, change, body)
}

/// Writes a record over the one that is kept.
fn put(w: &mut Writing<'_>, kept: &StoredRow, change: Change, body: &str) -> Result<u64, Fault> {
    let Change { agent, facts, .. } = change;
    let old = &kept.versioned;
    let logged_at = journal::append_with(w, agent.id, kept.logged_at, facts)?;
    let held = old.node.is_some();
    let node = old.node.as_ref().filter(|_| !tally::ends_lease(&agent));
    let version = old.version + 1;
    let sql =
        "UPDATE agents SET status = ?2, phase = ?3, terminal = ?4, dead = ?5, queue = ?6, not_before = ?7,
        node = ?8, version = ?9, logged_at = ?10, body = ?11, ended_at = ?12 WHERE seq = ?1";
    w.conn.prepare_cached(sql)?.execute(params![
        int(old.seq),
        agent.status().as_str(),
        agent.phase().as_str(),
        agent.is_terminal(),
        tally::is_dead(&agent),
        tally::queue_column(&agent),
        agent.not_before().map(|at| int(at.0)),
        node.map(|node| node.as_str()),
        int(version),
        int(logged_at.0),
        body,
        ended_at(&agent),
    ])?;
    w.books.tally.add(kept.place, -1);
    w.books.tally.add(QueueClass::of(&agent, held), 1);
    Ok(version)
}

/// Writes something small, to see that it can be done.
pub(super) fn check(w: &mut Writing<'_>) -> Result<(), Fault> {
    w.conn.prepare_cached("UPDATE tally SET checks = checks + 1")?.execute([])?;
    Ok(())
}
