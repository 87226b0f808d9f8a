//! The real server is killed with SIGKILL at any moment and started again, over and over: no acknowledged task is lost,
//! none runs twice at once, every one ends once. `MOSAIC_KILLS` says how many kills (default 20); `MOSAIC_KILLS_SEED`
//! repeats the moments of an earlier run as far as a machine can.

mod testbed;

use std::time::Duration;

use crate::live_server::processes_with;
use mosaic_testkit::chaos::{Programs, storm};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{SOON, SurvivalTestbed, parent};

fn kill_9(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn acknowledged_tasks_survive_any_number_of_kills() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("MOSAIC_KILLS").unwrap_or(20);
    let seed = number("MOSAIC_KILLS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("storm of {kills} kills, seed {seed}");
    let mosaic = std::path::PathBuf::from(env!("CARGO_BIN_EXE_mosaic"));
    let programs = Programs { chaos: mosaic.clone(), mosaic, valkey: None };
    let figures = storm::run(&programs, kills, seed, None).unwrap();
    println!("survival: {figures}");
    assert!(figures.violations.is_empty(), "{:#?}", figures.violations);
    assert_eq!(figures.adopted, figures.alive, "agents alive at a kill were given up: {figures}");
}

#[test]
fn a_lost_supervisor_costs_an_attempt_and_leaves_nothing() {
    let place = SurvivalTestbed::new();
    let mut server = place.serve();
    let api = server.api();
    // Held at work, so that each supervisor is certain to die before its agent ends.
    place.hold("agent");
    let (once, twice) =
        (api.spawn(&place.task("once-escapes", 0)), api.spawn(&place.task("twice-escapes", 1)));
    place.await_log("start", 2);
    for line in place.log("start") {
        kill_9(parent(line.split(' ').nth(2).unwrap()));
    }
    place.release("agent");
    let failed = api.ended(&once, SOON);
    assert_eq!(
        (&failed["status"], &failed["endReason"], &failed["attempt"]),
        (&"failed".into(), &"agent_error".into(), &1.into()),
        "{failed:#}"
    );
    assert!(failed["error"].as_str().is_some_and(|text| text.contains("supervisor")), "{failed:#}");
    let repeated = api.ended(&twice, SOON);
    place.assert_pushed(&repeated);
    assert_eq!(repeated["attempt"], 2, "{repeated:#}");
    assert_eq!(place.log("OVERLAP"), Vec::<String>::new());
    place.assert_quiet(&[once, twice]);
}

#[test]
fn an_agent_at_work_outlives_its_server_and_is_not_started_again() {
    let place = SurvivalTestbed::new();
    let mut server = place.serve();
    place.hold("agent");
    let id = server.api().spawn(&place.task("works-escapes", 0));
    place.await_log("start", 1);
    server.kill_9();
    let mut server = place.serve();
    place.release("agent");
    let agent = server.api().ended(&id, SOON);
    place.assert_pushed(&agent);
    assert_eq!(agent["attempt"], 1, "an interruption was counted: {agent:#}");
    assert_eq!(place.log("start").len(), 1, "it was started again\n{}", place.server_log());
    assert_eq!(place.log("OVERLAP"), Vec::<String>::new());
    place.assert_quiet(&[id]);
}

#[test]
fn a_kill_during_a_gate_judges_the_same_commit_again() {
    let place = SurvivalTestbed::new();
    let mut server = place.serve();
    place.hold("gate");
    let id = server.api().spawn(&place.task("gated", 0));
    let first = place.await_log("gate", 1);
    server.kill_9();
    // The first gate has seen the flag and sleeps for longer than the test; the one that judges again must not.
    place.release("gate");
    let mut server = place.serve();
    let agent = server.api().ended(&id, SOON);
    place.assert_pushed(&agent);
    assert_eq!(agent["pushedCommit"].as_str(), Some(first[1].as_str()), "another commit was judged first");
    assert_eq!(
        (place.log("start").len(), place.log("gate").len()),
        (1, 2),
        "the agent's work was not kept: {agent:#}\n{}",
        place.server_log()
    );
    assert_eq!(place.log("OVERLAP"), Vec::<String>::new());
    place.assert_quiet(&[id]);
}

#[test]
fn a_kill_during_a_push_ends_with_the_branch_at_the_judged_commit() {
    let place = SurvivalTestbed::new();
    let mut server = place.serve();
    place.hold("push");
    let id = server.api().spawn(&place.task("pushed", 0));
    let first = place.await_log("push", 1);
    server.kill_9();
    let mut server = place.serve();
    // The remote still holds the first push when the second one comes.
    place.await_log("push", 2);
    place.release("push");
    let agent = server.api().ended(&id, SOON);
    place.assert_pushed(&agent);
    assert_eq!(agent["pushedCommit"].as_str(), Some(first[1].as_str()));
    assert_eq!(place.log("start").len(), 1, "the agent's work was not kept");
    place.assert_quiet(&[id]);
}

#[test]
fn a_push_that_came_through_before_the_kill_counts() {
    let place = SurvivalTestbed::new();
    let mut server = place.serve();
    place.hold("push");
    let id = server.api().spawn(&place.task("came-through", 0));
    let first = place.await_log("push", 1);
    server.kill_9();
    place.release("push");
    let branch = first[2].strip_prefix("refs/heads/").unwrap();
    let deadline = std::time::Instant::now() + SOON;
    while place.remote.tip(branch).is_none() {
        // Whether the push outlives its server is not ours to say; the end must be the same.
        let goes_on =
            processes_with(&[&place.remote.url()]).iter().any(|process| process.contains("receive-pack"));
        if !goes_on || std::time::Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut server = place.serve();
    let agent = server.api().ended(&id, SOON);
    place.assert_pushed(&agent);
    assert_eq!(agent["pushedCommit"].as_str(), Some(first[1].as_str()));
    place.assert_quiet(&[id]);
}
