//! Resource usage of running jobs, measured on real processes: with a cgroup where there is one, and by the tree below the shim.

use std::time::{Duration, Instant};

use super::world::{DEADLINE, World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::{Processes, Usage};

async fn until(world: &World, what: &str, wanted: impl Fn(&Usage) -> bool) -> Usage {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let usage = world.processes.usage(world.agent).await.unwrap();
        if wanted(&usage) {
            return usage;
        }
        assert!(Instant::now() < deadline, "{what} never came: {usage:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_job_uses_is_seen_and_ends_with_it() {
    for choice in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(choice.clone());
        assert_eq!(world.processes.usage(world.agent).await.unwrap(), Usage::default());
        let mut job = world.start(&["tree", "term", "3", &world.mark]).await;
        await_line(&mut *job, "up").await;
        let usage = until(&world, "a tree of four", |u| u.processes >= 4).await;
        assert!(usage.memory_bytes > 100_000, "{choice:?}: {usage:?}");
        world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
        follow(&mut *job).await;
        assert_eq!(world.processes.usage(world.agent).await.unwrap(), Usage::default(), "{choice:?}");
    }
}

#[tokio::test]
async fn time_that_is_used_is_counted_and_never_goes_back() {
    for choice in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(choice.clone());
        // A child that computes and ends, again and again: its time must stay counted.
        let mut spec = world.spec(&[]);
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        spec.command =
            ["/bin/sh", "-c", &format!("while :; do sh -c '{work}'; done")].map(str::to_owned).to_vec();
        let mut job = world.processes.start(spec).await.unwrap();
        let mut before = Duration::ZERO;
        let deadline = Instant::now() + DEADLINE;
        while before < Duration::from_millis(300) {
            let usage = world.processes.usage(world.agent).await.unwrap();
            assert!(usage.cpu >= before, "{choice:?}: {:?} after {before:?}", usage.cpu);
            assert!(Instant::now() < deadline, "{choice:?}: only {before:?} of CPU were seen");
            before = usage.cpu;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
        follow(&mut *job).await;
    }
}
