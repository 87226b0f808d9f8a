//! Numbers that were really given away: in a process namespace of the test's own the kernel is told which number comes
//! next, so that bystanders get exactly the numbers that a job's record names.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::world::{DEADLINE, World, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::Processes;
use mosaic_testkit::require;
use rustix::process::{Pid, Signal, kill_process};

/// Says that a test runs inside its own namespace.
const INSIDE: &str = "MOSAIC_TEST_OWN_NUMBERS";
/// Where the kernel is told the number before the next one.
const LAST: &str = "/proc/sys/kernel/ns_last_pid";

/// Tells whether this process is the one inside; runs that one otherwise.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let private = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let can =
        Command::new("unshare").args(private).args(["sh", "-c", &format!("echo 1000 > {LAST}")]).output();
    let can = can.is_ok_and(|out| out.status.success());
    if require::have("numbers", can, "root and the program unshare") {
        let mut again = Command::new("unshare");
        // The shell is the first process there and buries what nobody else does.
        again
            .args(private)
            .args(["sh", "-c", "\"$@\" & wait $!", "sh"])
            .arg(std::env::current_exe().unwrap());
        again.args(["--exact", &format!("process::recycled::{test}"), "--nocapture"]).env(INSIDE, "1");
        let out = again.output().unwrap();
        let said = [out.stdout.as_slice(), out.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
        print!("{}", said.lines().filter(|l| l.starts_with("numbers")).collect::<Vec<_>>().join("\n"));
    }
    false
}

/// When a process started, in hundredths of a second; a number is given away again much later than that.
fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Starts a bystander with exactly this number, later than the one that had it before.
fn bystander(pid: i32, before: u64) -> Child {
    for _ in 0..200 {
        std::fs::write(LAST, (pid - 1).to_string()).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        if child.id() == u32::try_from(pid).unwrap() && started(pid) > Some(before) {
            return child;
        }
        // Somebody else's start came between, or it was too soon.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("the number {pid} was not to be had");
}

fn kill(pid: i32) {
    // One that is gone already is as good.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// Waits until a number is free.
async fn free(pid: i32) {
    let end = Instant::now() + DEADLINE;
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < end, "{pid} is not buried");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// `MOSAIC_TEST_NUMBERS` says how often.
#[tokio::test]
async fn whoever_has_the_number_of_a_job_now_is_left_alone() {
    if !inside("whoever_has_the_number_of_a_job_now_is_left_alone") {
        return;
    }
    let rounds = std::env::var("MOSAIC_TEST_NUMBERS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut wrong = 0;
    for _ in 0..rounds {
        // The server that started the job stays, and another one comes with nothing but the record.
        for restarted in [false, true] {
            let mut world = World::new(CgroupChoice::Off);
            let mut job = world.start(&["sleep", &world.mark]).await;
            let (shim, child) = (world.recorded("shim"), world.recorded("child"));
            let then = started(shim).unwrap().max(started(child).unwrap());
            // Both are gone without a word, as when the kernel was out of memory.
            kill(shim);
            kill(child);
            assert!(tokio::time::timeout(DEADLINE, job.next()).await.unwrap().is_err());
            free(shim).await;
            free(child).await;
            let mut others = [bystander(shim, then), bystander(child, then)];
            if restarted {
                world.restart();
            }
            let receipt = world.processes.stop(world.agent, Duration::from_millis(20)).await.unwrap();
            assert_eq!((receipt.processes_after, world.survivors()), (0, Vec::new()), "{receipt:?}");
            for other in &mut others {
                wrong += usize::from(other.try_wait().unwrap().is_some());
                let _ = other.kill();
                other.wait().unwrap();
            }
        }
    }
    println!("numbers given away: {}, signals to a wrong process: {wrong}", rounds * 4);
    assert_eq!(wrong, 0, "somebody else's process was ended");
}

/// A job that lives is still found and ended beside bystanders with numbers next to its own.
#[tokio::test]
async fn a_living_job_is_ended_among_recycled_numbers() {
    if !inside("a_living_job_is_ended_among_recycled_numbers") {
        return;
    }
    let world = World::new(CgroupChoice::Off);
    let mut job = world.start(&["tree", "double-setsid", "5", &world.mark]).await;
    world.await_marked(5).await;
    let dead = world.survivors().into_iter().max().unwrap();
    let then = started(dead).unwrap();
    kill(dead);
    free(dead).await;
    let mut other = bystander(dead, then);
    world.processes.stop(world.agent, Duration::from_millis(20)).await.unwrap();
    assert_eq!(world.survivors(), [0; 0]);
    assert!(other.try_wait().unwrap().is_none(), "somebody else's process was ended");
    other.kill().unwrap();
    other.wait().unwrap();
    follow(&mut *job).await;
}
