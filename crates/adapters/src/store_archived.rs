//! The shared store with the archives around it: what ended some time ago lies whole in the archive of the node where it ran,
//! and in the shared store in its short form. Whoever asks for a record gets the whole one, from whatever node has it.
//!
//! Invariant: the archive has a record before the shared store loses it, and the shared store's word on a record
//! stands above the archive's: a row that the shared store knows nothing of, or has whole, is old.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use mosaic_core::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::orders::StandingOrders;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::ports::archive::ArchivePeers;
use mosaic_core::ports::store::{
    Admission, Admitted, ArchiveError, Change, Counts, Damaged, EndedAfter, Lease, Moving, OrderChange,
    Pause, Query, Removal, Store, StoreError, Versioned,
};
use tokio::sync::watch;

use crate::store_sqlite::SqliteStore;
use crate::store_valkey::ValkeyStore;

/// The shared store, this node's archive, and the way to the others'.
pub struct ArchivedStore {
    shared: Arc<ValkeyStore>,
    archive: Arc<SqliteStore>,
    peers: Arc<dyn ArchivePeers>,
    node: NodeId,
}

impl ArchivedStore {
    /// Puts them together.
    pub fn new(
        shared: Arc<ValkeyStore>,
        archive: Arc<SqliteStore>,
        peers: Arc<dyn ArchivePeers>,
        node: NodeId,
    ) -> Self {
        Self { shared, archive, peers, node }
    }

    async fn read(&self, node: &NodeId, agents: &[AgentId]) -> Result<Vec<Versioned>, ArchiveError> {
        if *node == self.node {
            return Ok(self.archive.kept(agents).await?);
        }
        self.peers.read(node, agents).await
    }

    /// Reads the whole records of short forms, from all nodes at once. Returns them with why the others could not be read.
    async fn read_all(
        &self,
        records: &[Versioned],
    ) -> (HashMap<AgentId, Versioned>, BTreeMap<NodeId, ArchiveError>) {
        let mut by_node: BTreeMap<&NodeId, Vec<AgentId>> = BTreeMap::new();
        for record in records {
            if let Some(node) = &record.short {
                by_node.entry(node).or_default().push(record.agent.id);
            }
        }
        let answers = join_all(by_node.iter().map(|(node, agents)| self.read(node, agents))).await;
        let (mut found, mut away) = (HashMap::new(), BTreeMap::new());
        for (node, answer) in by_node.keys().zip(answers) {
            match answer {
                Ok(read) => found.extend(read.into_iter().map(|record| (record.agent.id, record))),
                Err(why) => drop(away.insert((*node).clone(), why)),
            }
        }
        (found, away)
    }

    /// Replaces a short form by the record that was read for it, when that is the same version.
    fn completed(short: Versioned, found: &mut HashMap<AgentId, Versioned>) -> Versioned {
        match found.remove(&short.agent.id) {
            Some(read) if short.short.is_some() && read.version == short.version => {
                Versioned { seq: short.seq, short: None, ..read }
            }
            _ => short,
        }
    }

