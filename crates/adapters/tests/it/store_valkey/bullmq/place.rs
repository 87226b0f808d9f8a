//! A part of one server, seen from three sides: our store, our bare queue, and the official client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use mosaic_adapters::store_valkey::{LinkOptions, ValkeyOptions, ValkeyStore};
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use mosaic_testkit::bare_queue::Queue;
use mosaic_testkit::node_oracle::{NodeOracle, packages};
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::{Value, json};

/// Far longer than anything takes; only a fault reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One server for all tests of this program; each has a prefix of its own.
static SERVER: OnceLock<Option<Mutex<ValkeyServer>>> = OnceLock::new();

pub(crate) struct Place {
    pub(crate) node: NodeOracle,
    prefix: String,
    port: u16,
}

impl Place {
    /// `None` when the server or the official client is missing here.
    pub(crate) async fn new() -> Option<Self> {
        Self::with_queue("orchestrator-tasks").await
    }

    pub(crate) async fn with_queue(queue: &str) -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let packages = packages()?;
        let server = SERVER.get_or_init(|| ValkeyServer::start().map(Mutex::new)).as_ref()?;
        let port = server.lock().expect("no test broke it").port();
        let prefix = format!("{{b{}}}", NEXT.fetch_add(1, Ordering::Relaxed));
        let node = NodeOracle::start(&packages, port, &format!("{prefix}:bull"), queue);
        node.ask("listen", json!({})).await;
        Some(Self { node, prefix, port })
    }

    fn link(&self) -> LinkOptions {
        LinkOptions {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            prefix: self.prefix.clone(),
            ..LinkOptions::default()
        }
    }

    pub(crate) async fn store(&self) -> Arc<ValkeyStore> {
        let options = ValkeyOptions { link: self.link(), ..ValkeyOptions::default() };
        Arc::new(ValkeyStore::connect(options).await.expect("connected"))
    }

    pub(crate) async fn queue(&self, name: &str) -> Queue {
        Queue::connect(self.port, &self.prefix, name).await.expect("connected")
    }

    pub(crate) async fn add(&self, data: Value, options: Value) -> String {
        let id = self.node.ask("add", json!({"name": "spawn", "data": data, "options": options})).await;
        id.as_str().expect("an id").to_owned()
    }

    /// Sends the server one command about a key of the queue.
    pub(crate) fn raw(&self, verb: &str, key: &str) -> String {
        let server = SERVER.get().and_then(Option::as_ref).expect("it was started");
        let command = format!("{verb} {}:bull:orchestrator-tasks:{key}", self.prefix);
        server.lock().expect("no test broke it").ask(&command).expect("the server answers")
    }

    /// Sends the server one command about a key of ours.
    pub(crate) fn raw_ours(&self, verb: &str, key: &str) -> String {
        let server = SERVER.get().and_then(Option::as_ref).expect("it was started");
        let command = format!("{verb} {}:orchestrator:{key}", self.prefix);
        server.lock().expect("no test broke it").ask(&command).expect("the server answers")
    }

    pub(crate) async fn job(&self, id: &str) -> Value {
        self.node.ask("job", json!({"id": id})).await
    }

    /// Calls a method of the official job.
    pub(crate) async fn tell(&self, id: &str, method: &str, args: Value) {
        self.node.ask("jobCall", json!({"id": id, "method": method, "args": args})).await;
    }

    /// Calls a method of the official queue.
    pub(crate) async fn tell_queue(&self, method: &str, args: Value) -> Value {
        self.node.ask("queueCall", json!({"method": method, "args": args})).await
    }

    pub(crate) async fn seen(&self, event: Value, jobs: &[&str]) {
        self.node.ask("await", json!({"event": event, "jobs": jobs})).await;
    }

    /// Returns what the official client saw happen to a job, in order.
    pub(crate) async fn history(&self, job: &str) -> Vec<String> {
        let seen = self.node.ask("seen", json!({})).await;
        let of_job = seen.as_array().expect("a list").iter().filter(|one| one["jobId"] == job);
        of_job.map(|one| one["event"].as_str().expect("a word").to_owned()).collect()
    }
}

/// The body of a spawn.
pub(crate) fn body(task: &str) -> Value {
    json!({"taskId": task, "agentType": "worker", "gateProfile": "minimal",
        "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["x"]}})
}

/// Waits until the store lists something of this kind.
pub(crate) async fn listed<T>(store: &dyn ExternalQueue, wanted: impl Fn(&ExternalChange) -> Option<T>) -> T {
    let look = async {
        loop {
            let found = store.external_changes(100).await.expect("listed");
            if let Some(found) = found.iter().find_map(&wanted) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it was never listed")
}
