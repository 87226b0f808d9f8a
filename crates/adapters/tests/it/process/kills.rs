//! Many kills of every escape shape under each confinement, with what they took past the grace. `MOSAIC_KILLS` says how
//! many per shape; a run of 200 prints the figures that the documents quote.

use std::time::{Duration, Instant};

use super::stops::{SHAPES, with_cgroup, with_namespace};
use super::world::{World, await_line, follow};
use futures_util::future::join_all;
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::Processes;
use uuid::Uuid;

/// The grace of each kill; its time does not count.
const GRACE: Duration = Duration::from_millis(50);
/// Longest time past the grace where the kernel ends everything at once, on a machine busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Longest time past the grace where the tree is walked: a hydra outruns many looks.
const WALKED: Duration = Duration::from_secs(5);

fn kills() -> usize {
    std::env::var("MOSAIC_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4)
}

async fn kill_often(cgroup: CgroupChoice, word: &str, most: Duration) {
    for shape in SHAPES {
        let (mut past, mut survivors) = (Vec::new(), 0);
        for _ in 0..kills() {
            let world = World::new(cgroup.clone());
            let mut job = world.start(&["tree", shape, "20", &world.mark]).await;
            await_line(&mut *job, "up").await;
            // The whole tree must be there first: the kill of half a tree would be faster than the figures claim.
            world.await_marked(if shape == "hydra" { 2 } else { 21 }).await;
            let begun = Instant::now();
            let receipt = world.processes.stop(world.agent, GRACE).await.unwrap();
            past.push(begun.elapsed().saturating_sub(GRACE));
            survivors += world.survivors().len();
            assert_eq!((receipt.confinement.as_str(), receipt.processes_after), (word, 0), "{shape}");
            assert!(receipt.took_ms >= receipt.past_grace_ms, "{receipt:?}");
            follow(&mut *job).await;
        }
        past.sort();
        let at = |share: usize| past[(past.len() * share / 100).min(past.len() - 1)];
        let (p50, p99) = (at(50), at(99));
        println!(
            "{word:<13} {shape:<13} {} kills  survivors {survivors}  past grace p50 {p50:?}  p99 {p99:?}",
            past.len()
        );
        assert_eq!(survivors, 0, "{word} {shape}");
        assert!(p99 <= most, "{word} {shape}: {p99:?}");
    }
}

#[tokio::test]
async fn kills_in_cgroups_leave_nobody() {
    if let Some(cgroup) = with_cgroup() {
        kill_often(cgroup, "cgroup", AT_ONCE).await;
    }
}

#[tokio::test]
async fn kills_in_pid_namespaces_leave_nobody() {
    if let Some(namespace) = with_namespace() {
        kill_often(namespace, "pid namespace", AT_ONCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_agents_are_stopped_together() {
    for cgroup in [with_cgroup(), with_namespace(), Some(CgroupChoice::Off)].into_iter().flatten() {
        let world = World::new(cgroup.clone());
        let mut jobs = Vec::new();
        for n in 0..50 {
            let mut spec = world.spec(&["tree", "setsid", "1", &world.mark]);
            spec.agent = AgentId(Uuid::new_v4());
            spec.output = world.place.path().join(format!("transcript-{n}"));
            let agent = spec.agent;
            let mut job = world.processes.start(spec).await.unwrap();
            await_line(&mut *job, "up").await;
            jobs.push((agent, job));
        }
        let mut present = world.processes.present().await.unwrap();
        present.sort();
        let mut agents: Vec<AgentId> = jobs.iter().map(|(agent, _)| *agent).collect();
        agents.sort();
        assert_eq!(present, agents);
        let begun = Instant::now();
        let stopped = join_all(agents.iter().map(|agent| world.processes.stop(*agent, GRACE))).await;
        let past = begun.elapsed().saturating_sub(GRACE);
        let word = world.processes.containment().0;
        println!("{word:<13} 50 agents together: past grace {past:?}");
        assert!(stopped.into_iter().all(|receipt| receipt.unwrap().processes_after == 0));
        assert_eq!(world.survivors(), [0; 0]);
        assert!(past < WALKED, "{word}: {past:?}");
    }
}

#[tokio::test]
async fn kills_without_either_leave_nobody() {
    kill_often(CgroupChoice::Off, "subreaper", WALKED).await;
}
