//! Processes whose first thread has ended while others run on: the kernel shows them as zombies, lists them badly, and
//! does not reach them with `cgroup.kill`. They are as alive as any.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::stops::{with_cgroup, with_namespace};
use super::world::{World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::{JobSpec, Processes};
use rustix::fs::{FlockOperation, flock};

/// Lets a second thread hold a lock on the file that it is given and says so.
const LEADERLESS: &str = "import ctypes, fcntl, sys, threading, time
held = open(sys.argv[1], 'w')
fcntl.flock(held, fcntl.LOCK_EX)
def run():
    me = '/proc/self/stat'
    while open(me).read().rsplit(')', 1)[1].split()[0] != 'Z':
        time.sleep(0.001)
    print('up', flush=True)
    time.sleep(600)
threading.Thread(target=run).start()
ctypes.CDLL(None).pthread_exit(None)
";

struct Scene {
    world: World,
    lock: PathBuf,
}

impl Scene {
    fn new(cgroup: CgroupChoice) -> Self {
        let world = World::new(cgroup);
        let lock = world.place.path().join("held");
        std::fs::write(world.place.path().join("leaderless.py"), LEADERLESS).unwrap();
        Self { world, lock }
    }

    /// A shell that starts such a process as given and goes on with `then`.
    fn spec(&self, start: &str, then: &str) -> JobSpec {
        let mut spec = self.world.spec(&[]);
        let script = format!("{start} python3 leaderless.py {} & {then}", self.lock.display());
        spec.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        spec
    }

    /// Tells whether no process has the file any more.
    fn is_gone(&self) -> bool {
        let file = File::open(&self.lock).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

fn everywhere() -> impl Iterator<Item = CgroupChoice> {
    [with_cgroup(), with_namespace(), Some(CgroupChoice::Off)].into_iter().flatten()
}

#[tokio::test]
async fn a_process_without_its_first_thread_is_killed_and_counted() {
    for cgroup in everywhere() {
        for start in ["", "setsid", "setsid env -i PATH=$PATH"] {
            let scene = Scene::new(cgroup.clone());
            let mut job = scene.world.processes.start(scene.spec(start, "sleep 600")).await.unwrap();
            await_line(&mut *job, "up").await;
            assert!(!scene.is_gone(), "{cgroup:?} {start}");
            let receipt = scene.world.processes.stop(scene.world.agent, Duration::ZERO).await.unwrap();
            assert_eq!(receipt.processes_after, 0, "{cgroup:?} {start}");
            assert!(scene.is_gone(), "{cgroup:?} {start}: {receipt:?}");
            follow(&mut *job).await;
        }
    }
}

#[tokio::test]
async fn a_process_without_its_first_thread_is_killed_when_its_supervisor_is_dead() {
    for cgroup in everywhere() {
        let scene = Scene::new(cgroup.clone());
        let mut job = scene.world.processes.start(scene.spec("setsid", "sleep 600")).await.unwrap();
        await_line(&mut *job, "up").await;
        let shim = rustix::process::Pid::from_raw(scene.world.recorded("shim")).unwrap();
        rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
        let receipt = scene.world.processes.stop(scene.world.agent, Duration::ZERO).await.unwrap();
        assert_eq!(receipt.processes_after, 0, "{cgroup:?}");
        assert!(scene.is_gone(), "{cgroup:?}: {receipt:?}");
    }
}

#[tokio::test]
async fn a_process_without_its_first_thread_that_outlives_the_program_ends_with_it() {
    for cgroup in everywhere() {
        let scene = Scene::new(cgroup.clone());
        let until_up = "until test -s up; do sleep 0.01; done";
        let mut spec = scene.spec("", until_up);
        spec.command[2] = spec.command[2].replace(" & ", " > up & ");
        let mut job = scene.world.processes.start(spec).await.unwrap();
        let story = follow(&mut *job).await;
        assert_eq!((story.exit.code, story.exit.leaked), (Some(0), 1), "{cgroup:?}: {:?}", story.exit);
        assert!(scene.is_gone(), "{cgroup:?}");
    }
}
