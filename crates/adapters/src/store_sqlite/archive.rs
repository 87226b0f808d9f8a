//! The embedded store as the archive of a node in a fleet: records of ended agents that were moved out of the shared store,
//! with their numbers of there.

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::queue::rank;
use mosaic_core::limits::STORE_PAGE;
use mosaic_core::ports::store::{EndedAfter, Moving, StoreError, Versioned};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{int, key, uint};
use super::failure::Fault;
use super::rows::{self, COLUMNS, Unreadable};
use super::tally::{self, QueueClass, Tally};
use super::writer::Writing;
use super::{SqliteStore, encode, verbs};

/// Size of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveSize {
    /// Records.
    pub records: u64,
    /// Bytes of the file that hold something.
    pub bytes: u64,
}

impl SqliteStore {
    /// Writes records of ended agents, over older versions of the same. They survive the loss of power once this has
    /// returned.
    pub async fn keep(&self, moved: &[Moving]) -> Result<(), StoreError> {
        let rows = moved
            .iter()
            .map(|one| Ok((one.clone(), encode(&one.record.agent)?)))
            .collect::<Result<Vec<_>, StoreError>>()?;
        self.write(move |w| rows.iter().try_for_each(|(one, body)| keep_one(w, one, body))).await
    }

    /// Reads the records of these agents, as far as they are here; damaged ones are set aside and left out.
    pub async fn kept(&self, agents: &[AgentId]) -> Result<Vec<Versioned>, StoreError> {
        let agents = agents.to_vec();
        self.read_records(move |conn| find_all(conn, &agents)).await
    }

    /// Reads the lines about the life of one agent, oldest first; none when they are not here.
    pub async fn history(&self, agent: AgentId) -> Result<Option<Vec<String>>, StoreError> {
        let found = move |conn: &Connection| {
            let sql = "SELECT history FROM agents WHERE id = ?1";
            let text: Option<Option<String>> =
                conn.prepare_cached(sql)?.query_row([key(agent)], |row| row.get(0)).optional()?;
            Ok(text.map(|text| text.unwrap_or_default().lines().map(str::to_owned).collect()))
        };
        self.read(found).await
    }

    /// Deletes records, without a note: the shared store has it.
    pub async fn forget_kept(&self, agents: &[AgentId]) -> Result<(), StoreError> {
        let agents = agents.to_vec();
        self.write(move |w| agents.iter().try_for_each(|agent| forget_one(w, *agent))).await
    }

    /// Lists what is kept of agents that ended before a time, oldest end first, in pages.
    pub async fn kept_before(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        let limit = limit.clamp(1, STORE_PAGE);
        self.read_records(move |conn| super::removal::settled(conn, before, after, limit)).await
    }

    /// Counts what is kept of agents that ended before a time.
    pub async fn count_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM agents INDEXED BY agents_ended WHERE ended_at < ?1";
        self.read(move |conn| Ok(conn.query_row(sql, [int(before.0)], |row| row.get(0)).map(uint)?)).await
    }

    /// Measures what is kept.
    pub async fn size(&self) -> Result<ArchiveSize, StoreError> {
        self.read(|conn| {
            let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(uint);
            let records = number("SELECT count(*) FROM agents")?;
            let pages = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
            Ok(ArchiveSize { records, bytes: pages * number("PRAGMA page_size")? })
        })
        .await
    }
}

fn keep_one(w: &mut Writing<'_>, moved: &Moving, body: &str) -> Result<(), Fault> {
    let Versioned { agent, version, seq, epoch, home, .. } = &moved.record;
    // `INSERT OR REPLACE` would not do: SQLite fires no delete trigger for a row that it replaces in this way, and the
    // index of words would go on finding the record by its old ones.
    forget_one(w, agent.id)?;
    make_way(w, *seq)?;
    let sql = "INSERT INTO agents (seq, id, task_id, agent_type, repository, branch, labels, search, spawned_at, rank, status,
            phase, terminal, dead, queue, not_before, node, epoch, version, logged_at, body, ended_at, home, history)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 1, ?13, 0, NULL, NULL, ?14, ?15, ?16, ?17, ?16, ?18, ?19)";
    let spec = &agent.spec;
    w.conn.prepare_cached(sql)?.execute(params![
        int(*seq),
        key(agent.id),
        spec.task_id.as_str(),
        spec.agent_type.as_str(),
        spec.context.repository.to_string(),
        spec.context.branch.as_str(),
        verbs::labels(agent),
        verbs::searched(agent),
        int(agent.spawned_at.0),
        int(rank(spec.priority, agent.spawned_at)),
        agent.status().as_str(),
        agent.phase().as_str(),
        tally::is_dead(agent),
        int(epoch.0),
        int(*version),
        verbs::ended_at(agent),
        body,
        home.as_ref().map(|home| home.as_str()),
        moved.history.join("\n"),
    ])?;
    w.books.tally.add(QueueClass::of(agent, false), 1);
    Ok(())
}

/// A shared store that began anew gives its numbers once more: what has this one comes from an earlier store, where nobody
/// asks for it any more. It is set aside.
fn make_way(w: &mut Writing<'_>, seq: u64) -> Result<(), Fault> {
    let sql = "INSERT INTO quarantine (id, why, task_id, agent_type, status, body)
        SELECT hex(id), 'archived from an earlier store', task_id, agent_type, status, CAST(body AS BLOB)
        FROM agents WHERE seq = ?1 RETURNING 1";
    let there: Option<i64> =
        w.conn.prepare_cached(sql)?.query_row([int(seq)], |row| row.get(0)).optional()?;
    if there.is_some() {
        let sql = "DELETE FROM agents WHERE seq = ?1";
        w.conn.prepare_cached(sql)?.execute([int(seq)])?;
        w.books.tally = Tally::recount(w.conn)?;
    }
    Ok(())
}

fn forget_one(w: &mut Writing<'_>, agent: AgentId) -> Result<(), Fault> {
    match rows::load(w, agent) {
        Ok(kept) => {
            w.conn.prepare_cached("DELETE FROM agents WHERE id = ?1")?.execute([key(agent)])?;
            w.books.tally.add(kept.place, -1);
            Ok(())
        }
        Err(Fault::Said(
            StoreError::NotFound(_) | StoreError::Pruned { .. } | StoreError::Quarantined(_),
        )) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn find_all(conn: &Connection, agents: &[AgentId]) -> Result<(Vec<Versioned>, Vec<Unreadable>), Fault> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let sql = format!("SELECT {COLUMNS} FROM agents WHERE id = ?1");
    let mut statement = conn.prepare_cached(&sql)?;
    for agent in agents {
        match statement.query_row([key(*agent)], rows::read).optional()? {
            Some(Ok(kept)) => good.push(kept.versioned),
            Some(Err(one)) => bad.push(one),
            None => {}
        }
    }
    Ok((good, bad))
}
