//! Ends of jobs without an order: the stop file, and the bound of a job's processes.

use std::time::{Duration, Instant};

use super::stops::{with_cgroup, with_namespace};
use super::world::{World, await_line, follow, open};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::{ProcessError, Processes};
use uuid::Uuid;

#[tokio::test]
async fn a_stop_file_ends_every_job_within_a_second() {
    for cgroup in [Some(CgroupChoice::Off), with_cgroup(), with_namespace()].into_iter().flatten() {
        let world = World::new(cgroup.clone());
        let mut jobs = Vec::new();
        for n in 0..20 {
            let mut spec =
                world.spec(&["tree", ["term", "setsid", "double-setsid"][n % 3], "1", &world.mark]);
            spec.agent = AgentId(Uuid::new_v4());
            spec.output = world.place.path().join(format!("transcript-{n}"));
            let mut job = world.processes.start(spec).await.unwrap();
            await_line(&mut *job, "up").await;
            jobs.push(job);
        }
        world.await_marked(40).await;
        // Renaming the data directory's parts does not help; nobody is asked anything.
        let begun = Instant::now();
        std::fs::write(world.place.path().join("STOP"), "").unwrap();
        while !world.survivors().is_empty() {
            assert!(begun.elapsed() < super::world::DEADLINE, "{:?} live", world.survivors());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = begun.elapsed();
        for mut job in jobs {
            let exit = follow(&mut *job).await.exit;
            let why = exit.ended_by.unwrap_or_default();
            assert!(exit.signal == Some(9) && why.contains("STOP"), "{:?} {why}", exit.signal);
        }
        println!("stop file, {cgroup:?}: 20 jobs gone after {took:?}");
        assert!(took < Duration::from_secs(1), "{cgroup:?}: {took:?}");
        // Nothing starts while it stands.
        let Err(refused) = world.processes.start(world.spec(&["exit", "0"])).await else {
            panic!("it started")
        };
        assert!(
            matches!(&refused, ProcessError::NotStarted { why, .. } if why.contains("STOP")),
            "{refused}"
        );
        std::fs::remove_file(world.place.path().join("STOP")).unwrap();
        let mut spec = world.spec(&["exit", "0"]);
        spec.name = "run-2".parse().unwrap();
        assert_eq!(follow(&mut *world.processes.start(spec).await.unwrap()).await.exit.code, Some(0));
    }
}

#[tokio::test]
async fn the_rung_of_a_stop_file_is_on_record() {
    let world = World::new(CgroupChoice::Auto);
    let mut job = world.start(&["sleep", &world.mark]).await;
    std::fs::write(world.place.path().join("STOP"), "").unwrap();
    follow(&mut *job).await;
    let text = std::fs::read_to_string(world.job_dir().join("exit.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json["rung"] == "kill" && json["exit"]["endedBy"].as_str().unwrap().contains("STOP"), "{text}");
}

#[tokio::test]
async fn a_fork_bomb_is_ended_by_its_shim() {
    for cgroup in [Some(CgroupChoice::Off), with_cgroup(), with_namespace()].into_iter().flatten() {
        let world = World::new(cgroup.clone());
        let processes = open(world.place.path(), cgroup.clone()).with_most_processes(150);
        let begun = Instant::now();
        let spec = world.spec(&["bomb", "400", &world.mark]);
        let mut job = processes.start(spec).await.unwrap();
        let exit = follow(&mut *job).await.exit;
        let why = exit.ended_by.clone().unwrap_or_default();
        assert!(why.contains("processes at once"), "{cgroup:?}: {exit:?}");
        assert_eq!(world.survivors(), [0; 0]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