    /// Tells whether the shared store still has a record in its short form whose whole is here. What it removed, or what
    /// another node archived, is deleted.
    async fn is_current(&self, record: &Versioned) -> Result<bool, StoreError> {
        let id = record.agent.id;
        match self.shared.glance(id).await {
            Ok(now) if now.short.as_ref() == Some(&self.node) => Ok(true),
            Ok(now) if now.short.is_none() => Ok(false),
            Ok(_) | Err(StoreError::Pruned { .. }) => {
                self.archive.forget_kept(&[id]).await?;
                Ok(false)
            }
            // A store that lost it, or cannot read it: the archive may be the only one that has it.
            Err(StoreError::NotFound(_) | StoreError::Quarantined(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

#[async_trait]
impl Store for ArchivedStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        Ok(match self.shared.admit(admission).await? {
            Admitted::Replay(first) => Admitted::Replay(self.whole(vec![first]).await?.remove(0)),
            new @ Admitted::New(_) => new,
        })
    }

    async fn lease_within(
        &self,
        node: &NodeId,
        now: Timestamp,
        conditions: &Conditions,
    ) -> Result<Option<(Lease, Versioned)>, StoreError> {
        self.shared.lease_within(node, now, conditions).await
    }

    async fn take_over(&self, agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError> {
        self.shared.take_over(agent, node).await
    }

    async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError> {
        self.shared.advance(lease, change).await
    }

    async fn amend(&self, changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        self.shared.amend(changes).await
    }

    async fn get(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        let record = self.shared.glance(agent).await?;
        let Some(node) = record.short.clone() else { return Ok(record) };
        let records = [record];
        let (mut found, away) = self.read_all(&records).await;
        let [record] = records.map(|record| Self::completed(record, &mut found));
        if record.short.is_none() {
            return Ok(record);
        }
        // It may have become whole, or gone, while its archive was asked.
        let now = self.shared.glance(agent).await?;
        if now.short.is_none() {
            return Ok(now);
        }
        let why = away
            .get(&node)
            .map(ToString::to_string)
            .unwrap_or_else(|| "its archive does not have it".to_owned());
        Err(StoreError::ArchiveAway { agent, node, why })
    }

    async fn glance(&self, agent: AgentId) -> Result<Versioned, StoreError> {
        self.shared.glance(agent).await
    }

    async fn whole(&self, records: Vec<Versioned>) -> Result<Vec<Versioned>, StoreError> {
        if records.iter().all(|record| record.short.is_none()) {
            return Ok(records);
        }
        let (mut found, away) = self.read_all(&records).await;
        for (node, why) in away {
            tracing::info!(node = %node, why = %why, "an archive could not be read; its records are shown in their short form");
        }
        Ok(records.into_iter().map(|record| Self::completed(record, &mut found)).collect())
    }

    async fn archive_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.archive.size().await?.bytes)
    }

    async fn archived(&self, agents: &[AgentId]) -> Result<Vec<Versioned>, StoreError> {
        self.archive.kept(agents).await
    }

    async fn archived_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.archive.count_before(before).await
    }

    async fn archived_elsewhere(
        &self,
        before: Timestamp,
    ) -> Result<BTreeMap<NodeId, Result<u64, ArchiveError>>, StoreError> {
        Ok(self.peers.ended_before(before).await)
    }

    async fn movable(
        &self,
        node: &NodeId,
        before: Timestamp,
        unplaced: bool,
        limit: usize,
    ) -> Result<Vec<Moving>, StoreError> {
        self.shared.movable(node, before, unplaced, limit).await
    }

    async fn archive(&self, records: &[Moving]) -> Result<(), StoreError> {
        self.archive.keep(records).await
    }

    async fn shorten(
        &self,
        records: &[Moving],
        node: &NodeId,
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.shared.shorten(records, node).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Versioned>, StoreError> {
        self.shared.list(query).await
    }

    async fn waiting(&self, offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError> {
        self.shared.waiting(offset, limit, now).await
    }

    async fn position(&self, agent: AgentId) -> Result<Option<u64>, StoreError> {
        self.shared.position(agent).await
    }

    async fn leased(&self) -> Result<Vec<Versioned>, StoreError> {
        self.shared.leased().await
    }

    async fn leased_of(
        &self,
        repositories: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, usize>, StoreError> {
        self.shared.leased_of(repositories).await
    }

    async fn of_task(&self, task: &TaskId) -> Result<Vec<Versioned>, StoreError> {
        self.shared.of_task(task).await
    }

    async fn counts(&self, now: Timestamp) -> Result<Counts, StoreError> {
        self.shared.counts(now).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.shared.next_due().await
    }

    async fn set_pause(&self, pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError> {
        self.shared.set_pause(pause, fact).await
    }

    async fn pause(&self) -> Result<Option<Pause>, StoreError> {
        self.shared.pause().await
    }

    async fn set_orders(
        &self,
        change: OrderChange,
        facts: Vec<LogRecord>,
    ) -> Result<StandingOrders, StoreError> {
        self.shared.set_orders(change, facts).await
    }

    async fn orders(&self) -> Result<StandingOrders, StoreError> {
        self.shared.orders().await
    }

    async fn log(&self, facts: Vec<LogRecord>) -> Result<(), StoreError> {
        self.shared.log(facts).await
    }

    async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.shared.entries(after, limit).await
    }

    fn newest(&self) -> watch::Receiver<u64> {
        self.shared.newest()
    }

    async fn remove(&self, removal: Removal) -> Result<(), StoreError> {
        let agent = removal.agent;
        self.shared.remove(removal).await?;
        // What stays of it now is found by retention, and deleted then.
        if let Err(e) = self.archive.forget_kept(&[agent]).await {
            tracing::warn!(agent.id = %agent, error = %e, "a removed record is still in the archive; it is deleted later");
        }
        Ok(())
    }

    /// Those of the shared store that are whole, and those of this node's archive: where others' lie is for the others.
    async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        let mut found = self.shared.settled(before, after, limit).await?;
        let kept = self.archive.kept_before(before, after, limit).await?;
        let current = join_all(kept.iter().map(|record| self.is_current(record))).await;
        for (record, current) in kept.into_iter().zip(current) {
            if current? {
                found.push(record);
            }
        }
        found.sort_by_key(Versioned::ended_after);
        found.truncate(limit);
        Ok(found)
    }

    async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError> {
        self.shared.prune_events(before, most).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.shared.check().await
    }

    async fn damaged(&self) -> Result<Vec<Damaged>, StoreError> {
        let mut all = self.shared.damaged().await?;
        all.extend(self.archive.damaged().await?);
        Ok(all)
    }
}
