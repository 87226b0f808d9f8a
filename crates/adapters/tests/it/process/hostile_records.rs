//! Files that an agent plants among the records of its jobs keeps nothing alive, holds up no stop, and goes with the rest.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use super::stops::{with_cgroup, with_namespace};
use super::world::{World, await_line};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::Processes;

/// Plants something at a path where nothing is.
type Plant = (&'static str, fn(&Path));

const PLANTS: [Plant; 9] = [
    ("a file", |path| std::fs::write(path, "planted").unwrap()),
    ("a long file", |path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ("a pipe", |path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a link to nothing", |path| symlink("/nonexistent", path).unwrap()),
    ("a link to endless bytes", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to itself", |path| symlink(path, path).unwrap()),
    ("a full directory", |path| std::fs::create_dir_all(path.join("full/of/things")).unwrap()),
    ("a closed directory", |path| {
        std::fs::create_dir(path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
    }),
    ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path))),
];

/// Names below the agent's directory of jobs; what a supervisor has there is replaced.
const PLACES: [&str; 11] = [
    "run-2",
    "junk",
    "-strange name-",
    "run-1/lock",
    "run-1/spec.json",
    "run-1/shim.json",
    "run-1/exit.json",
    "run-1/main.json",
    "run-1/sock",
    "run-1",
    "",
];

#[tokio::test]
async fn whatever_is_planted_among_its_records_an_agent_is_stopped_and_forgotten() {
    let worlds = [with_cgroup(), with_namespace()].into_iter().flatten();
    // What holds a job together matters little here, and each case takes a while: every plant at every second place.
    for (nth, choice) in std::iter::once(CgroupChoice::Off).chain(worlds).enumerate() {
        for (row, place) in PLACES.into_iter().enumerate() {
            for (column, (what, plant)) in PLANTS.into_iter().enumerate() {
                if (nth > 0 && row != column) || (row + column) % 2 == 1 {
                    continue;
                }
                let world = World::new(choice.clone());
                // A socket's path has room for 107 bytes only.
                let runs = world.job_dir().parent().unwrap().to_owned();
                let mut job = world.start(&["tree", "term", "3", &world.mark]).await;
                await_line(&mut *job, "up").await;
                let path = if place.is_empty() { runs.clone() } else { runs.join(place) };
                if path.symlink_metadata().is_ok() {
                    std::fs::rename(&path, world.place.path().join("moved")).unwrap();
                }
                plant(&path);
                let case = format!("{what} at {place:?}, {choice:?}");
                let begun = Instant::now();
                let stopped = world.processes.stop(world.agent, Duration::from_millis(50)).await;
                let took = begun.elapsed();
                assert!(stopped.is_ok(), "{case}: {stopped:?}");
                assert_eq!(world.survivors(), [0; 0], "{case}");
                assert!(took < Duration::from_secs(8), "{case}: {took:?}");
                world.processes.frozen_for(world.agent).await.unwrap();
                world.processes.unfinished().await.unwrap();
                world.processes.usage(world.agent).await.unwrap();
                let forgotten = world.processes.forget(world.agent).await;
                assert!(forgotten.is_ok(), "{case}: {forgotten:?}");
                assert!(runs.symlink_metadata().is_err(), "{case} stays");
            }
        }
    }
}

#[tokio::test]
async fn thousands_of_planted_jobs_do_not_hold_up_a_stop() {
    let world = World::new(CgroupChoice::Auto);
    let mut job = world.start(&["tree", "double-setsid", "3", &world.mark]).await;
    await_line(&mut *job, "up").await;
    let runs = world.job_dir().parent().unwrap().to_owned();
    for n in 0..5000 {
        std::fs::create_dir(runs.join(format!("planted-{n}"))).unwrap();
    }
    let begun = Instant::now();
    world.processes.stop(world.agent, Duration::from_millis(50)).await.unwrap();
    assert_eq!(world.survivors(), [0; 0]);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    world.processes.forget(world.agent).await.unwrap();
    assert!(!runs.exists());
}
