//! Orders that race against spawners, retries, dying servers and each other.

use super::*;

/// Spawners, agents that fail and are tried again, and servers that die, all at once.
struct Storm {
    calm: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    spawned: Arc<AtomicUsize>,
}

impl Storm {
    fn begin(o: &Arc<Orchestrator>, world: &Arc<FakeWorld>, name: &str) -> Self {
        let (calm, spawned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for who in 0..3 {
            let (o, world, calm, spawned) =
                (Arc::clone(o), Arc::clone(world), Arc::clone(&calm), Arc::clone(&spawned));
            let name = name.to_owned();
            tasks.spawn(async move {
                let mut n = 0;
                while !calm.load(Ordering::SeqCst) && n < 15 {
                    let kind = ["crash", "quick", "run"][(n + who) % 3];
                    if o.spawn(&body(&format!("{kind}-{name}-{who}-{n}")), None).await.is_ok() {
                        spawned.fetch_add(1, Ordering::SeqCst);
                    }
                    n += 1;
                    world.skip(Duration::from_secs(2));
                    tokio::task::yield_now().await;
                }
            });
        }
        Self { calm, tasks, spawned }
    }

    /// Waits until this many agents were admitted.
    async fn has_spawned(&self, wanted: usize) {
        let enough = async {
            while self.spawned.load(Ordering::SeqCst) < wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("so many are admitted");
    }

    async fn end(self) {
        self.calm.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
    }
}

/// Checks that every agent's history is one that may happen, and that it ends once. Work is kept after the end where the
/// kill switch forbade every job of the agent until then; and the remote is asked after the end whether a push that a kill
/// broke off had arrived.
async fn histories_are_legal(store: &dyn Store) {
    let (mut over, mut pushes) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for entry in store.entries(0, 100_000).await.expect("read") {
        let (kind, agent) = (entry.fact.kind(), entry.fact.agent);
        let Some(agent) = agent else { continue };
        let late_push = kind == "git.pushed" && over.contains(&agent) && pushes.insert(agent);
        let later = match late_push {
            true => store.get(agent).await.expect("it is there").agent.status() == Status::Killed,
            false => kind == "git.salvaged",
        };
        assert!(later || !over.contains(&agent), "{kind} of agent {agent} after its end");
        if matches!(kind, "agent.completed" | "agent.failed" | "agent.killed") {
            over.insert(agent);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_all_wins_against_spawners_retries_and_recovery() {
    let (mut ran, mut waited) = (0, 0);
    for round in 0..rounds() {
        let (store, world, mut server) = begin(4, Behaviour::ByTask);
        let storm = Storm::begin(&server.o, &world, "x");
        // Each round gives its order at another point of the storm, which admits 45 agents at most.
        storm.has_spawned(round % 40).await;
        if round % 3 == 0 {
            // The server dies; its agents go on, and the next one finds the spawners' work.
            storm.end().await;
            server.die().await;
            server = Server::start(world.again(store.clone(), 4));
        } else {
            storm.calm.store(round % 2 == 0, Ordering::SeqCst);
        }
        let admitted = all(&*store).await.into_iter().map(|r| r.seq).max().unwrap_or(0);
        let report = tokio::time::timeout(PATIENCE, server.o.kill_all("test", None)).await.expect("it ends");
        assert_eq!((report.total, report.failed), (report.killed, 0), "round {round}: {report:?}");
        assert!(report.barrier >= admitted && report.verified, "round {round}: {report:?}");
        (ran, waited) = (ran + report.killed - report.queued, waited + report.queued);
        let alive = world.alive();
        for record in all(&*store).await.iter().filter(|record| record.seq <= report.barrier) {
            // On a busy machine what an agent left may still be being kept; then its receipt says so.
            let pending = |r: &AgentReceipt| {
                r.agent_id == record.agent.id && r.verified && r.receipt.worktree == TreeFate::Pending
            };
            if !record.agent.is_terminal() {
                assert!(report.receipts.iter().any(pending), "round {round}: {:?}", record.agent.state);
                let end = until(&server.o, record.agent.id, ended).await;
                assert_eq!(end.agent.status(), Status::Killed, "round {round}");
            }
            assert!(!alive.contains(&record.agent.id), "round {round}: its program runs");
        }
        world.release();
        let later = spawn(&server.o, &format!("quick-later-{round}")).await;
        let record = until(&server.o, later, ended).await;
        assert_eq!(record.agent.status(), Status::Completed, "round {round}: {:?}", record.agent.state);
        // Past every backoff, and before any deadline.
        world.skip(Duration::from_secs(600));
        for record in all(&*store).await.into_iter().filter(|record| record.seq > report.barrier) {
            let record = until(&server.o, record.agent.id, ended).await;
            assert_ne!(record.agent.status(), Status::Killed, "round {round}: {:?}", record.agent.state);
        }
        histories_are_legal(&*store).await;
        assert_eq!(world.double_runs(), 0, "round {round}");
        server.end().await;
    }
    assert!(ran > 0 && waited > 0, "nothing raced: {ran} ran, {waited} waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_wins_against_spawners_retries_and_recovery() {
    let mut killed = 0;
    for round in 0..rounds() {
        let (store, world, mut server) = begin(4, Behaviour::ByTask);
        let storm = Storm::begin(&server.o, &world, "x");
        storm.has_spawned(round % 40).await;
        if round % 3 == 0 {
            server.die().await;
            server = Server::start(world.again(store.clone(), 4));
        }
        let (_, report) =
            tokio::time::timeout(PATIENCE, server.o.engage("test", None)).await.expect("it ends");
        assert_eq!((report.total, report.failed), (report.killed, 0), "round {round}: {report:?}");
        assert!(report.verified, "round {round}: {report:?}");
        killed += report.killed;
        assert_eq!(world.alive(), vec![], "round {round}");
        let held = store.leased().await.expect("up");
        assert!(held.is_empty(), "round {round}: {:?}", held[0].agent.state);
        let spawned = Arc::clone(&storm.spawned);
        storm.end().await;
        if round % 3 > 0 {
            assert!(server.o.spawn(&body("refused"), None).await.is_err());
        }
        // Whatever waits stays where it is, and runs once it may.
        world.skip(Duration::from_secs(600));
        assert_eq!((world.alive(), world.double_runs()), (vec![], 0), "round {round}");
        let waiting: Vec<_> = all(&*store).await.into_iter().filter(|r| !r.agent.is_terminal()).collect();
        assert!(waiting.iter().all(|r| r.node.is_none()), "round {round}");
        let known = all(&*store).await.len();
        assert!(known >= spawned.load(Ordering::SeqCst));
        world.release();
        assert!(server.o.release("test").await.expect("released"));
        for record in waiting {
            let record = until(&server.o, record.agent.id, ended).await;
            assert_eq!(record.agent.status(), Status::Completed, "round {round}: {:?}", record.agent.state);
        }
        histories_are_legal(&*store).await;
        server.end().await;
    }
    assert!(killed > 0, "nothing raced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engage_and_release_racing_each_other_leave_memory_file_and_store_agreeing() {
    for round in 0..rounds() {
        let (store, world, server) = begin(2, Behaviour::RunOn);
        let mut racers = JoinSet::new();
        for n in 0..6 {
            let o = Arc::clone(&server.o);
            racers.spawn(async move {
                // The racers set off staggered, in another way each round.
                for _ in 0..(n + round) % 3 {
                    tokio::task::yield_now().await;
                }
                if n % 2 == 0 {
                    o.engage(&format!("r{n}"), None).await;
                } else {
                    o.release(&format!("r{n}")).await.expect("it can be written");
                }
            });
        }
        racers.join_all().await;
        let memory = server.o.switch_state().latch;
        let stored = store.orders().await.expect("up").latch;
        let file = world.filed().orders.latch.clone();
        assert_eq!(memory.is_some(), file.is_some(), "round {round}");
        assert_eq!(memory.is_some(), stored.is_some(), "round {round}");
        server.end().await;
    }
}
