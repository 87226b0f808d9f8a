//! Leases: what nobody extends is dead before the store lets anybody else start it, whatever becomes of the server. The
//! test's own process is the server here, and says nothing any more, as one that is stopped, dead or cut off.

use std::time::{Duration, Instant};

use mosaic_adapters::clock_system::SystemClock;
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::fleet::lease_margin;
use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::processes::{ProcessError, Processes};

use super::stops::{SHAPES, with_cgroup, with_namespace};
use super::world::{World, await_line, follow};

/// The shortest lease that may be configured.
const TERM: Duration = Duration::from_secs(3);

fn now() -> Duration {
    SystemClock.elapsed()
}

/// Lets a lease run out under every shape of agent, and returns how long after its end the last one was dead.
async fn run_out(cgroup: CgroupChoice, word: &str) {
    for shape in SHAPES {
        let world = World::new(cgroup.clone());
        let granted = Instant::now();
        let until = now() + TERM - lease_margin(TERM);
        world.processes.extend(world.agent, Some(until)).await.unwrap();
        let mut job = world.start(&["tree", shape, "20", &world.mark]).await;
        await_line(&mut *job, "up").await;
        let story = follow(&mut *job).await;
        let took = granted.elapsed();
        let (left, past) = (world.survivors(), now().saturating_sub(until));
        println!(
            "{word:<13} {shape:<13} dead {past:?} after the end, {:?} before the term",
            TERM.saturating_sub(took)
        );
        assert_eq!(left, [0; 0], "{word} {shape}");
        assert!(took < TERM, "{word} {shape}: {took:?}");
        assert!(story.exit.lapsed && story.exit.ended_by.is_some(), "{:?}", story.exit);
    }
}

#[tokio::test]
async fn what_nobody_extends_is_dead_before_the_term_is_over() {
    if let Some(cgroup) = with_cgroup() {
        run_out(cgroup, "cgroup").await;
    }
    if let Some(namespace) = with_namespace() {
        run_out(namespace, "pid namespace").await;
    }
    run_out(CgroupChoice::Off, "subreaper").await;
}

#[tokio::test]
async fn a_lease_that_is_extended_goes_on_and_one_that_is_over_starts_nothing() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(cgroup);
        world.processes.extend(world.agent, Some(now() + Duration::from_millis(300))).await.unwrap();
        let mut job = world.start(&["tree", "setsid", "5", &world.mark]).await;
        await_line(&mut *job, "up").await;
        world.processes.extend(world.agent, Some(now() + Duration::from_secs(3600))).await.unwrap();
        // This is twice the lease that the job began with: without the extension its tree would be dead by now.
        tokio::time::sleep(Duration::from_millis(600)).await;
        world.await_marked(5).await;
        world.processes.extend(world.agent, Some(now() + Duration::from_millis(50))).await.unwrap();
        let story = follow(&mut *job).await;
        assert!(story.exit.signal == Some(9) && story.exit.lapsed);
        assert_eq!(world.survivors(), [0; 0]);
        let mut late = world.spec(&["sleep", &world.mark]);
        late.name = "run-2".parse().unwrap();
        let refused = world.processes.start(late.clone()).await.err().expect("it must not start");
        assert!(
            matches!(&refused, ProcessError::NotStarted { why, .. } if why.contains("lease")),
            "{refused}"
        );
        assert_eq!(world.survivors(), [0; 0]);
        // Without a lease again, what is left may be looked after.
        world.processes.extend(world.agent, None).await.unwrap();
        late.name = "run-3".parse().unwrap();
        let mut job = world.processes.start(late).await.unwrap();
        world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
        assert!(!follow(&mut *job).await.exit.lapsed);
    }
}
