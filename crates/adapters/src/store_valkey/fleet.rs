//! The fleet on a shared server: node records, cordons, and leases that are extended while their node sends heartbeats.
//!
//! Times are the server's own. A lease is the lock of the agent's job: it ends by itself, and only then may another node
//! take over. A server that was lost may have forgotten the newest extensions, so for a whole term after every
//! connection nothing counts as lapsed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::kept_work::WorkReport;
use mosaic_core::limits;
use mosaic_core::ports::fleet::{
    Cordon, Fleet, HeartbeatReply, JoinError, LostNode, NodeInfo, NodeRemoval, NodeState,
};
use mosaic_core::ports::store::{Lease, StoreError};
use redis::{FromRedisValue, Value};
use serde::Deserialize;

use super::ValkeyStore;
use super::args::Args;
use super::inner::Inner;
use super::keys::Key;
use super::scripts::{BEAT, CORDON, JOIN, LAPSED, LEAVE, NODES, REMOVE_NODE, REPORT_WORK, Script};

/// A node's record as it stands in the hash.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    seen_at: u64,
    left: bool,
    info: NodeInfo,
}

/// The answer of `nodes.lua`.
type Listed = (u64, BTreeMap<String, String>, BTreeMap<String, String>, BTreeMap<String, u64>);

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| unreadable("what was to be written", &e))
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged(format!("{what} of the fleet cannot be read: {why}"))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Inner {
    async fn ask<T: FromRedisValue>(&self, script: &'static Script, args: Args) -> Result<T, StoreError> {
        let value = self.run(script, args).await?;
        T::from_redis_value(value).map_err(|e| unreadable("an answer", &e))
    }

    async fn hash(&self, key: Key<'_>) -> Result<BTreeMap<String, String>, StoreError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(self.key(key));
        self.link.query(cmd).await
    }

    /// Puts together what scripts take of a node first.
    fn about(&self, info: &NodeInfo) -> Args {
        Args::default().text(info.node.as_str()).number(self.term_ms())
    }
}

#[async_trait]
impl Fleet for ValkeyStore {
    fn term(&self) -> Option<Duration> {
        Some(self.inner.options.term)
    }

