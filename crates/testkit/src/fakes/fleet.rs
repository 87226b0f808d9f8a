//! A fleet for tests: the nodes that share one [`FakeStore`], whose leases run out by the fake clock. A node is cut off by
//! the mood of its connection to the store. Without a term there is one node, whose leases never end.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::kept_work::WorkReport;
use mosaic_core::limits;
use mosaic_core::ports::fleet::{
    Cordon, Fleet, HeartbeatReply, JoinError, LostNode, NodeInfo, NodeRemoval, NodeState,
};
use mosaic_core::ports::store::{Lease, StoreError};

use super::knobs::{elapsed, wall};
use super::store::{FakeNode, FakeStore};

/// The fleet as one node sees it.
pub struct FakeFleet(Arc<FakeStore>);

impl Default for FakeFleet {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeFleet {
    /// Makes the fleet of one.
    pub fn new() -> Self {
        Self(Arc::new(FakeStore::new()))
    }

    /// Makes the fleet of those who share a store, as the node with this connection sees it.
    pub fn of(connection: Arc<FakeStore>) -> Self {
        Self(connection)
    }

    fn is_alive(&self, node: &FakeNode) -> bool {
        !node.left && self.0.term().is_none_or(|term| elapsed() < node.seen + term)
    }

    fn state(&self, node: &FakeNode) -> NodeState {
        let ends = self.0.inner().ends_of(&node.info.node);
        NodeState {
            info: node.info.clone(),
            seen_at: node.seen_at,
            alive: self.is_alive(node),
            leases_end_at: ends.map(|at| wall().plus(at.saturating_sub(elapsed()))),
            cordon: node.cordon.clone(),
        }
    }
}

#[async_trait]
impl Fleet for FakeFleet {
    fn term(&self) -> Option<Duration> {
        self.0.term()
    }

    async fn store_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.up().await?;
        Ok(self.0.term().map(|_| wall()))
    }

    async fn join(&self, info: &NodeInfo) -> Result<(), JoinError> {
        self.0.up().await?;
        let taken = {
            let inner = self.0.inner();
            let other = inner.nodes.get(&info.node).filter(|node| node.info.instance != info.instance);
            other.filter(|node| self.is_alive(node)).map(|node| node.seen_at)
        };
        if let Some(seen_at) = taken {
            return Err(JoinError::NameTaken { node: info.node.clone(), seen_at });
        }
        self.heartbeat(info, &[]).await?;
        Ok(())
    }

    async fn heartbeat(&self, info: &NodeInfo, leases: &[Lease]) -> Result<HeartbeatReply, StoreError> {
        self.0.up().await?;
        let term = self.0.term();
        Ok(self.0.write(|inner| {
            let cordon = inner.nodes.get(&info.node).and_then(|node| node.cordon.clone());
            let node = FakeNode {
                info: info.clone(),
                seen: elapsed(),
                seen_at: wall(),
                left: false,
                cordon: cordon.clone(),
            };
            if inner.nodes.insert(info.node.clone(), node).is_none() {
                inner.lost.remove(&info.node);
            }
            let lost = leases.iter().filter(|lease| {
                assert_eq!(lease.node, info.node, "a node extends its own leases only");
                !inner.extend(lease, term)
            });
            let lost = lost.map(|lease| lease.agent).collect();
            HeartbeatReply { cordon, lost }
        }))
    }

    async fn leave(&self, node: &NodeId) -> Result<(), StoreError> {
        self.0.up().await?;
        self.0.write(|inner| {
            if let Some(node) = inner.nodes.get_mut(node) {
                node.left = true;
                node.info.draining = true;
            }
        });
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeState>, StoreError> {
        self.0.up().await?;
        let nodes: Vec<FakeNode> = self.0.inner().nodes.values().cloned().collect();
        let states = nodes.iter().filter_map(|node| {
            let state = self.state(node);
            let gone = elapsed().saturating_sub(node.seen) > limits::NODE_MEMORY;
            Some(state).filter(|state| !gone || state.leases_end_at.is_some())
        });
        Ok(states.collect())
    }

    async fn cordon(
        &self,
        node: &NodeId,
        cordon: Option<Cordon>,
        fact: LogRecord,
    ) -> Result<bool, StoreError> {
        self.0.up().await?;
        let known = self.0.write(|inner| {
            let Some(known) = inner.nodes.get_mut(node) else { return false };
            let changed = known.cordon.is_some() != cordon.is_some()
                || known.cordon.as_ref().map(|c| c.drain) != cordon.as_ref().map(|c| c.drain);
            if changed {
                known.cordon = cordon;
                inner.log(vec![fact]);
            }
            true
        });
        self.0.stir();
        Ok(known)
    }

    async fn remove_node(
        &self,
        node: &NodeId,
        lost: Option<&LostNode>,
        fact: LogRecord,
    ) -> Result<NodeRemoval, StoreError> {
        self.0.up().await?;
        let known = self.0.inner().nodes.get(node).cloned();
        match &known {
            None if lost.is_none() => return Ok(NodeRemoval::Unknown),
            Some(known) if self.is_alive(known) => return Ok(NodeRemoval::Alive(known.seen_at)),
            _ => {}
        }
        if let Some(end) = self.0.inner().ends_of(node) {
            return Ok(NodeRemoval::Holds(wall().plus(end.saturating_sub(elapsed()))));
        }
        self.0.write(|inner| {
            inner.nodes.remove(node);
            if let Some(lost) = lost {
                inner.lost.insert(node.clone(), lost.clone());
            }
            inner.log(vec![fact]);
        });
        Ok(NodeRemoval::Done)
    }

    async fn lost_nodes(&self) -> Result<Vec<LostNode>, StoreError> {
        self.0.up().await?;
        Ok(self.0.inner().lost.values().cloned().collect())
    }

    async fn report_work(
        &self,
        agent: AgentId,
        report: &WorkReport,
        facts: Vec<LogRecord>,
    ) -> Result<(), StoreError> {
        self.0.up().await?;
        self.0.write(|inner| {
            let key = (agent, report.node.clone());
            if inner.has(agent) && inner.work.insert(key, report.clone()).as_ref() != Some(report) {
                inner.log(facts);
            }
        });
        Ok(())
    }

    async fn work_reports(&self, agent: AgentId) -> Result<Vec<WorkReport>, StoreError> {
        self.0.up().await?;
        let inner = self.0.inner();
        Ok(inner.work.iter().filter(|((of, _), _)| *of == agent).map(|(_, report)| report.clone()).collect())
    }

    async fn lapsed(&self, limit: usize) -> Result<Vec<AgentId>, StoreError> {
        self.0.up().await?;
        let Some(term) = self.0.term() else { return Ok(Vec::new()) };
        if elapsed() < self.0.connected() + term {
            return Ok(Vec::new());
        }
        Ok(self.0.inner().lapsed().into_iter().take(limit).collect())
    }
}
