//! The queue as others see it: what waits in which order, counts, pause.

use std::collections::VecDeque;

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::limits::{QUEUE_CLASSES, STORE_PAGE};
use mosaic_core::ports::store::{Counts, Pause, StoreError, Versioned};
use redis::Value;

use super::args::{self, Args, strange};
use super::inner::Inner;
use super::keys::Key;
use super::leases::ageing_ms;
use super::records::json_text;
use super::scripts::{COUNTS, PAUSE, PEEK, POSITION, PREPARE, PROMOTE_DUE};

/// Events that the queue's stream keeps, unless somebody set another number: what BullMQ itself takes.
const EVENTS_KEPT: u64 = 10_000;
/// Entries looked at in one call.
const CHUNK: u64 = 200;

/// The ready entries of one class of priority, read piece by piece.
struct Class {
    class: u64,
    next: u64,
    read: VecDeque<(u64, AgentId)>,
    whole: bool,
}

impl Inner {
    /// Writes what the queue's other users expect to be there.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes)
            .map_err(|e| StoreError::Unavailable(format!("the system has no random numbers: {e}")))?;
        let fresh: String = base16ct::lower::encode_string(&bytes);
        let wanted = self.options.queue_events;
        let events = wanted.unwrap_or(EVENTS_KEPT);
        let args = Args::default().text(concat!("mosaic:", env!("CARGO_PKG_VERSION")));
        self.run(&PREPARE, args.number(events).flag(wanted.is_some()).long(fresh)).await?;
        Ok(())
    }

    /// Lists entries in starting order; see the port.
    pub(super) async fn waiting(
        &self,
        offset: u64,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Versioned>, StoreError> {
        let limit = limit.min(STORE_PAGE);
        let args = self.deciding(now).number(QUEUE_CLASSES as u64);
        let classes = args::list(self.run(&PROMOTE_DUE, args).await?, "the classes")?;
        let new = |value: &Value| Class {
            class: args::number(value),
            next: 0,
            read: VecDeque::new(),
            whole: false,
        };
        let mut classes: Vec<Class> = classes.iter().map(new).collect();
        let (mut passed, mut ids) = (0, Vec::new());
        while ids.len() < limit {
            let Some(id) = self.next_ready(&mut classes).await? else { break };
            if passed < offset {
                passed += 1;
            } else {
                ids.push(id);
            }
        }
        if ids.len() < limit {
            self.next_delayed(offset - passed, limit, &mut ids).await?;
        }
        self.fetch(&ids).await
    }

    /// Takes the entry with the lowest rank off the classes.
    async fn next_ready(&self, classes: &mut [Class]) -> Result<Option<AgentId>, StoreError> {
        for class in classes.iter_mut() {
            while class.read.is_empty() && !class.whole {
                self.read_more(class).await?;
            }
        }
        let filled = classes.iter_mut().filter(|class| !class.read.is_empty());
        let best = filled.min_by_key(|class| class.read[0].0);
        Ok(best.and_then(|class| class.read.pop_front()).map(|(_, id)| id))
    }

    async fn read_more(&self, class: &mut Class) -> Result<(), StoreError> {
        let args = Args::default().number(class.class).number(class.next).number(CHUNK);
        let answer = args::list(self.run(&PEEK, args).await?, "the waiting entries")?;
        let mut parts = answer.iter();
        class.whole = parts.next().map_or(0, args::number) < CHUNK;
        class.next += CHUNK;
        // As in `lease.lua`, a number above ten counts as ten, which other producers may use. Ranked in any other way,
        // the list would not show the order in which entries start.
        let penalty = class.class.min(10) * ageing_ms();
        while let (Some(id), Some(time)) = (parts.next(), parts.next()) {
            if let Some(id) = args::text(id).and_then(|id| id.parse().ok()) {
                class.read.push_back((args::number(time) + penalty, id));
            }
        }
        Ok(())
    }

    /// Adds delayed entries by time, after passing over some.
    async fn next_delayed(
        &self,
        mut pass: u64,
        limit: usize,
        ids: &mut Vec<AgentId>,
    ) -> Result<(), StoreError> {
        let mut from = 0;
        while ids.len() < limit {
            let mut cmd = redis::cmd("ZRANGE");
            cmd.arg(self.key(Key::Delayed)).arg(from).arg(from + CHUNK - 1);
            let jobs: Vec<String> = self.link.query(cmd).await?;
            if jobs.is_empty() {
                break;
            }
            from += CHUNK;
            let mut pipe = redis::pipe();
            for job in &jobs {
                pipe.cmd("HGET").arg(self.key(Key::Job(job))).arg("agentId");
            }
            let agents: Vec<Option<String>> = self.link.pipeline(pipe).await?;
            // A job without an agent is one of another producer that no node has admitted yet, so there is no record to
            // show.
            for id in agents.into_iter().flatten().filter_map(|id| id.parse().ok()) {
                if pass > 0 {
                    pass -= 1;
                } else if ids.len() < limit {
                    ids.push(id);
                }
            }
        }
        Ok(())
    }

    /// Counts the ready entries before this one; see the port.
    pub(super) async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError> {
        let args = Args::default().long(agent.to_string()).number(ageing_ms()).number(QUEUE_CLASSES as u64);
        match self.run(&POSITION, args).await? {
            Value::Nil => Ok(None),
            Value::Int(before) => Ok(Some(u64::try_from(before).unwrap_or(0))),
            _ => Err(strange("a position")),
        }
    }

    /// Counts entries and agents; see the port.
    pub(super) async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        let answer = args::list(self.run(&COUNTS, self.deciding(now)).await?, "the counts")?;
        let sums: Vec<u64> = answer.iter().map(args::number).collect();
        let [waiting, delayed, active, completed, failed, killed, dead] = sums[..] else {
            return Err(strange("the counts"));
        };
        Ok(Counts { waiting, delayed, active, completed, failed, killed, dead })
    }

    /// Returns the earliest time of a delayed entry.
    pub(super) async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(self.key(Key::Delayed)).arg(0).arg(0).arg("WITHSCORES");
        let first: Vec<(String, f64)> = self.link.query(cmd).await?;
        // Scores are whole numbers below 2^53.
        Ok(first.first().map(|(_, score)| Timestamp(*score as u64 / 4096)))
    }

    /// Pauses dispatch or lets it go on; logs the fact only when that changed something. The first pause stands.
    pub(super) async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError> {
        let record = pause.as_ref().map(json_text).transpose()?.unwrap_or_default();
        let args = self.with_facts(self.logging().long(record), &[fact])?;
        self.announce(args::number(&self.run(&PAUSE, args).await?));
        Ok(())
    }

    /// Returns why dispatch is paused. Whether it is says the queue's own switch, which others may turn; a reason of ours is
    /// forgotten when the look at external changes finds that they turned it off.
    pub(super) async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("HEXISTS").arg(self.key(Key::Meta)).arg("paused");
        pipe.cmd("GET").arg(self.key(Key::Pause));
        let (paused, record): (bool, Option<String>) = self.link.pipeline(pipe).await?;
        if !paused {
            return Ok(None);
        }
        let known = record.and_then(|text| serde_json::from_str(&text).ok());
        let other = || Pause { by: "another client of the queue".to_owned(), reason: None, at: Timestamp(0) };
        Ok(Some(known.unwrap_or_else(other)))
    }
}
