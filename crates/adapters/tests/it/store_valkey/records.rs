//! The shared store passes the conformance suite of the store port, on a real server that the test starts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use mosaic_adapters::store_valkey::{LinkOptions, TimeSource, ValkeyOptions, ValkeyStore};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use mosaic_core::ports::store::{Query, Store};
use mosaic_testkit::store_suite::Bench;
use mosaic_testkit::store_suite::sample::{T0, admit, agent_from, ids};
use mosaic_testkit::valkey_server::ValkeyServer;

/// One server for all tests of this program; each has a prefix of its own.
static SERVER: OnceLock<Option<Mutex<ValkeyServer>>> = OnceLock::new();

fn server() -> Option<&'static Mutex<ValkeyServer>> {
    SERVER.get_or_init(|| ValkeyServer::start().map(Mutex::new)).as_ref()
}

/// A part of the server that no other test uses.
struct Prefixed(String);

impl Prefixed {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(format!("{{t{}}}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    async fn open(&self, queue_entries: u64) -> Arc<ValkeyStore> {
        let port = server().unwrap().lock().unwrap().port();
        let link = LinkOptions {
            host: "127.0.0.1".to_owned(),
            port,
            prefix: self.0.clone(),
            ..LinkOptions::default()
        };
        let options =
            ValkeyOptions { link, queue_entries, time: TimeSource::Caller, ..ValkeyOptions::default() };
        Arc::new(ValkeyStore::connect(options).await.unwrap())
    }
}

#[async_trait]
impl Bench for Prefixed {
    async fn make(&self, queue_entries: u64) -> Arc<dyn Store> {
        self.open(queue_entries).await
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        drop(store);
        Some(self.open(limits::QUEUE_ENTRIES).await)
    }

    async fn lapse(&self, agent: AgentId) {
        let lock = format!("DEL {}:bull:orchestrator-tasks:{agent}:lock", self.0);
        assert_eq!(server().unwrap().lock().unwrap().ask(&lock).unwrap(), ":1");
    }
}

mosaic_testkit::store_suite!(Prefixed::new(), if server().is_some());

/// Sends a command to the server; `P` stands for the prefix of the test.
fn tell(place: &Prefixed, command: &str) -> String {
    let command = command.replace("P:", &format!("{}:", place.0));
    server().unwrap().lock().unwrap().ask_all(&command).unwrap()
}

#[tokio::test]
async fn a_burst_of_other_producers_is_found_although_no_event_tells_of_it() {
    if server().is_none() {
        return;
    }
    const JOBS: usize = 1500;
    let place = Prefixed::new();
    let store = place.open(limits::QUEUE_ENTRIES).await;
    for n in 0..JOBS {
        tell(
            &place,
            &format!("HSET P:bull:orchestrator-tasks:j{n} name other data {{}} opts {{}} timestamp 1"),
        );
        tell(&place, &format!("LPUSH P:bull:orchestrator-tasks:wait j{n}"));
    }
    let (mut taken, mut turns) = (0, 0);
    while taken < JOBS && turns < 3 {
        // The next look through the lists is due.
        tell(&place, "DEL P:orchestrator:others:turn");
        turns += 1;
        loop {
            let found = store.external_changes(200).await.unwrap();
            for one in &found {
                let ExternalChange::Submitted(submission) = one else { panic!("{one:?}") };
                assert!(store.refuse(&submission.job, "not here", Timestamp(2)).await.unwrap());
            }
            taken += found.len();
            if found.is_empty() {
                break;
            }
        }
    }
    assert_eq!((taken, turns), (JOBS, 1), "one look finds a burst");
}

#[tokio::test]
async fn records_that_are_not_in_the_index_are_found_all_the_same() {
    if server().is_none() {
        return;
    }
    let place = Prefixed::new();
    let store = place.open(limits::QUEUE_ENTRIES).await;
    let label = Some(("team".to_owned(), "core".to_owned()));
    let query = Query { label, limit: 10, ..Query::default() };
    let mut expected = Vec::new();
    for n in 0..6 {
        if n == 3 {
            // What was admitted before the index was made.
            tell(&place, "DEL P:orchestrator:index:0");
            tell(&place, "DEL P:orchestrator:ids:0");
        }
        let team = if n % 2 == 0 { "core" } else { "web" };
        let one = agent_from(serde_json::json!({"taskId": format!("t{n}"), "labels": {"team": team}}), T0);
        admit(&*store, &one).await;
        if team == "core" {
            expected.insert(0, one.id);
        }
    }
    assert_eq!(ids(&store.list(query.clone()).await.unwrap()), expected);
    let status = vec![mosaic_core::domain::agent::Status::Spawning];
    assert_eq!(ids(&store.list(Query { status, ..query.clone() }).await.unwrap()), expected);
    let page = store.list(Query { limit: 1, ..query.clone() }).await.unwrap();
    let rest = store.list(Query { before_seq: Some(page[0].seq), ..query }).await.unwrap();
    assert_eq!(ids(&rest), expected[1..]);
}

/// The same with an archive around it, as a node of a fleet uses it.
mod archived {
    use std::collections::BTreeMap;

