//! Jobs in a pid namespace of their own: what they report is what they report without one.

use std::time::{Duration, Instant};

use super::stops::with_namespace;
use super::world::{World, await_line, follow};
use mosaic_core::ports::processes::{Processes, Stdin};
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn exits_signals_and_failures_are_told_as_they_are() {
    let Some(namespace) = with_namespace() else { return };
    let world = World::new(namespace);
    let mut n = 0;
    let mut end = async |command: &[&str]| {
        n += 1;
        let mut spec = world.spec(&[]);
        spec.command = command.iter().map(|word| (*word).to_owned()).collect();
        spec.name = format!("run-{n}").parse().unwrap();
        follow(&mut *world.processes.start(spec).await.unwrap()).await.exit
    };
    assert_eq!(end(&["sh", "-c", "exit 7"]).await.code, Some(7));
    assert_eq!(end(&["sh", "-c", "exit 143"]).await.code, Some(143));
    let killed = end(&["sh", "-c", "kill -TERM $$"]).await;
    assert_eq!((killed.code, killed.signal), (None, Some(15)));
    let killed = end(&["sh", "-c", "kill -KILL $$"]).await;
    assert_eq!((killed.code, killed.signal), (None, Some(9)));
    let missing = end(&["/no/such/program"]).await;
    let why = missing.start_error.unwrap_or_default();
    assert!(why.contains("/no/such/program") && missing.code.is_none(), "{why}");
    // It sees its own processes only, and is not their first.
    assert_eq!(end(&["sh", "-c", "test $$ -gt 1 -a $$ -lt 10 -a -d /proc/$$"]).await.code, Some(0));
    assert_eq!(end(&["sh", "-c", "kill -9 1; kill -9 0; exit 3"]).await.signal, Some(9));
}

#[tokio::test]
async fn what_outlives_the_program_ends_with_it_and_is_counted() {
    let Some(namespace) = with_namespace() else { return };
    let world = World::new(namespace);
    let begun = Instant::now();
    let story = follow(&mut *world.start(&["leak", &world.mark]).await).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    assert_eq!((story.exit.code, story.exit.leaked), (Some(0), 1));
    assert_eq!(story.output, b"left one behind\n");
    assert!(world.survivors().is_empty());
}

#[tokio::test]
async fn input_interrupt_and_sigterm_reach_the_program() {
    let Some(namespace) = with_namespace() else { return };
    let world = World::new(namespace);
    let mut spec = world.spec(&["interruptible", &world.mark]);
    (spec.stdin, spec.interrupt) = (Stdin::Open { first: String::new() }, Some("stop\n".to_owned()));
    let mut job = world.processes.start(spec).await.unwrap();
    await_line(&mut *job, "up").await;
    let receipt = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
    assert_eq!((receipt.rung.as_str(), receipt.processes_before), ("interrupt", 1));
    assert_eq!(receipt.past_grace_ms, 0);
    assert_eq!(follow(&mut *job).await.exit.code, Some(0));
    let mut spec = world.spec(&["sleep", &world.mark]);
    spec.name = "run-2".parse().unwrap();
    let mut job = world.processes.start(spec).await.unwrap();
    let receipt = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
    assert_eq!((receipt.rung.as_str(), receipt.confinement.as_str()), ("term", "pid namespace"));
    assert_eq!(follow(&mut *job).await.exit.signal, Some(15));
}

#[tokio::test]
async fn a_killed_shim_loses_nobody() {
    let Some(namespace) = with_namespace() else { return };
    for shape in super::stops::SHAPES {
        let world = World::new(namespace.clone());
        let mut job = world.start(&["tree", shape, "10", &world.mark]).await;
        await_line(&mut *job, "up").await;
        kill_process(Pid::from_raw(world.recorded("shim")).unwrap(), Signal::KILL).unwrap();
        assert!(job.next().await.is_err(), "{shape}");
        world.processes.stop(world.agent, Duration::from_millis(100)).await.unwrap();
        assert_eq!(world.survivors(), [0; 0], "{shape}");
    }
}

#[tokio::test]
async fn a_forged_report_does_not_turn_a_kill_into_a_success() {
    let Some(namespace) = with_namespace() else { return };
    let world = World::new(namespace);
    let mut job = world.start(&["tree", "term", "1", &world.mark]).await;
    await_line(&mut *job, "up").await;
    let forged = r#"{"version":1,"code":0,"signal":null,"leaked":0,"startError":null}"#;
    std::fs::write(world.job_dir().join("main.json"), forged).unwrap();
    world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    assert_eq!(follow(&mut *job).await.exit.signal, Some(9));
}
