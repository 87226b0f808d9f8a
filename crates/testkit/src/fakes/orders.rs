//! Standing orders of a state directory, in memory.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::orders::{Barrier, Latch};
use mosaic_core::ports::orders::{Filed, OrderFiles};
use parking_lot::Mutex;

use super::world::Part;

#[async_trait]
impl OrderFiles for Part {
    async fn read(&self) -> Filed {
        self.0.disk().await;
        self.0.filed().clone()
    }
    async fn write_barrier(&self, barrier: &Barrier) -> std::io::Result<()> {
        self.0.disk().await;
        self.written(|filed| filed.orders.raise_placed(barrier.clone()))
    }
    async fn write_latch(&self, latch: Option<&Latch>) -> std::io::Result<()> {
        self.0.disk().await;
        self.written(|filed| {
            let stands = filed.orders.latch.take().filter(|_| latch.is_some());
            filed.orders.latch = stands.or(latch.cloned());
        })
    }
    async fn forget_kill(&self, agent: AgentId) -> std::io::Result<()> {
        self.0.disk().await;
        self.written(|filed| filed.kills.retain(|kill| kill.agent != agent))
    }
    fn stop_path(&self) -> String {
        "/nonexistent/STOP".to_owned()
    }
}

impl Part {
    fn written(&self, write: impl FnOnce(&mut Filed)) -> std::io::Result<()> {
        if self.0.no_files.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        write(&mut self.0.filed());
        Ok(())
    }
}

/// The state directory's copy of the standing orders, on a disk that always works.
#[derive(Default)]
pub struct MemoryOrders(pub Mutex<Filed>);

#[async_trait]
impl OrderFiles for MemoryOrders {
    async fn read(&self) -> Filed {
        self.0.lock().clone()
    }
    async fn write_barrier(&self, barrier: &Barrier) -> std::io::Result<()> {
        self.0.lock().orders.raise_placed(barrier.clone());
        Ok(())
    }
    async fn write_latch(&self, latch: Option<&Latch>) -> std::io::Result<()> {
        self.0.lock().orders.latch = latch.cloned();
        Ok(())
    }
    async fn forget_kill(&self, agent: AgentId) -> std::io::Result<()> {
        self.0.lock().kills.retain(|kill| kill.agent != agent);
        Ok(())
    }
    fn stop_path(&self) -> String {
        "/var/lib/mosaic/STOP".to_owned()
    }
}