    async fn store_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let asked = Instant::now();
        let (seconds, micros): (u64, u64) = self.inner.link.query(redis::cmd("TIME")).await?;
        let time = seconds.saturating_mul(1000).saturating_add(micros / 1000);
        self.inner.set_clock.tells(asked, time);
        Ok(Some(Timestamp(time)))
    }

    async fn join(&self, info: &NodeInfo) -> Result<(), JoinError> {
        let args = self.inner.about(info).number(millis(limits::NODE_MEMORY) * 2).long(json(info)?);
        let taken: Option<(u64, String, String)> = self.inner.ask(&JOIN, args).await?;
        let Some((at, how, other)) = taken else { return Ok(()) };
        let (node, seen_at) = (info.node.clone(), Timestamp(at));
        Err(match how.as_str() {
            "newer" => JoinError::StoreNewer { store: at, own: info.format },
            "older" => JoinError::OthersOlder { node: other, own: info.format },
            "restarted" => JoinError::Restarted { node, seen_at },
            _ => JoinError::NameTaken { node, seen_at },
        })
    }

    async fn heartbeat(&self, info: &NodeInfo, leases: &[Lease]) -> Result<HeartbeatReply, StoreError> {
        let held: Vec<(String, String)> =
            leases.iter().map(|lease| (lease.agent.to_string(), lease.epoch.0.to_string())).collect();
        let args = self.inner.about(info).long(json(info)?).long(json(&held)?);
        let answer: Vec<String> = self.inner.ask(&BEAT, args).await?;
        let mut answer = answer.into_iter();
        let cordon = read_cordon(&answer.next().unwrap_or_default())?;
        let lost = answer.map(|id| id.parse().map_err(|e| unreadable("an agent's id", &e)));
        Ok(HeartbeatReply { cordon, lost: lost.collect::<Result<_, _>>()? })
    }

    async fn leave(&self, node: &NodeId) -> Result<(), StoreError> {
        self.inner.ask::<Value>(&LEAVE, Args::default().text(node.as_str())).await?;
        Ok(())
    }

    async fn peer_secret(&self) -> Result<Option<String>, StoreError> {
        // Written before anything else; see `prepare.lua`.
        let key = self.inner.key(Key::PeerSecret);
        let mut read = redis::cmd("GET");
        read.arg(&key);
        self.inner.link.query::<Option<String>>(read).await
    }

    async fn nodes(&self) -> Result<Vec<NodeState>, StoreError> {
        let (now, records, cordons, mut ends): Listed = self.inner.ask(&NODES, Args::default()).await?;
        let (term, memory) = (self.inner.term_ms(), millis(limits::NODE_MEMORY));
        let mut all = Vec::new();
        for (name, record) in records {
            let Ok(record) = serde_json::from_str::<Record>(&record) else {
                tracing::warn!(node = name, "the record of this node cannot be read; it is left out");
                continue;
            };
            let (silent, holds) = (now.saturating_sub(record.seen_at), ends.remove(&name));
            if silent > memory && holds.is_none() {
                continue;
            }
            let end = holds.unwrap_or(0).max(record.seen_at.saturating_add(term));
            let draining = record.info.draining || record.left;
            all.push(NodeState {
                info: NodeInfo { draining, ..record.info },
                seen_at: Timestamp(record.seen_at),
                alive: !record.left && silent < term,
                leases_end_at: Some(Timestamp(end)),
                cordon: cordons.get(&name).map(|text| read_cordon(text)).transpose()?.flatten(),
            });
        }
        Ok(all)
    }

    async fn cordon(
        &self,
        node: &NodeId,
        cordon: Option<Cordon>,
        fact: LogRecord,
    ) -> Result<bool, StoreError> {
        let wanted = cordon.as_ref().map(json).transpose()?.unwrap_or_default();
        let args = self.inner.logging().text(node.as_str()).long(wanted);
        let (known, newest): (u64, u64) =
            self.inner.ask(&CORDON, self.inner.with_facts(args, &[fact])?).await?;
        self.inner.announce(newest);
        Ok(known == 1)
    }

    async fn remove_node(
        &self,
        node: &NodeId,
        lost: Option<&LostNode>,
        fact: LogRecord,
    ) -> Result<NodeRemoval, StoreError> {
        let lost = lost.map(json).transpose()?.unwrap_or_default();
        let args = self.inner.logging().text(node.as_str()).number(self.inner.term_ms()).long(lost);
        let (word, at, newest): (String, u64, u64) =
            self.inner.ask(&REMOVE_NODE, self.inner.with_facts(args, &[fact])?).await?;
        self.inner.announce(newest);
        Ok(match word.as_str() {
            "done" => NodeRemoval::Done,
            "alive" => NodeRemoval::Alive(Timestamp(at)),
            "holds" => NodeRemoval::Holds(Timestamp(at)),
            _ => NodeRemoval::Unknown,
        })
    }

    async fn lost_nodes(&self) -> Result<Vec<LostNode>, StoreError> {
        let lost: BTreeMap<String, String> = self.inner.hash(Key::LostNodes).await?;
        lost.values().map(|text| read(text, "the declaration of a lost node")).collect()
    }

    async fn report_work(
        &self,
        agent: AgentId,
        report: &WorkReport,
        facts: Vec<LogRecord>,
    ) -> Result<(), StoreError> {
        let args = self.inner.logging().long(agent.to_string()).text(report.node.as_str());
        let args = self.inner.with_facts(args.long(json(report)?), &facts)?;
        let newest: u64 = self.inner.ask(&REPORT_WORK, args).await?;
        self.inner.announce(newest);
        Ok(())
    }

    async fn work_reports(&self, agent: AgentId) -> Result<Vec<WorkReport>, StoreError> {
        let reports: BTreeMap<String, String> = self.inner.hash(Key::Work(agent)).await?;
        reports.values().map(|text| read(text, "the report of kept work")).collect()
    }

    async fn lapsed(&self, limit: usize) -> Result<Vec<AgentId>, StoreError> {
        if self.inner.link.since().is_none_or(|since| since.elapsed() < self.inner.options.term) {
            return Ok(Vec::new());
        }
        let asked = Instant::now();
        let (time, ids): (u64, Vec<String>) =
            self.inner.ask(&LAPSED, Args::default().number(limit as u64)).await?;
        self.inner.set_clock.tells(asked, time);
        // This is looked at after the answer: it may be the first one with the new time, and then its own list was made
        // by a clock that ended leases early.
        if self.inner.set_clock.was_set_within(self.inner.options.term) {
            return Ok(Vec::new());
        }
        ids.iter().map(|id| id.parse().map_err(|e| unreadable("an agent's id", &e))).collect()
    }
}

fn read<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| unreadable(what, &e))
}

fn read_cordon(text: &str) -> Result<Option<Cordon>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|e| unreadable("a cordon", &e))
}
