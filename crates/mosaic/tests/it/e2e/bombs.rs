//! Fork bombs: liveness is answered while they grow, a kill leaves nothing of them, and one that nobody kills is ended
//! at the bound of processes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::require::have;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::support::{Home, Marker, asking, body, rounds, script, until};

/// A program whose every process starts two more, so many generations deep: 2^(n+1) - 1 processes if nobody ends it.
/// Without the depth a fault of ours would take the machine.
fn bomb(home: &Home, marker: &Marker, generations: u32) -> String {
    let path = home.path().join("bomb.sh");
    let text = format!(
        "n=${{1:-{generations}}}\n\
         if [ $n -gt 0 ]; then sh '{0}' $((n - 1)) & sh '{0}' $((n - 1)) & fi\n\
         exec sleep {marker}\n",
        path.display()
    );
    script(home.path(), "bomb.sh", &text)
}

/// `MOSAIC_BOMBS` says how many are killed.
#[test]
fn liveness_is_answered_during_a_fork_bomb_and_a_kill_leaves_nothing_of_it() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = bomb(&home, &marker, 7);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    for n in 0..rounds("MOSAIC_BOMBS", 1) {
        let (((before, past), took), answers) = asking(&server.http, || {
            let id = server.spawn(&body(&fixture.url(), &format!("T-{n}")));
            // It is still growing.
            until("the bomb", || (marker.alive().len() > 60).then_some(()));
            let began = Instant::now();
            let killed = server.kill(&id);
            let took = began.elapsed();
            assert_eq!(marker.alive(), Vec::<String>::new(), "processes of a killed bomb are alive");
            assert_eq!(
                (&killed["status"], &killed["verified"]),
                (&json!("killed"), &json!(true)),
                "{killed:#}"
            );
            let receipt = &killed["receipt"];
            let number = |name: &str| receipt[name].as_u64().unwrap();
            ((number("processesBefore"), number("pastGraceMs")), took)
        });
        println!(
            "bomb of {before} processes killed {past} ms past the grace, answered after {took:.1?}; /health: {answers}"
        );
        assert!(before > 30, "the kill did not meet the bomb");
        assert!(answers.within(99).as_secs() < 5, "liveness: {answers}");
    }
}

#[test]
fn a_bomb_that_nobody_kills_is_ended_at_the_bound() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    // Eleven generations are 4,095 processes, well above the 1,024 that an agent may have by default.
    let line = bomb(&home, &marker, 11);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let began = Instant::now();
    let (ended, answers) = asking(&server.http, || {
        let id = server.spawn(&body(&fixture.url(), "bomb"));
        server.ended(&id)
    });
    println!("bomb ended by itself after {:.1?}; /health: {answers}", began.elapsed());
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert!(ended["error"].as_str().unwrap().contains("processes at once"), "{ended:#}");
    assert_eq!(marker.alive(), Vec::<String>::new());
    assert!(answers.within(99).as_secs() < 5, "liveness: {answers}");
}

/// A group of the v1 pids controller around everything that a test starts, so that no fault of ours takes the machine.
/// Whoever is left inside is killed when it is dropped.
struct Bound(PathBuf);

