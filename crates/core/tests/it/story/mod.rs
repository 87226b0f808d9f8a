//! A story in a world of fakes: an engine, what it is asked, and waiting for what must come of it.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::journal::Entry;
use mosaic_core::engine;
use mosaic_core::orchestrator::Settings;
use mosaic_core::ports::store::{Store, Versioned};
use mosaic_core::stop::Stop;
use mosaic_testkit::fake_world::{Behaviour, FakeWorld};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Far longer than any story takes; only a fault reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Story {
    pub(crate) world: Arc<FakeWorld>,
    pub(crate) o: Arc<Orchestrator>,
    stop: watch::Sender<Stop>,
    engine: Option<JoinHandle<()>>,
}

impl Story {
    pub(crate) fn begin(
        store: Arc<dyn Store>,
        slots: usize,
        behaviour: Behaviour,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let (world, o) = FakeWorld::orchestrator_with(store, slots, behaviour, change);
        let mut story = Self { world, o, stop: watch::Sender::new(Stop::No), engine: None };
        story.engine = Some(tokio::spawn(engine::run(Arc::clone(&story.o), story.stop.subscribe())));
        story
    }

    pub(crate) async fn spawn(&self, task: &str, repository: &str, retries: u32) -> AgentId {
        let body = json!({"taskId": task, "agentType": "worker", "gateProfile": "minimal", "maxRetries": retries,
            "context": {"repository": repository, "branch": "main", "workItems": ["x"]}});
        self.o.spawn(&body, None).await.expect("admitted").record.agent.id
    }

    /// Waits until the record is as wanted; the store's log tells when to look.
    pub(crate) async fn until(&self, id: AgentId, wanted: impl Fn(&Versioned) -> bool) -> Versioned {
        let mut newest = self.o.ports().store.newest();
        let look = async {
            loop {
                let record = self.o.agent(id).await.expect("it is there");
                if wanted(&record) {
                    return record;
                }
                newest.changed().await.expect("the store lives");
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("it never came to that")
    }

    /// Waits until something that no event tells is so.
    pub(crate) async fn soon<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
        let again = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, again).await.expect("it never came to that")
    }

    /// Returns what was logged, in order.
    pub(crate) async fn log(&self) -> Vec<Entry> {
        self.o.ports().store.entries(0, 1000).await.expect("the log is read")
    }

    pub(crate) async fn end(mut self) {
        self.stop.send_replace(Stop::Now);
        if let Some(engine) = self.engine.take() {
            tokio::time::timeout(PATIENCE, engine).await.expect("the engine ends").expect("without a panic");
        }
    }
}
