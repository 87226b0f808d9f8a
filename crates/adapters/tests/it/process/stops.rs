//! Stops that leave nothing: every way of getting away, with and without cgroups, with living, dead and late shims.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::world::{World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::{ProcessError, Processes, Stdin};
use mosaic_testkit::require;
use rustix::process::{Pid, Signal, kill_process};

pub(super) const SHAPES: [&str; 5] = ["term", "setsid", "double-setsid", "scrub", "hydra"];

/// Tells whether cgroups can be had here; `None` skips.
pub(super) fn with_cgroup() -> Option<CgroupChoice> {
    let works = World::new(CgroupChoice::Auto).processes.cgroups().is_some();
    require::have("cgroup", works, "a cgroup v2 hierarchy that may be written").then_some(CgroupChoice::Auto)
}

/// Tells whether pid namespaces can be had here; `None` skips.
pub(super) fn with_namespace() -> Option<CgroupChoice> {
    let works = World::new(CgroupChoice::PidNamespace).processes.containment().0 == "pid namespace";
    require::have("namespace", works, "pid namespaces that may be made").then_some(CgroupChoice::PidNamespace)
}

async fn every_shape_dies(cgroup: CgroupChoice) {
    for shape in SHAPES {
        for grace in [Duration::ZERO, Duration::from_millis(100)] {
            let world = World::new(cgroup.clone());
            let mut job = world.start(&["tree", shape, "20", &world.mark]).await;
            await_line(&mut *job, "up").await;
            // Of a hydra as many as one look can find.
            world.await_marked(if shape == "hydra" { 2 } else { 21 }).await;
            let begun = Instant::now();
            let receipt = world.processes.stop(world.agent, grace).await.unwrap();
            let took = begun.elapsed();
            assert_eq!(world.survivors(), [0; 0], "{shape} {grace:?}");
            assert_eq!(receipt.processes_after, 0);
            // A hydra's heads are rarely seen in a process list.
            let seen = if shape == "hydra" { 1 } else { 20 };
            assert!(receipt.processes_before >= seen, "{shape}: {receipt:?}");
            assert!(matches!(receipt.rung.as_str(), "kill" | "sweep"), "{shape}: {receipt:?}");
            assert!(took < Duration::from_secs(10), "{shape} took {took:?}");
            let story = follow(&mut *job).await;
            assert_eq!(story.exit.code, None, "{shape}");
            assert_eq!(world.processes.unfinished().await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn every_shape_dies_with_a_cgroup() {
    if let Some(cgroup) = with_cgroup() {
        every_shape_dies(cgroup).await;
    }
}

#[tokio::test]
async fn every_shape_dies_in_a_pid_namespace() {
    if let Some(namespace) = with_namespace() {
        every_shape_dies(namespace).await;
    }
}

#[tokio::test]
async fn every_shape_dies_without_a_cgroup() {
    every_shape_dies(CgroupChoice::Off).await;
}

#[tokio::test]
async fn a_stop_is_polite_first() {
    let world = World::new(CgroupChoice::Auto);
    let mut spec = world.spec(&["interruptible", &world.mark]);
    (spec.stdin, spec.interrupt) = (Stdin::Open { first: String::new() }, Some("stop\n".to_owned()));
    let mut job = world.processes.start(spec).await.unwrap();
    await_line(&mut *job, "up").await;
    let receipt = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
    assert_eq!((receipt.rung.as_str(), receipt.processes_before), ("interrupt", 1));
    let story = follow(&mut *job).await;
    assert_eq!((story.output.as_slice(), story.exit.code), (b"asked to stop\n".as_slice(), Some(0)));
    let again = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
    assert_eq!((again.rung.as_str(), again.processes_before, again.processes_after), ("none", 0, 0));
}

#[tokio::test]
async fn sigterm_is_enough_for_a_plain_program() {
    let world = World::new(CgroupChoice::Off);
    let mut job = world.start(&["sleep", &world.mark]).await;
    let receipt = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
    assert_eq!(receipt.rung, "term");
    assert_eq!(follow(&mut *job).await.exit.signal, Some(15));
}

#[tokio::test]
async fn a_fork_bomb_is_ended() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(cgroup);
        let mut job = world.start(&["bomb", "300", &world.mark]).await;
        world.await_marked(100).await;
        world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
        assert_eq!(world.survivors(), [0; 0]);
        follow(&mut *job).await;
    }
}

#[tokio::test]
async fn another_server_stops_what_the_first_started() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::Off] {
        let mut world = World::new(cgroup);
        let mut job = world.start(&["tree", "setsid", "5", &world.mark]).await;
        await_line(&mut *job, "up").await;
        drop(job);
        world.restart();
        assert_eq!(world.processes.unfinished().await.unwrap(), [world.agent]);
        assert!(!world.survivors().is_empty(), "the job outlives its server");
        let receipt = world.processes.stop(world.agent, Duration::from_millis(100)).await.unwrap();
        assert!(receipt.processes_before > 1);
        assert_eq!(world.survivors(), [0; 0]);
        assert!(world.processes.unfinished().await.unwrap().is_empty());
    }
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_killed_shim_is_noticed_and_its_job_ended() {
    // Without a cgroup a scrubbed environment in a session of its own cannot be found again: left out by nature.
    let mut cases = vec![(CgroupChoice::Off, &["term", "setsid", "double-setsid"][..])];
    cases.extend(with_cgroup().map(|cgroup| (cgroup, &SHAPES[..])));
    for (cgroup, shapes) in cases {
        for shape in shapes {
            let world = World::new(cgroup.clone());
            let mut job = world.start(&["tree", shape, "10", &world.mark]).await;
            await_line(&mut *job, "up").await;
            world.await_marked(8).await;
            kill(world.recorded("shim"));
            let lost = tokio::time::timeout(super::world::DEADLINE, job.next()).await.unwrap();
            assert!(matches!(lost, Err(ProcessError::Lost(_))), "{shape}: {lost:?}");
            assert_eq!(world.processes.unfinished().await.unwrap(), [world.agent]);
            let receipt = world.processes.stop(world.agent, Duration::from_millis(100)).await.unwrap();
            assert_eq!(world.survivors(), [0; 0], "{shape} {cgroup:?}");
            assert!(receipt.processes_before > 0, "{shape}: {receipt:?}");
            assert!(world.processes.unfinished().await.unwrap().is_empty());
            world.processes.forget(world.agent).await.unwrap();
            assert!(!world.job_dir().exists());
        }
    }
}

#[tokio::test]
async fn a_shim_that_does_not_answer_is_ended_with_its_job() {
    let world = World::new(CgroupChoice::Off);
    let mut job = world.start(&["tree", "double-setsid", "5", &world.mark]).await;
    await_line(&mut *job, "up").await;
    world.await_marked(5).await;
    kill_process(Pid::from_raw(world.recorded("shim")).unwrap(), Signal::STOP).unwrap();
    world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    assert_eq!(world.survivors(), [0; 0]);
    assert!(follow(&mut *job).await.exit.code.is_none());
}

#[tokio::test]
async fn a_shim_that_comes_late_starts_nothing() {
    let world = World::new(CgroupChoice::Auto);
    // The server wrote its intent and died before its shim ran.
    let dir = world.job_dir();
    std::fs::create_dir_all(&dir).unwrap();
    let job = serde_json::to_value(world.spec(&["sleep", &world.mark])).unwrap();
    let spec = serde_json::json!({ "version": 1, "job": job }).to_string();
    std::fs::write(dir.join("spec.json"), &spec).unwrap();
    assert_eq!(world.processes.unfinished().await.unwrap(), [world.agent]);
    let receipt = world.processes.stop(world.agent, Duration::from_secs(1)).await.unwrap();
    assert_eq!((receipt.rung.as_str(), receipt.processes_before), ("none", 0));
    let mut late = Command::new(super::world::example("shim"));
    late.arg("shim").arg(&dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut late = late.spawn().unwrap();
    // It may refuse before it reads.
    let _ = std::io::Write::write_all(&mut late.stdin.take().unwrap(), spec.as_bytes());
    let said = late.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "failed the job was stopped before it started\n");
    assert!(!said.status.success() && world.survivors().is_empty());
}

#[tokio::test]
async fn a_path_longer_than_a_socket_name_works() {
    let mut world = World::new(CgroupChoice::Auto);
    let deep = world.place.path().join("d".repeat(150));
    std::fs::create_dir(&deep).unwrap();
    let options = mosaic_adapters::process::ProcessOptions {
        data_dir: deep,
        shim_command: vec![super::world::example("shim"), "shim".to_owned()],
        cgroup: CgroupChoice::Off,
        trash: None,
        open_files: None,
    };
    world.processes = mosaic_adapters::process::ShimProcesses::new(options);
    let mut job = world.start(&["sleep", &world.mark]).await;
    let receipt = world.processes.stop(world.agent, Duration::from_secs(20)).await.unwrap();
    assert_eq!(receipt.rung, "term");
    follow(&mut *job).await;
}

#[tokio::test]
async fn a_forged_end_hides_nothing() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(cgroup.clone());
        let mut job = world.start(&["tree", "double-setsid", "5", &world.mark]).await;
        await_line(&mut *job, "up").await;
        world.await_marked(5).await;
        let exit = include_str!("../../data/process-v1/exit.json");
        std::fs::write(world.job_dir().join("exit.json"), exit).unwrap();
        let receipt = world.processes.stop(world.agent, Duration::from_millis(100)).await.unwrap();
        assert_eq!(world.survivors(), [0; 0], "{cgroup:?}");
        assert!(receipt.processes_before >= 5, "{receipt:?}");
    }
}

