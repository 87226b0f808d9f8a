//! A story in a world of fakes: an engine, what it is asked, and waiting for what must come of it.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::journal::Entry;
use mosaic_core::engine;
use mosaic_core::ports::store::Versioned;
use mosaic_core::settings::Settings;
use mosaic_core::stop::Stop;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fakes::backing::Backing;
use crate::fakes::world::{Behaviour, FakeWorld};

/// Far longer than any story takes; only a fault reaches it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One orchestrator in a world, with its engine once it was begun.
pub struct Story {
    /// The world.
    pub world: Arc<FakeWorld>,
    /// The orchestrator.
    pub o: Arc<Orchestrator>,
    /// Order to the engine.
    pub stop: watch::Sender<Stop>,
    engine: Option<JoinHandle<()>>,
}

impl Story {
    /// Makes an orchestrator whose engine does not run yet.
    pub fn prepare(
        backing: impl Into<Backing>,
        slots: usize,
        behaviour: Behaviour,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let (world, o) = FakeWorld::orchestrator_with(backing, slots, behaviour, change);
        Self { world, o, stop: watch::Sender::new(Stop::No), engine: None }
    }

    /// Makes an orchestrator and runs its engine.
    pub fn begin(
        backing: impl Into<Backing>,
        slots: usize,
        behaviour: Behaviour,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut story = Self::prepare(backing, slots, behaviour, change);
        story.run();
        story
    }

    /// Runs the engine.
    pub fn run(&mut self) {
        self.engine = Some(tokio::spawn(engine::run(Arc::clone(&self.o), self.stop.subscribe())));
    }

    /// Spawns an agent for this task on this repository; returns its id.
    pub async fn spawn(&self, task: &str, repository: &str, retries: u32) -> AgentId {
        self.admit(task, repository, Some(retries)).await
    }

    /// Spawns an agent for this task on the usual repository, with the default number of retries.
    pub async fn spawn_usual(&self, task: &str) -> AgentId {
        self.admit(task, "https://git.example.com/r.git", None).await
    }

    async fn admit(&self, task: &str, repository: &str, retries: Option<u32>) -> AgentId {
        let mut body = json!({"taskId": task, "agentType": "worker", "gateProfile": "minimal",
            "context": {"repository": repository, "branch": "main", "workItems": ["x"]}});
        if let Some(retries) = retries {
            body["maxRetries"] = json!(retries);
        }
        self.o.spawn(&body, None).await.expect("admitted").record.agent.id
    }

    /// Waits until the record is as wanted; the store's log tells when to look.
    pub async fn until(&self, id: AgentId, wanted: impl Fn(&Versioned) -> bool) -> Versioned {
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
    pub async fn soon<T>(&self, look: impl AsyncFn() -> Option<T>) -> T {
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
    pub async fn log(&self) -> Vec<Entry> {
        self.o.ports().store.entries(0, 1000).await.expect("the log is read")
    }

    /// Ends the engine at once.
    pub async fn end(self) {
        self.end_by(Stop::Now).await;
    }

    /// Ends the engine by this order.
    pub async fn end_by(mut self, how: Stop) {
        self.stop.send_replace(how);
        if let Some(engine) = self.engine.take() {
            tokio::time::timeout(PATIENCE, engine).await.expect("the engine ends").expect("without a panic");
        }
    }
}
