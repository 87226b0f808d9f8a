//! The queue: entries are rows of `agents` with `queue` set. Ready ones stand in an index by rank, delayed ones
//! in an index by time; when their time has come they are moved over, so taking the next one is one look-up.

use std::collections::BTreeMap;

use mosaic_core::domain::ids::{AgentId, Epoch, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::limits;
use mosaic_core::ports::store::{Counts, Lease, Pause, StoreError, Versioned};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{READY, int, key, uint};
use super::failure::Fault;
use super::journal;
use super::listing::gather;
use super::orders;
use super::rows::{self, COLUMNS, StoredRow, Unreadable};
use super::tally::{Class, QueueClass, Tally};
use super::writer::Writing;

/// Takes the best ready entry under a new lease; see the port.
pub(super) fn lease(
    w: &mut Writing<'_>,
    node: &NodeId,
    now: Timestamp,
    conditions: &Conditions,
) -> Result<Option<(Lease, Versioned)>, Fault> {
    // Also while paused: what is due is ready then, and the next time to look lies ahead.
    promote(w, now)?;
    if pause(w.conn)?.is_some() || orders::is_engaged(w.conn)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM agents INDEXED BY agents_ready WHERE queue = 1 ORDER BY rank, seq LIMIT 1"
    );
    loop {
        let best = w.conn.prepare_cached(&sql)?.query_row([], rows::read).optional()?;
        match best {
            None => return Ok(None),
            Some(Ok(kept))
                if conditions.allow(&kept.versioned.agent) && is_open(w.conn, &kept, conditions)? =>
            {
                return grant(w, kept, node).map(Some);
            }
            Some(Ok(_)) => return look_further(w, node, conditions),
            Some(Err(bad)) => rows::quarantine(w, &bad)?,
        }
    }
}

/// Tells whether another agent of an entry's repository may be leased.
fn is_open(conn: &Connection, kept: &StoredRow, conditions: &Conditions) -> Result<bool, Fault> {
    let Some(most) = conditions.repository_leases else { return Ok(true) };
    let repository = kept.versioned.agent.spec.context.repository.as_str();
    Ok(leased_of(conn, repository)? < most)
}