#[tokio::test]
async fn what_escaped_a_job_without_records_is_found() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(cgroup.clone());
        let mut job = world.start(&["tree", "double-setsid", "5", &world.mark]).await;
        await_line(&mut *job, "up").await;
        world.await_marked(5).await;
        kill(world.recorded("shim"));
        std::fs::remove_dir_all(world.job_dir()).unwrap();
        let receipt = world.processes.stop(world.agent, Duration::from_millis(100)).await.unwrap();
        assert_eq!(world.survivors(), [0; 0], "{cgroup:?}");
        assert_eq!(receipt.rung, "sweep");
    }
}

#[tokio::test]
async fn a_number_that_somebody_else_has_now_is_left_alone() {
    let world = World::new(CgroupChoice::Off);
    let mut job = world.start(&["sleep", &world.mark]).await;
    // Two bystanders, and a record that names them by their numbers with the start times of the job's own processes:
    // what it would say once the numbers were given away.
    // The kernel counts start times in hundredths of a second: those of one tick cannot be told apart by anybody.
    let start = |pid: i64| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned()
    };
    let own = [world.recorded("shim"), world.recorded("child")].map(|pid| start(pid.into()));
    let bystander = || loop {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        if !own.contains(&start(child.id().into())) {
            return child;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let (mut one, mut two) = (bystander(), bystander());
    kill(world.recorded("shim"));
    assert!(job.next().await.is_err());
    let path = world.job_dir().join("shim.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["shim"]["pid"] = one.id().into();
    record["child"]["pid"] = two.id().into();
    std::fs::write(&path, record.to_string()).unwrap();
    world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    assert_eq!(world.survivors(), [0; 0]);
    for bystander in [&mut one, &mut two] {
        assert!(bystander.try_wait().unwrap().is_none(), "somebody else's process was ended");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
