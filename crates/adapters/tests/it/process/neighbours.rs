//! Two nodes on one machine, each with its own data directory: the same agent may have run on both, and neither ends
//! what the other one runs.

use std::time::Duration;

use mosaic_adapters::process::CgroupChoice;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::Processes;

use super::stops::with_cgroup;
use super::world::{World, await_line, follow};

/// A world whose agent is another one's, too.
fn neighbour(of: &World, cgroup: CgroupChoice) -> World {
    let mut world = World::new(cgroup);
    world.agent = of.agent;
    world
}

async fn spared(cgroup: CgroupChoice) {
    let here = World::new(cgroup.clone());
    let there = neighbour(&here, cgroup);
    let mut ours = here.start(&["tree", "double-setsid", "5", &here.mark]).await;
    let mut theirs = there.start(&["tree", "double-setsid", "5", &there.mark]).await;
    await_line(&mut *ours, "up").await;
    await_line(&mut *theirs, "up").await;
    // The program itself and its five leaves.
    here.await_marked(6).await;
    there.await_marked(6).await;
    // Also what its supervisor lost, which is found by the environment alone.
    let shim = rustix::process::Pid::from_raw(here.recorded("shim")).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    std::fs::remove_dir_all(here.job_dir()).unwrap();
    let receipt = here.processes.stop(here.agent, Duration::from_millis(100)).await.unwrap();
    assert!(receipt.processes_before >= 5 && receipt.processes_after == 0, "{receipt:?}");
    assert_eq!(here.survivors(), [0; 0]);
    // Nothing starts those again: as many as before are all of them.
    there.await_marked(6).await;
    assert_eq!(there.processes.present().await.unwrap(), [there.agent]);
    here.processes.forget(here.agent).await.unwrap();
    assert_eq!(here.processes.present().await.unwrap(), [] as [AgentId; 0]);
    there.await_marked(6).await;
    there.processes.stop(there.agent, Duration::ZERO).await.unwrap();
    assert_eq!(there.survivors(), [0; 0]);
    assert_eq!(follow(&mut *theirs).await.exit.code, None);
}

#[tokio::test]
async fn the_same_agent_of_another_data_directory_is_spared() {
    if let Some(cgroup) = with_cgroup() {
        spared(cgroup).await;
    }
    spared(CgroupChoice::PidNamespace).await;
    spared(CgroupChoice::Off).await;
}

#[tokio::test]
async fn who_names_a_data_directory_that_is_gone_belongs_to_whoever_looks() {
    let here = World::new(CgroupChoice::Off);
    let gone = neighbour(&here, CgroupChoice::Off);
    let mut job = gone.start(&["sleep", &gone.mark]).await;
    gone.await_marked(1).await;
    let aside = gone.place.path().with_extension("aside");
    std::fs::rename(gone.place.path(), &aside).unwrap();
    here.processes.stop(here.agent, Duration::ZERO).await.unwrap();
    assert_eq!(gone.survivors(), [0; 0]);
    std::fs::rename(&aside, gone.place.path()).unwrap();
    follow(&mut *job).await;
}
