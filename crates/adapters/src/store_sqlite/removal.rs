//! Records and facts that go for good. Each call does a bounded piece of work, so that the writer is never kept long.

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::outcome::cut;
use mosaic_core::limits;
use mosaic_core::ports::store::{EndedAfter, Removal, StoreError, Versioned};
use rusqlite::{Connection, params};

use super::columns::{int, key, uint};
use super::failure::Fault;
use super::journal;
use super::listing::gather;
use super::rows::{self, COLUMNS, Unreadable};
use super::writer::Writing;

/// Removes an ended agent's record and leaves a note; see the port.
pub(super) fn remove(w: &mut Writing<'_>, removal: Removal) -> Result<(), Fault> {
    // There is one node only.
    let Removal { agent, version, at, why, node: _, facts } = removal;
    let kept = rows::load(w, agent)?;
    let now = &kept.versioned;
    if !now.agent.is_terminal() || now.node.is_some() || now.version != version {
        return Err(StoreError::Conflict(agent).into());
    }
    journal::append_with(w, agent, kept.logged_at, facts)?;
    w.conn.prepare_cached("DELETE FROM agents WHERE seq = ?1")?.execute([int(now.seq)])?;
    w.books.tally.add(kept.place, -1);
    let sql = "INSERT INTO tombstones (id, at, why) VALUES (?1, ?2, ?3)";
    let why = cut(why, limits::REMOVAL_WHY_BYTES);
    w.conn.prepare_cached(sql)?.execute(params![key(agent), int(at.0), why])?;
    // The newest is never removed, so numbers only rise and the difference counts what is there.
    let oldest = w.conn.last_insert_rowid().saturating_sub(int(limits::TOMBSTONES));
    w.conn.prepare_cached("DELETE FROM tombstones WHERE seq <= ?1")?.execute([oldest])?;
    Ok(())
}

/// Lists what ended before a time, oldest end first; see the port.
pub(super) fn settled(
    conn: &Connection,
    before: Timestamp,
    after: EndedAfter,
    limit: usize,
) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let limit = limit.clamp(1, limits::STORE_PAGE);
    let sql = format!(
        "SELECT {COLUMNS} FROM agents INDEXED BY agents_ended
         WHERE ended_at IS NOT NULL AND ended_at < ?1 AND (ended_at, seq) > (?2, ?3)
         ORDER BY ended_at, seq LIMIT ?4"
    );
    gather(conn, &sql, params![int(before.0), int(after.at), int(after.seq), limit as i64], limit)
}

/// Removes old facts from the beginning of the log; see the port.
pub(super) fn prune_events(w: &mut Writing<'_>, before: Timestamp, most: usize) -> Result<u64, Fault> {
    // The newest fact stays whatever its age: the next start counts on from the highest number in the table, and from
    // an empty one it would begin at 1 again.
    let sql = "SELECT seq, at FROM events WHERE seq < ?1 ORDER BY seq LIMIT ?2";
    let mut last = None;
    {
        let mut statement = w.conn.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![int(w.books.newest), most])?;
        while let Some(row) = rows.next()? {
            if uint(row.get(1)?) >= before.0 {
                break;
            }
            last = Some(row.get::<_, i64>(0)?);
        }
    }
    let Some(last) = last else { return Ok(0) };
    let gone = w.conn.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([last])?;
    Ok(gone as u64)
}
