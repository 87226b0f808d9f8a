//! The fleet of one: a node on a store that no other machine can reach. Its leases never run out, because nobody else
//! could take what it holds.

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::fleet::{
    Cordon, Fleet, HeartbeatReply, JoinError, LostNode, NodeInfo, NodeRemoval, NodeState,
};
use mosaic_core::ports::store::{Lease, StoreError};
use parking_lot::Mutex;

/// The only node. Cordons hold until the process ends.
#[derive(Debug, Default)]
pub struct SoleNode {
    state: Mutex<Option<NodeState>>,
}

impl SoleNode {
    /// Makes a fleet that nobody has joined yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Option<NodeState>) -> T) -> T {
        work(&mut self.state.lock())
    }
}

#[async_trait]
impl Fleet for SoleNode {
    fn term(&self) -> Option<std::time::Duration> {
        None
    }

    async fn join(&self, info: &NodeInfo) -> Result<(), JoinError> {
        self.heartbeat(info, &[]).await?;
        Ok(())
    }

    async fn heartbeat(&self, info: &NodeInfo, _: &[Lease]) -> Result<HeartbeatReply, StoreError> {
        Ok(self.with(|state| {
            let cordon = state.as_ref().and_then(|state| state.cordon.clone());
            *state = Some(NodeState {
                info: info.clone(),
                seen_at: Timestamp::from(std::time::SystemTime::now()),
                alive: true,
                leases_end_at: None,
                cordon: cordon.clone(),
            });
            HeartbeatReply { cordon, lost: Vec::new() }
        }))
    }

    async fn leave(&self, _: &NodeId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeState>, StoreError> {
        Ok(self.with(|state| state.iter().cloned().collect()))
    }

    async fn cordon(&self, node: &NodeId, cordon: Option<Cordon>, _: LogRecord) -> Result<bool, StoreError> {
        Ok(self.with(|state| match state {
            Some(state) if state.info.node == *node => {
                state.cordon = cordon;
                true
            }
            _ => false,
        }))
    }

    async fn remove_node(
        &self,
        node: &NodeId,
        _: Option<&LostNode>,
        _: LogRecord,
    ) -> Result<NodeRemoval, StoreError> {
        Ok(self.with(|state| match state {
            Some(state) if state.info.node == *node => NodeRemoval::Alive(state.seen_at),
            _ => NodeRemoval::Unknown,
        }))
    }

    async fn lapsed(&self, _: usize) -> Result<Vec<AgentId>, StoreError> {
        Ok(Vec::new())
    }
}
