//! Freezing and thawing: what is frozen does nothing, loses nothing, and can be killed.

use std::time::{Duration, Instant};

use super::stops::{with_cgroup, with_namespace};
use super::world::{World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::{Job, Processes, Stdin};

fn everywhere() -> Vec<CgroupChoice> {
    [Some(CgroupChoice::Off), with_cgroup(), with_namespace()].into_iter().flatten().collect()
}

/// Starts a job that answers each line with a numbered one, and hears the first.
async fn answering(world: &World) -> Box<dyn Job> {
    let mut spec = world.spec(&["grow", &world.mark]);
    (spec.stdin, spec.time_limit) = (Stdin::Open { first: String::new() }, Some(Duration::from_secs(2)));
    let mut job = world.processes.start(spec).await.unwrap();
    job.write(b"\n").await.unwrap();
    await_line(&mut *job, "line 0").await;
    job
}

#[tokio::test]
async fn what_is_frozen_does_nothing_and_loses_nothing() {
    for cgroup in everywhere() {
        let mut world = World::new(cgroup.clone());
        let mut job = answering(&world).await;
        assert_eq!(world.processes.frozen_for(world.agent).await.unwrap(), None);
        assert_eq!(world.processes.freeze(world.agent).await.unwrap(), 1, "{cgroup:?}");
        assert_eq!(world.processes.freeze(world.agent).await.unwrap(), 1);
        job.write(b"\n").await.unwrap();
        drop(job);
        world.restart();
        // Longer than its time limit, which does not run meanwhile; and another server knows of it.
        let limit = Duration::from_millis(2500);
        let deadline = Instant::now() + super::world::DEADLINE;
        while world.processes.frozen_for(world.agent).await.unwrap().unwrap() < limit {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(std::fs::read(world.output()).unwrap(), b"line 0\n", "it must not answer");
        assert_eq!(world.processes.thaw(world.agent).await.unwrap(), 1);
        assert_eq!(world.processes.thaw(world.agent).await.unwrap(), 1);
        assert_eq!(world.processes.frozen_for(world.agent).await.unwrap(), None);
        while std::fs::read(world.output()).unwrap() != b"line 0\nline 1\n" {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let receipt = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
        assert_eq!((receipt.rung.as_str(), receipt.processes_before), ("term", 1), "{cgroup:?}");
    }
}

#[tokio::test]
async fn the_whole_tree_stands_still() {
    for cgroup in everywhere() {
        for shape in ["setsid", "double-setsid", "scrub"] {
            let world = World::new(cgroup.clone());
            let mut job = world.start(&["tree", shape, "5", &world.mark]).await;
            await_line(&mut *job, "up").await;
            world.await_marked(6).await;
            world.processes.freeze(world.agent).await.unwrap();
            for pid in world.survivors() {
                assert!(stands_still(pid), "{shape} {cgroup:?}: {pid} runs");
            }
            // A kill needs no thaw and gives no grace.
            let begun = Instant::now();
            let receipt = world.processes.stop(world.agent, Duration::from_secs(60)).await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(20), "{receipt:?}");
            assert_eq!(world.survivors(), [0; 0]);
            assert!(receipt.processes_before >= 6, "{receipt:?}");
            follow(&mut *job).await;
        }
    }
}

/// Tells whether a process is stopped by a signal or held by a frozen cgroup.
fn stands_still(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stopped = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let held = mount.is_some_and(|mount| {
        std::fs::read_to_string(format!("{mount}/{own}/cgroup.events")).is_ok_and(|e| e.contains("frozen 1"))
    });
    stopped || held
}

#[tokio::test]
async fn an_agent_without_running_jobs_has_nothing_to_freeze() {
    let world = World::new(CgroupChoice::Off);
    assert_eq!(world.processes.freeze(world.agent).await.unwrap(), 0);
    follow(&mut *world.start(&["exit", "0"]).await).await;
    assert_eq!(world.processes.freeze(world.agent).await.unwrap(), 0);
    assert_eq!(world.processes.thaw(world.agent).await.unwrap(), 0);
}
