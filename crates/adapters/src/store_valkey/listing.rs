//! Reading records: one, many by an index, and setting aside those that cannot be read.

use std::collections::BTreeSet;

use mosaic_core::domain::ids::{AgentId, TaskId, Timestamp};
use mosaic_core::limits::STORE_PAGE;
use mosaic_core::ports::store::{Damaged, Query, StoreError, Versioned};
use redis::FromRedisValue;
use redis::streams::StreamRangeReply;
use serde_json::Value;

use super::args::{Args, strange};
use super::inner::Inner;
use super::keys::Key;
use super::record_error::RecordError;
use super::records;
use super::scripts::{PAGE, QUARANTINE};
use super::search::indexes;
use super::short;

/// Records read in one call.
const CHUNK: usize = 100;

impl Inner {
    /// Reads one record that is whole; see the port.
    pub(super) async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        let record = self.glance(agent).await?;
        match &record.short {
            None => Ok(record),
            Some(node) => {
                let why = "this connection reads no archive".to_owned();
                Err(StoreError::ArchiveAway { agent, node: node.clone(), why })
            }
        }
    }

    /// Reads one record, or its short form.
    pub(super) async fn glance(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.key(Key::Agent(agent)));
        let text: Option<Vec<u8>> = self.link.query(cmd).await?;
        let Some(text) = text else { return Err(self.absent(agent).await?) };
        let parsed = match short::is_short(&text) {
            true => self.read_short(&[(agent, text.clone())]).await?.remove(0),
            false => records::parse(agent, &text),
        };
        match parsed {
            Ok(record) => Ok(record),
            Err(why) => {
                self.set_aside(agent, &text, &why).await?;
                Err(StoreError::Quarantined(agent))
            }
        }
    }

    /// Returns what to say of an agent that has no record.
    pub(super) async fn absent(&self, agent: AgentId) -> Result<StoreError, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("EXISTS").arg(self.key(Key::Quarantined(agent)));
        pipe.cmd("ZSCORE").arg(self.key(Key::Tombstones)).arg(agent.to_string());
        pipe.cmd("HGET").arg(self.key(Key::TombstoneNodes)).arg(agent.to_string());
        let (aside, removed, node): (bool, Option<f64>, Option<String>) = self.link.pipeline(pipe).await?;
        let node = node.and_then(|name| name.parse().ok());
        Ok(match removed {
            _ if aside => StoreError::Quarantined(agent),
            // Scores are whole numbers below 2^53.
            Some(at) => StoreError::Pruned { agent, at: Timestamp(at as u64), node },
            None => StoreError::NotFound(agent),
        })
    }

    /// Sets a record aside that could not be read, if it is still the same.
    pub(super) async fn set_aside(
        &self,
        agent: AgentId,
        text: &[u8],
        why: &RecordError,
    ) -> Result<(), StoreError> {
        let mut args = Args::default().long(agent.to_string()).bytes_of(text.to_vec());
        args = args.text(&why.to_string());
        if self.run(&QUARANTINE, args).await? == redis::Value::Int(1) {
            tracing::warn!(agent.id = %agent, why = %why, bytes = text.len(), "a damaged record was set aside");
        }
        Ok(())
    }

    /// Looks at a record that a script could not read, and sets it aside.
    pub(super) async fn look_and_set_aside(&self, agent: AgentId) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.key(Key::Agent(agent)));
        let text: Option<Vec<u8>> = self.link.query(cmd).await?;
        let text = text.unwrap_or_default();
        let why = records::parse(agent, &text).err().unwrap_or(RecordError::Head);
        self.set_aside(agent, &text, &why).await
    }

    /// Reads these records in this order, without those that are gone; damaged ones are set aside.
    pub(super) async fn fetch(&self, ids: &[AgentId]) -> Result<Vec<Versioned>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(CHUNK) {
            let mut cmd = redis::cmd("MGET");
            for id in part {
                cmd.arg(self.key(Key::Agent(*id)));
            }
            let texts: Vec<Option<Vec<u8>>> = self.link.query(cmd).await?;
            let texts: Vec<(AgentId, Vec<u8>)> =
                part.iter().copied().zip(texts.into_iter().map(Option::unwrap_or_default)).collect();
            let short: Vec<_> = texts.iter().filter(|(_, text)| short::is_short(text)).cloned().collect();
            let mut short = self.read_short(&short).await?.into_iter();
            for (id, text) in texts {
                let parsed = match short::is_short(&text) {
                    true => short.next().unwrap_or(Err(RecordError::NotRead)),
                    false => records::parse(id, &text),
                };
                match parsed {
                    Ok(record) => found.push(record),
                    Err(_) if text.is_empty() => self.set_aside(id, &text, &RecordError::Gone).await?,
                    Err(why) => self.set_aside(id, &text, &why).await?,
                }
            }
        }
        Ok(found)
    }

    /// Reads short forms, each with the record of its task; one answer each, in order.
    async fn read_short(
        &self,
        texts: &[(AgentId, Vec<u8>)],
    ) -> Result<Vec<Result<Versioned, RecordError>>, StoreError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("MGET");
        for (_, text) in texts {
            // What names no task is read as nothing.
            cmd.arg(
                short::task_of(text).map_or_else(|| self.key(Key::Check), |task| self.key(Key::Task(&task))),
            );
        }
        let tasks: Vec<Option<Vec<u8>>> = self.link.query(cmd).await?;
        let read = |((id, text), task): (&(AgentId, Vec<u8>), Option<Vec<u8>>)| {
            short::parse_short(*id, text, &task.unwrap_or_default())
        };
        Ok(texts.iter().zip(tasks).map(read).collect())
    }

    /// Lists records by a query; see the port.
    pub(super) async fn list(&self, query: &Query) -> Result<Vec<Versioned>, StoreError> {
        let limit = query.limit.clamp(1, STORE_PAGE);
        let named = match (&query.id_prefix, &query.task) {
            (Some(prefix), _) if prefix.parse::<AgentId>().is_ok() => {
                Some(prefix.parse::<AgentId>().into_iter().collect())
            }
            (_, Some(task)) => match task.parse::<TaskId>() {
                Ok(task) => Some(self.ids_of_task(&task).await?),
                Err(_) => Some(Vec::new()),
            },
            _ => None,
        };
        if let Some(ids) = named {
            let mut found = self.fetch(&ids).await?;
            found.retain(|record| meets(record, query));
            found.sort_by_key(|record| std::cmp::Reverse(record.seq));
            found.truncate(limit);
            return Ok(found);
        }
        let mut cursor = query.before_seq.unwrap_or(u64::MAX);
        let mut found = Vec::new();
        let few = self.are_few(query).await?;
        while found.len() < limit {
            let wanted = limit - found.len();
            let searched = if few { None } else { self.search(query, cursor, wanted.max(CHUNK)).await? };
            let (ids, next) = match searched {
                Some(found) => found,
                None => self.page(query, cursor, wanted).await?,
            };
            let records = self.fetch(&ids).await?;
            found.extend(records.into_iter().filter(|record| meets(record, query)));
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Returns ids in the indexes of a query before a place, newest first, and where the next page begins. All indexes are
    /// read in one step, so that nobody is missed who changes from one to another.
    async fn page(
        &self,
        query: &Query,
        before: u64,
        wanted: usize,
    ) -> Result<(Vec<AgentId>, Option<u64>), StoreError> {
        // A filter that few records meet is better served by large pages.
        let size =
            if query.text.is_some() || query.id_prefix.is_some() { STORE_PAGE } else { wanted.max(CHUNK) };
        let top = if before == u64::MAX { "+inf".to_owned() } else { format!("({before}") };
        let mut args = Args::default().long(top).number(size as u64);
        for index in indexes(query) {
            args = args.text(self.key(index).trim_start_matches(&self.names.ours));
        }
        let answer = self.run(&PAGE, args).await?;
        let pages = Vec::<Vec<(String, u64)>>::from_redis_value(answer).map_err(|_| strange("a page"))?;
        // What lies below the end of a full page was not read from that index yet.
        let ends = pages.iter().filter(|page| page.len() == size).filter_map(|page| page.last());
        let floor = ends.map(|(_, seq)| *seq).max();
        let all: BTreeSet<(u64, String)> = pages.into_iter().flatten().map(|(id, seq)| (seq, id)).collect();
        let prefix = query.id_prefix.as_deref().unwrap_or_default();
        let ids = all
            .into_iter()
            .rev()
            .filter(|(seq, id)| floor.is_none_or(|floor| *seq >= floor) && id.starts_with(prefix));
        Ok((ids.filter_map(|(_, id)| id.parse().ok()).collect(), floor))
    }

    /// Lists what is leased; see the port.
    pub(super) async fn leased(&self) -> Result<Vec<Versioned>, StoreError> {
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(self.key(Key::Leased)).arg(0).arg(-1);
        let ids: Vec<String> = self.link.query(cmd).await?;
        let ids: Vec<AgentId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut held = self.fetch(&ids).await?;
        held.retain(|record| record.node.is_some());
        Ok(held)
    }

    /// Lists the agents of one task; see the port.
    pub(super) async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError> {
        let ids = self.ids_of_task(task).await?;
        let mut agents = self.fetch(&ids).await?;
        agents.retain(|record| record.agent.spec.task_id == *task);
        agents.sort_by_key(|record| std::cmp::Reverse(record.seq));
        Ok(agents)
    }

    async fn ids_of_task(&self, task: &TaskId) -> Result<Vec<AgentId>, StoreError> {
        // Other programs may have put anything there; this reads what is no text as nothing.
        let mut cmd = redis::cmd("MGET");
        cmd.arg(self.key(Key::Task(task)));
        let (text,): (Option<Vec<u8>>,) = self.link.query(cmd).await?;
        let value: Value = serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
        let ids = value["agents"].as_array().into_iter().flatten();
        Ok(ids.filter_map(|id| id.as_str()?.parse().ok()).collect())
    }

    /// Lists what was set aside.
    pub(super) async fn damaged(&self) -> Result<Vec<Damaged>, StoreError> {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(self.key(Key::Quarantine)).arg("-").arg("+").arg("COUNT").arg(STORE_PAGE);
        let page: StreamRangeReply = self.link.query(cmd).await?;
        let read = |entry: redis::streams::StreamId| Damaged {
            id: entry.get("id").unwrap_or_default(),
            why: entry.get("why").unwrap_or_default(),
        };
        Ok(page.ids.into_iter().map(read).collect())
    }
}

/// Tells whether a record meets a query.
fn meets(record: &Versioned, query: &Query) -> bool {
    let agent = &record.agent;
    let spec = &agent.spec;
    let same = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
    let text = |part: &String| {
        let part = part.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&part);
        has(&agent.name) || has(spec.task_id.as_str()) || has(&agent.id.to_string())
    };
    let label =
        |(key, value): &(String, String)| spec.labels.iter().any(|(k, v)| k.as_str() == key && v == value);
    (query.status.is_empty() || query.status.contains(&agent.status()))
        && (query.phase.is_empty() || query.phase.contains(&agent.phase()))
        && query.agent_type.is_none_or(|kind| kind == spec.agent_type)
        && same(&query.repository, &spec.context.repository.to_string())
        && same(&query.branch, spec.context.branch.as_str())
        && same(&query.task, spec.task_id.as_str())
        && query.label.as_ref().is_none_or(label)
        && query.text.as_ref().is_none_or(text)
        && query.id_prefix.as_ref().is_none_or(|prefix| agent.id.to_string().starts_with(prefix.as_str()))
        && query.since.is_none_or(|since| agent.spawned_at >= since)
        && query.until.is_none_or(|until| agent.spawned_at < until)
        && (!query.dead || records::is_dead(agent))
        && query.before_seq.is_none_or(|before| record.seq < before)
}