    use mosaic_adapters::store_archived::ArchivedStore;
    use mosaic_adapters::store_sqlite::SqliteStore;
    use mosaic_core::domain::agent::Status;
    use mosaic_core::domain::ids::NodeId;
    use mosaic_core::domain::outcome::EndReason;
    use mosaic_core::ports::archive::ArchivePeers;
    use mosaic_core::ports::store::{ArchiveError, EndedAfter, StoreError, Versioned};
    use mosaic_testkit::store_suite::sample::*;
    use tempfile::TempDir;

    use super::*;

    /// The archives of other nodes, as far as they are there.
    #[derive(Default)]
    struct Peers(Mutex<BTreeMap<NodeId, Arc<SqliteStore>>>);

    #[async_trait]
    impl ArchivePeers for Peers {
        async fn read(&self, node: &NodeId, agents: &[AgentId]) -> Result<Vec<Versioned>, ArchiveError> {
            let there = self.0.lock().unwrap().get(node).cloned();
            Ok(there.ok_or_else(|| ArchiveError::peer("it is gone"))?.kept(agents).await?)
        }

        async fn ended_before(&self, before: Timestamp) -> BTreeMap<NodeId, Result<u64, ArchiveError>> {
            let archives = self.0.lock().unwrap().clone();
            let mut counts = BTreeMap::new();
            for (node, archive) in archives {
                counts.insert(node, archive.count_before(before).await.map_err(ArchiveError::from));
            }
            counts
        }
    }

    struct Archived(Prefixed, Mutex<Option<TempDir>>);

    impl Archived {
        fn new() -> Self {
            Self(Prefixed::new(), Mutex::default())
        }

        async fn open(&self, queue_entries: u64) -> Arc<dyn Store> {
            let dir = self.1.lock().unwrap().as_ref().unwrap().path().to_owned();
            let archive = Arc::new(SqliteStore::open(&dir).unwrap());
            let shared = self.0.open(queue_entries).await;
            Arc::new(ArchivedStore::new(shared, archive, Arc::new(Peers::default()), node("n1")))
        }
    }

    #[async_trait]
    impl Bench for Archived {
        async fn make(&self, queue_entries: u64) -> Arc<dyn Store> {
            *self.1.lock().unwrap() = Some(tempfile::tempdir().unwrap());
            self.open(queue_entries).await
        }

        async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
            drop(store);
            Some(self.open(limits::QUEUE_ENTRIES).await)
        }

        async fn lapse(&self, agent: AgentId) {
            self.0.lapse(agent).await;
        }
    }

    mosaic_testkit::store_suite!(Archived::new(), if server().is_some());

    /// A node of a fleet with its archive.
    async fn node_of(place: &Prefixed, peers: &Arc<Peers>, name: &str, dir: &TempDir) -> Arc<dyn Store> {
        let archive = Arc::new(SqliteStore::open(dir.path()).unwrap());
        peers.0.lock().unwrap().insert(node(name), Arc::clone(&archive));
        let shared = place.open(limits::QUEUE_ENTRIES).await;
        Arc::new(ArchivedStore::new(shared, archive, peers.clone(), node(name)))
    }

    /// Ends an agent on this node, and moves its record there.
    async fn ended_on(store: &dyn Store, name: &str, task: &str) -> Versioned {
        admit(store, &agent(task, T0)).await;
        let (held, record) = store.lease(&node(name), at(1)).await.unwrap().unwrap();
        let end = settled(working(record.agent, at(2)), Status::Failed, EndReason::Timeout, at(3));
        store.advance(&held, change(end, "x", at(3))).await.unwrap();
        let record = store.get(held.agent).await.unwrap();
        let found = store.movable(&node(name), at(99), false, 100).await.unwrap();
        assert_eq!(found.len(), 1, "only what ran there is moved there");
        store.archive(&found).await.unwrap();
        store.shorten(&found, &node(name)).await.unwrap().remove(0).unwrap();
        record
    }