/// Counts what is leased of a repository.
fn leased_of(conn: &Connection, repository: &str) -> Result<usize, Fault> {
    let sql =
        "SELECT count(*) FROM agents INDEXED BY agents_leased WHERE node IS NOT NULL AND repository = ?1";
    let count: i64 = conn.prepare_cached(sql)?.query_row([repository], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Takes the best entry that the conditions allow when the first one is refused. The front of the queue is looked through,
/// then a part further on, which moves on from call to call.
fn look_further(
    w: &mut Writing<'_>,
    node: &NodeId,
    conditions: &Conditions,
) -> Result<Option<(Lease, Versioned)>, Fault> {
    // The front is looked through by every call, as that is where urgent entries arrive. The second part
    // moves on with each call, so that entries behind very many refused ones are reached at last without any
    // call reading the whole queue.
    let part = limits::QUEUE_SKIPPED as u64;
    for from in [0, w.books.look_from.max(part)] {
        if let Some(kept) = find_in_part(w, conditions, from)? {
            return grant(w, kept, node).map(Some);
        }
        if from + part >= uint(w.books.tally.ready) {
            w.books.look_from = 0;
            return Ok(None);
        }
        w.books.look_from = if from == 0 { w.books.look_from } else { from + part };
    }
    Ok(None)
}

/// Finds the first entry of one part of the queue that the conditions allow; damaged ones are set aside on the way.
fn find_in_part(w: &mut Writing<'_>, conditions: &Conditions, from: u64) -> Result<Option<StoredRow>, Fault> {
    let sql = format!(
        // `json_extract` fails on a body that is no JSON, and one damaged record would end the look for all. Without
        // the check it could not be found and set aside either.
        "SELECT {COLUMNS}, repository,
           CASE WHEN ?3 AND json_valid(body) THEN json_extract(body, '$.spec.runtime') END
         FROM agents INDEXED BY agents_ready WHERE queue = 1 ORDER BY rank, seq LIMIT ?1 OFFSET ?2"
    );
    let row = params![limits::QUEUE_SKIPPED as i64, int(from), !conditions.runtimes.is_empty()];
    let (mut bad, mut full) = (Vec::new(), BTreeMap::new());
    let found = {
        let mut query = w.conn.prepare_cached(&sql)?;
        let mut rows = query.query(row)?;
        loop {
            let Some(row) = rows.next()? else { break None };
            // Compared before the record is read: that is many times faster.
            let (repository, runtime): (String, Option<String>) = (row.get(11)?, row.get(12)?);
            if conditions.repositories.contains(&repository)
                || runtime.is_some_and(|runtime| conditions.runtimes.contains(&runtime))
            {
                continue;
            }
            if let Some(most) = conditions.repository_leases {
                let is_full = match full.get(&repository) {
                    Some(known) => *known,
                    None => leased_of(w.conn, &repository)? >= most,
                };
                full.insert(repository, is_full);
                if is_full {
                    continue;
                }
            }
            match rows::read(row)? {
                Ok(kept) if conditions.allow(&kept.versioned.agent) => break Some(kept),
                Ok(_) => {}
                Err(one) => bad.push(one),
            }
        }
    };
    // This waits until the query above is closed: SQLite does not say what a query still shows of rows that are deleted
    // while it runs.
    bad.iter().try_for_each(|one| rows::quarantine(w, one))?;
    Ok(found)
}

/// Takes over what is leased under a new epoch; see the port.
pub(super) fn take_over(
    w: &mut Writing<'_>,
    agent: AgentId,
    node: &NodeId,
) -> Result<(Lease, Versioned), Fault> {
    let kept = rows::load(w, agent)?;
    if kept.versioned.node.is_none() {
        return Err(StoreError::Conflict(agent).into());
    }
    grant(w, kept, node)
}

fn grant(w: &mut Writing<'_>, kept: StoredRow, node: &NodeId) -> Result<(Lease, Versioned), Fault> {
    let mut versioned = kept.versioned;
    // The epoch rises with every grant, also with one to the same node: a write that an earlier holder still
    // has under way is refused by it, whatever else is equal.
    versioned.epoch = Epoch(versioned.epoch.0 + 1);
    (versioned.node, versioned.home) = (Some(node.clone()), Some(node.clone()));
    let sql = "UPDATE agents SET queue = 0, node = ?2, home = ?2, epoch = ?3 WHERE seq = ?1";
    let row = params![int(versioned.seq), node.as_str(), int(versioned.epoch.0)];
    w.conn.prepare_cached(sql)?.execute(row)?;
    w.books.tally.add(kept.place, -1);
    w.books.tally.add(QueueClass { class: Class::Active, dead: false }, 1);
    let lease = Lease { agent: versioned.agent.id, node: node.clone(), epoch: versioned.epoch };
    Ok((lease, versioned))
}

/// Makes delayed entries ready whose time has come.
pub(super) fn promote(w: &mut Writing<'_>, now: Timestamp) -> Result<(), Fault> {
    if w.books.tally.delayed == 0 {
        return Ok(());
    }
    // With the index named, SQLite refuses the statement when the index is gone. Choosing by itself it might
    // read every record that was ever kept, at each grant.
    let sql = "UPDATE agents INDEXED BY agents_delayed SET queue = 1 WHERE queue = 2 AND not_before <= ?1";
    let moved = w.conn.prepare_cached(sql)?.execute([int(now.0)])?;
    let moved = i64::try_from(moved).unwrap_or(0);
    w.books.tally.add(QueueClass { class: Class::Delayed, dead: false }, -moved);
    w.books.tally.add(QueueClass { class: Class::Ready, dead: false }, moved);
    Ok(())
}

/// Counts delayed entries whose time has come.
pub(super) fn count_due(conn: &Connection, now: Timestamp) -> Result<u64, Fault> {
    let sql = "SELECT count(*) FROM agents INDEXED BY agents_delayed WHERE queue = 2 AND not_before <= ?1";
    Ok(uint(conn.prepare_cached(sql)?.query_row([int(now.0)], |row| row.get(0))?))
}

/// Lists entries in starting order; see the port. Due entries were promoted before.
pub(super) fn waiting(
    conn: &Connection,
    offset: u64,
    limit: usize,
) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let limit = limit.min(limits::STORE_PAGE);
    let ready = format!(
        "SELECT {COLUMNS} FROM agents INDEXED BY agents_ready WHERE queue = 1 ORDER BY rank, seq LIMIT ?1 OFFSET ?2"
    );
    let (mut good, mut bad) = gather(conn, &ready, params![limit as i64, int(offset)], limit)?;
    let count = "SELECT count(*) FROM agents INDEXED BY agents_ready WHERE queue = 1";
    if good.len() + bad.len() < limit {
        let ready: i64 = conn.prepare_cached(count)?.query_row([], |row| row.get(0))?;
        let delayed = format!(
            "SELECT {COLUMNS} FROM agents INDEXED BY agents_delayed WHERE queue = 2
             ORDER BY not_before, seq LIMIT ?1 OFFSET ?2"
        );
        let left = limit - good.len();
        let skip = int(offset.saturating_sub(uint(ready)));
        let (more, worse) = gather(conn, &delayed, params![left as i64, skip], left)?;
        good.extend(more);
        bad.extend(worse);
    }
    Ok((good, bad))
}

/// Counts the ready entries before this one; see the port. Every ready entry starts before a delayed one.
pub(super) fn position(conn: &Connection, agent: AgentId) -> Result<Option<u64>, Fault> {
    let sql = "SELECT queue, rank, seq FROM agents WHERE id = ?1 AND queue > 0";
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let Some((queue, rank, seq)) = conn.prepare_cached(sql)?.query_row([key(agent)], read).optional()? else {
        return Ok(None);
    };
    if queue != READY {
        let count = "SELECT count(*) FROM agents INDEXED BY agents_ready WHERE queue = 1";
        return Ok(Some(uint(conn.prepare_cached(count)?.query_row([], |row| row.get(0))?)));
    }
    let count = "SELECT
        (SELECT count(*) FROM agents INDEXED BY agents_ready WHERE queue = 1 AND rank < ?1) +
        (SELECT count(*) FROM agents INDEXED BY agents_ready WHERE queue = 1 AND rank = ?1 AND seq < ?2)";
    Ok(Some(uint(conn.prepare_cached(count)?.query_row([rank, seq], |row| row.get(0))?)))
}

/// Counts entries and agents; see the port.
pub(super) fn counts(conn: &Connection, now: Timestamp) -> Result<Counts, Fault> {
    let tally = Tally::load(conn)?;
    let due = count_due(conn, now)?;
    Ok(Counts {
        waiting: uint(tally.ready) + due,
        delayed: uint(tally.delayed).saturating_sub(due),
        active: uint(tally.active),
        completed: uint(tally.completed),
        failed: uint(tally.failed),
        killed: uint(tally.killed),
        dead: uint(tally.dead),
    })
}

/// Returns the earliest time of a delayed entry.
pub(super) fn next_due(conn: &Connection) -> Result<Option<Timestamp>, Fault> {
    let sql = "SELECT min(not_before) FROM agents INDEXED BY agents_delayed WHERE queue = 2";
    let due: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(due.map(|at| Timestamp(uint(at))))
}

/// Pauses dispatch or lets it go on; logs the fact only when that changed something. The first pause stands.
pub(super) fn set_pause(w: &mut Writing<'_>, wanted: Option<Pause>, fact: LogRecord) -> Result<(), Fault> {
    let sql = "INSERT INTO pause (one, by, reason, at) VALUES (1, ?1, ?2, ?3) ON CONFLICT DO NOTHING";
    let changed = match wanted {
        Some(p) => w.conn.prepare_cached(sql)?.execute(params![p.by, p.reason, int(p.at.0)])?,
        None => w.conn.prepare_cached("DELETE FROM pause")?.execute([])?,
    };
    if changed > 0 { journal::append(w, fact) } else { Ok(()) }
}

/// Returns why dispatch is paused, when it is.
pub(super) fn pause(conn: &Connection) -> Result<Option<Pause>, Fault> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Pause { by: row.get(0)?, reason: row.get(1)?, at: Timestamp(uint(row.get(2)?)) })
    };
    Ok(conn.prepare_cached("SELECT by, reason, at FROM pause")?.query_row([], read).optional()?)
}
