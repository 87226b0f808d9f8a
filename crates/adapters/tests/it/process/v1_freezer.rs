//! An agent that freezes processes of its own in a freezer group of cgroup v1: a kill reaches them all the same, and others
//! in that group stay frozen.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::stops::{with_cgroup, with_namespace};
use super::world::{DEADLINE, World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::Processes;
use mosaic_testkit::require::have;

/// A freezer group, thawed and removed with the value.
struct Group(PathBuf);

impl Group {
    /// Makes one; none where there is no freezer of cgroup v1 that may be written.
    fn make() -> Option<Self> {
        let group =
            Self(PathBuf::from(format!("/sys/fs/cgroup/freezer/mosaic-test-{}", uuid::Uuid::new_v4())));
        let made = fs::create_dir(&group.0).is_ok() && group.0.join("freezer.state").exists();
        have("freezer", made, "cgroup v1's freezer at /sys/fs/cgroup/freezer, as root").then_some(group)
    }

    fn state(&self) -> String {
        fs::read_to_string(self.0.join("freezer.state")).unwrap().trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let deadline = Instant::now() + DEADLINE;
        while fs::remove_dir(&self.0).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound) {
            if Instant::now() > deadline {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// A process of somebody else in the same group.
struct Stranger(Child);

impl Stranger {
    fn start(group: &Group) -> Self {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(group.0.join("cgroup.procs"), child.id().to_string()).unwrap();
        Self(child)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[tokio::test]
async fn what_an_agent_froze_in_a_group_of_its_own_is_killed_and_others_there_stay_frozen() {
    for cgroup in [with_cgroup(), with_namespace(), Some(CgroupChoice::Off)].into_iter().flatten() {
        for lost in [false, true] {
            let Some(group) = Group::make() else { return };
            let stranger = Stranger::start(&group);
            let world = World::new(cgroup.clone());
            let mut spec = world.spec(&[]);
            // It moves itself: in a namespace of its own its number is another one.
            let script = format!(
                "setsid sh -c 'echo 0 > {0}/cgroup.procs && : > moved; exec sleep 600' & \
                 until [ -e moved ]; do sleep 0.01; done; \
                 until grep -q FROZEN {0}/freezer.state; do echo FROZEN > {0}/freezer.state; sleep 0.01; done; \
                 echo frozen; sleep 600",
                group.0.display(),
            );
            spec.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
            let mut job = world.processes.start(spec).await.unwrap();
            await_line(&mut *job, "frozen").await;
            if lost {
                let shim = rustix::process::Pid::from_raw(world.recorded("shim")).unwrap();
                rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
            }
            let begun = Instant::now();
            let receipt = world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
            println!("{cgroup:?}, supervisor lost: {lost}: {:?}, {receipt:?}", begun.elapsed());
            assert_eq!(receipt.processes_after, 0, "{cgroup:?}, supervisor lost: {lost}");
            let left = fs::read_to_string(group.0.join("cgroup.procs")).unwrap();
            assert_eq!(left.trim(), stranger.0.id().to_string(), "{cgroup:?}: what was frozen lives on");
            assert_eq!(group.state(), "FROZEN", "others were thawed");
            if !lost {
                follow(&mut *job).await;
            }
        }
    }
}