    #[tokio::test]
    async fn a_record_is_read_from_the_node_that_archived_it_and_is_short_while_that_is_away() {
        if server().is_none() {
            return;
        }
        let (place, peers) = (Prefixed::new(), Arc::new(Peers::default()));
        let (dir_1, dir_2) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = node_of(&place, &peers, "n1", &dir_1).await;
        let two = node_of(&place, &peers, "n2", &dir_2).await;
        let record = ended_on(&*one, "n1", "t1").await;
        let id = record.agent.id;
        assert_eq!(two.get(id).await.unwrap(), record);
        assert!(
            two.settled(at(99), EndedAfter::default(), 10).await.unwrap().is_empty(),
            "it is not theirs to remove"
        );
        let counted = two.archived_elsewhere(at(99)).await.unwrap();
        assert!(matches!(counted.get(&node("n1")), Some(Ok(1))), "nor is it left out of what is counted");
        assert!(matches!(two.archived_elsewhere(at(3)).await.unwrap().get(&node("n1")), Some(Ok(0))));
        let own = (one.archived_before(at(99)).await.unwrap(), two.archived_before(at(99)).await.unwrap());
        assert_eq!(own, (1, 0));

        let gone = peers.0.lock().unwrap().remove(&node("n1"));
        let refused = two.get(id).await;
        assert!(
            matches!(&refused, Err(StoreError::ArchiveAway { node, .. }) if node.as_str() == "n1"),
            "{refused:?}"
        );
        let listed = two.list(Query { limit: 10, ..Query::default() }).await.unwrap();
        let short = two.whole(listed).await.unwrap().remove(0);
        assert_eq!(short.short, Some(node("n1")));
        assert_eq!(
            (short.agent.end(), &short.agent.spec.task_id),
            (record.agent.end(), &record.agent.spec.task_id)
        );
        // Nothing that is made of a short form is taken for the record.
        let mut warned = short.agent.clone();
        warned.warn("one");
        let still = two.glance(id).await.unwrap();
        assert_eq!(still.version, record.version);

        peers.0.lock().unwrap().extend(gone.map(|archive| (node("n1"), archive)));
        assert_eq!(two.get(id).await.unwrap(), record);
    }

    #[tokio::test]
    async fn both_published_keys_of_an_archived_task_take_less_than_a_kilobyte_and_say_what_the_contract_says()
     {
        if server().is_none() {
            return;
        }
        let (place, peers) = (Prefixed::new(), Arc::new(Peers::default()));
        let dir = tempfile::tempdir().unwrap();
        let store = node_of(&place, &peers, "n1", &dir).await;
        let record = ended_on(&*store, "n1", "t1").await;
        let ask = |line: String| {
            let answer = server().unwrap().lock().unwrap().ask_all(&line);
            answer.unwrap()
        };
        let agent = ask(format!("GET {}:orchestrator:agent:{}", place.0, record.agent.id));
        let task = ask(format!("GET {}:orchestrator:task:t1", place.0));
        assert!(agent.len() + task.len() < 1024, "{agent}\n{task}");
        let read = |text: &str| {
            serde_json::from_str::<serde_json::Value>(text[text.find("\n{").unwrap()..].trim()).unwrap()
        };
        let (agent, task) = (read(&agent), read(&task));
        let id = record.agent.id.to_string();
        assert_eq!(
            (&agent["agentId"], &agent["taskId"], &agent["status"]),
            (&id.clone().into(), &"t1".into(), &"failed".into())
        );
        assert_eq!(agent["completedAt"], at(3).to_rfc3339());
        assert_eq!(agent["startedAt"], at(2).to_rfc3339());
        assert_eq!(agent["error"], "it went wrong");
        assert_eq!(
            (&task["taskId"], &task["agentId"], &task["status"]),
            (&"t1".into(), &id.into(), &"failed".into())
        );
        assert_eq!(task["context"]["repository"], record.agent.spec.context.repository.to_string());
    }
}