impl Bound {
    /// Makes one for at most so many tasks; `None` where that cannot be done.
    fn new(name: &str, most: u32) -> Option<Self> {
        let path =
            Path::new("/sys/fs/cgroup/pids").join(format!("mosaic-test-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        let bound = Self(path);
        std::fs::write(bound.0.join("pids.max"), most.to_string()).ok()?;
        Some(bound)
    }

    /// Returns a line of shell that enters it and becomes the server.
    fn serve(&self) -> String {
        let program = env!("CARGO_BIN_EXE_mosaic");
        format!("echo 0 > '{}/cgroup.procs' && exec '{program}' serve", self.0.display())
    }

    fn tasks(&self) -> u32 {
        std::fs::read_to_string(self.0.join("pids.current")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // At a bound of 0 no process inside can fork any more, so the kills below overtake the bomb.
        let _ = std::fs::write(self.0.join("pids.max"), "0");
        let below = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        let jobs: Vec<PathBuf> = below(&self.0.join("mosaic")).filter(|path| path.is_dir()).collect();
        let all = || jobs.iter().chain([&self.0]);
        until("the group of the test to be empty", || {
            let mut left = 0;
            for group in all() {
                let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
                    left += 1;
                    // One that has ended meanwhile is as gone.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            (left == 0).then_some(())
        });
        for group in jobs.iter().chain([&self.0.join("mosaic"), &self.0]) {
            let _ = std::fs::remove_dir(group);
        }
    }
}

/// Every process starts others indefinitely, whether that works or not: only the kernel's bound ends its growth.
const ENDLESS_BOMB: &str = "cat > /dev/null\nexec perl -e 'fork while 1'\n";

/// Tells whether there is what the bomb is made with.
fn has_perl() -> bool {
    let perl = std::process::Command::new("perl").arg("-v").output().is_ok();
    have("perl", perl, "the program perl, which git brings along")
}

#[test]
fn a_bomb_of_five_thousand_that_goes_on_forking_is_killed_as_a_whole_before_the_deadline() {
    if !has_perl() {
        return;
    }
    // Without a group that the kernel kills as a whole, each has to be found and killed for itself.
    let apart = u32::try_from(rounds("MOSAIC_BOMB_PROCESSES", 2000)).unwrap();
    for (confinement, size) in [("auto", 5000), ("pid-namespace", apart), ("subreaper", apart)] {
        let Some(bound) = Bound::new(confinement, size + 400) else {
            have("a group that bounds processes", false, "root and the v1 pids controller");
            return;
        };
        let (home, fixture) = (Home::new(), Fixture::new());
        let line = script(home.path(), "agent.sh", ENDLESS_BOMB);
        let env = [
            ("MOSAIC_COMMAND", line.as_str()),
            ("MOSAIC_CONTAINMENT", confinement),
            // The agent's own bound is not what is tried here.
            ("MOSAIC_AGENT_PROCESSES", "1000000"),
        ];
        let server = home.serve_by("sh", &["-c", &bound.serve()], &env);
        let id = server.spawn(&body(&fixture.url(), "bomb"));
        until("the bomb", || (bound.tasks() >= size).then_some(()));
        let began = Instant::now();
        let killed = server.kill(&id);
        let took = began.elapsed();
        assert_eq!(
            (&killed["status"], &killed["verified"]),
            (&json!("killed"), &json!(true)),
            "{confinement} {took:?}: {killed:#}\n{}",
            server.log()
        );
        let receipt = &killed["receipt"];
        println!(
            "{confinement}: {} processes, {} ms past the grace, answered after {took:.1?}",
            receipt["processesBefore"], receipt["pastGraceMs"]
        );
        assert!(receipt["processesBefore"].as_u64().unwrap() > 1000, "{receipt:#}");
        assert_eq!(receipt["processesAfter"], 0);
        assert!(bound.tasks() < 400, "{confinement}: {} tasks are left", bound.tasks());
    }
}

#[test]
fn the_kernel_bounds_an_agent_and_its_supervisor_ends_it_at_its_own_bound() {
    let Some(bound) = Bound::new("own", 3000) else {
        have("a group that bounds processes", false, "root and the v1 pids controller");
        return;
    };
    if !has_perl() {
        return;
    }
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = script(home.path(), "agent.sh", ENDLESS_BOMB);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_AGENT_PROCESSES", "100")];
    let server = home.serve_by("sh", &["-c", &bound.serve()], &env);
    let mut most = 0;
    let id = server.spawn(&body(&fixture.url(), "bomb"));
    let ended = until("the bomb's end", || {
        most = most.max(bound.tasks());
        Some(server.agent(&id)).filter(|agent| agent["status"] == "failed")
    });
    assert!(ended["error"].as_str().unwrap().contains("processes at once"), "{ended:#}");
    // Four tasks for each process, and what the server itself has.
    assert!(most < 400 + 200, "{most} tasks at once");
}

#[test]
fn an_agent_is_nicer_than_its_supervisor_and_ended_before_it_when_memory_runs_out() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\nsleep {marker}\n"));
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "nice"));
    let agent = until("the agent", || marker.alive().into_iter().next());
    let agent: u32 = agent.split(':').next().unwrap().parse().unwrap();
    let record = home.data().join("agents").join(&id).join("runs/run-1/shim.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let shim = u32::try_from(record["shim"]["pid"].as_u64().unwrap()).unwrap();
    let nice = |pid: u32| -> i64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let rest = text.rsplit_once(')').unwrap().1.to_owned();
        rest.split_ascii_whitespace().nth(16).unwrap().parse().unwrap()
    };
    let oom = |pid: u32| -> i64 {
        std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    assert!(nice(agent) > nice(shim), "{} and {}", nice(agent), nice(shim));
    assert!(oom(agent) > oom(shim), "{} and {}", oom(agent), oom(shim));
    server.kill(&id);
}
