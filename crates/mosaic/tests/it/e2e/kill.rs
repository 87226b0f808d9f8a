//! Kill and kill-all: nothing of the agents is left, however they hid.

use std::time::{Duration, UNIX_EPOCH};

use mosaic_core::domain::ids::Timestamp;
use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Marker, Server, body, in_environment, rounds, script, until};

/// An agent that makes a mark for itself, starts processes that try to get away, says so and waits indefinitely.
fn runaway(home: &Home, marker: &Marker) -> String {
    let agent = format!(
        "trap '' TERM INT HUP\necho work > work.txt\n\
         setsid -f setsid -f sleep {marker}\n\
         setsid -f env -i sh -c 'setsid -f sleep {marker}'\n\
         ( trap '' TERM; sleep {marker} & )\n\
         touch \"up.$MOSAIC_TASK_ID\"\n\
         while :; do sleep {marker}; done\n"
    );
    script(home.path(), "runaway.sh", &agent)
}

/// Spawns one and waits until all its processes are there.
fn up(server: &Server<'_>, fixture: &Fixture, task: &str, marker: &Marker, count: usize) -> String {
    let id = server.spawn(&body(&fixture.url(), task));
    until("the agent's processes", || (marker.alive().len() >= count).then_some(()));
    id
}

fn nothing_left(server: &Server<'_>, ids: &[&str], marker: &Marker) {
    assert_eq!(marker.alive(), Vec::<String>::new(), "processes of a killed agent are alive");
    for id in ids {
        // What it made may still be kept by a job of ours.
        let mark = format!("MOSAIC_AGENT_ID={id}");
        until("its jobs to end", || in_environment(&mark).is_empty().then_some(()));
        let tree = server.home().data().join("agents").join(id);
        until("the tree to be removed", || (!tree.exists()).then_some(()));
    }
}

#[test]
fn a_killed_agent_leaves_no_process_and_its_work_is_kept() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = runaway(&home, &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = up(&server, &fixture, "T-1", &marker, 4);
    assert_eq!(server.agent(&id)["status"], "running");
    let killed =
        server.http.post(&format!("/agents/{id}/kill"), Some(&json!({"reason": "enough"}))).expect(200);
    assert_eq!((&killed["status"], &killed["verified"]), (&json!("killed"), &json!(true)), "{killed:#}");
    assert_eq!((&killed["alreadyTerminal"], &killed["endReason"]), (&json!(false), &json!("operator")));
    nothing_left(&server, &[&id], &marker);
    let agent = server.agent(&id);
    let reference = format!("refs/mosaic/salvage/{id}");
    assert_eq!(agent["salvage"]["reference"], json!(reference), "what it made is not kept: {agent:#}");
    assert_eq!(agent.get("cleanupPending"), None, "{agent:#}");
    assert!(agent["error"].to_string().contains("enough"), "{agent:#}");
    let diff = server.http.get(&format!("/v1/agents/{id}/diff")).expect(200);
    assert!(diff.to_string().contains("work.txt"), "{diff:#}");
    assert_eq!(fixture.branches(), ["main"]);

    let again = server.kill(&id);
    assert_eq!((&again["alreadyTerminal"], &again["status"]), (&json!(true), &json!("killed")), "{again:#}");
    assert_eq!(again["completedAt"], killed["completedAt"]);
}

#[test]
fn a_queued_agent_is_killed_without_ever_starting() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = runaway(&home, &marker);
    // The first agent never ends by itself and has the only slot, so the second one is certain to wait.
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "1")]);
    let running = up(&server, &fixture, "T-1", &marker, 4);
    let queued = server.spawn(&body(&fixture.url(), "T-2"));
    assert_eq!(server.agent(&queued)["phase"], "queued");
    let killed = server.kill(&queued);
    assert_eq!((&killed["status"], &killed["verified"]), (&json!("killed"), &json!(true)));
    assert!(killed.get("startedAt").is_none(), "{killed:#}");
    let removed = server.spawn(&body(&fixture.url(), "T-3"));
    let answer = server.http.delete("/v1/tasks/T-3").expect(200);
    assert!(answer.to_string().contains(&removed), "{answer:#}");
    assert_eq!(server.agent(&removed)["status"], "killed");
    assert_eq!(server.http.delete("/v1/tasks/T-1").status, 409, "running work was removed as waiting");
    assert_eq!(server.agent(&running)["status"], "running");
    server.kill(&running);
    nothing_left(&server, &[&running, &queued], &marker);
}

#[test]
fn kill_all_ends_queued_and_running_ones_and_counts_them() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = runaway(&home, &marker);
    // Two slots for two agents that never end by themselves, so exactly the five others are certain to wait.
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "2")]);
    let first = up(&server, &fixture, "T-1", &marker, 4);
    let second = up(&server, &fixture, "T-2", &marker, 8);
    let queued: Vec<String> =
        (3..8).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    let answer = server.http.post("/agents/kill-all", None).expect(200);
    assert_eq!(answer["message"], "Kill all completed: 7 killed, 0 failed", "{answer:#}");
    let numbers = (&answer["total"], &answer["killed"], &answer["failed"], &answer["queued"]);
    assert_eq!(numbers, (&json!(7), &json!(7), &json!(0), &json!(5)));
    assert_eq!(answer["errors"], json!([]));
    nothing_left(&server, &[&first, &second], &marker);
    let all = [&first, &second].into_iter().chain(&queued);
    for id in all {
        let agent = server.ended(id);
        assert_eq!(
            (&agent["status"], &agent["endReason"]),
            (&json!("killed"), &json!("kill_all")),
            "{agent:#}"
        );
    }
    // What is spawned afterwards runs as usual.
    let later = up(&server, &fixture, "T-9", &marker, 4);
    let statuses: Vec<Value> = queued.iter().map(|id| server.agent(id)["status"].clone()).collect();
    assert!(statuses.iter().all(|s| *s == "killed"), "{statuses:?}");
    server.kill(&later);
    nothing_left(&server, &[&later], &marker);
}

/// `MOSAIC_LEAKS` says how often.
#[test]
fn processes_that_outlive_an_agent_that_ended_are_ended_too() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    // What is left behind holds the agent's output open.
    let line = script(
        home.path(),
        "agent.sh",
        &format!(
            "setsid -f setsid -f sleep {marker}\necho x > x.txt\ndate +%s%3N > '{}'\n",
            home.path().join("end").display()
        ),
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let mut took = Vec::new();
    for n in 0..rounds("MOSAIC_LEAKS", 2) {
        let done = server.life(&body(&fixture.url(), &format!("T-{n}")), "completed", "done");
        assert!(done["warnings"].to_string().contains("outlived"), "{done:#}");
        let end = std::fs::read_to_string(home.path().join("end")).unwrap().trim().parse().unwrap();
        let end = Timestamp::from(UNIX_EPOCH + Duration::from_millis(end));
        took.push(Timestamp::from_rfc3339(done["completedAt"].as_str().unwrap()).unwrap().since(end));
        nothing_left(&server, &[done["agentId"].as_str().unwrap()], &marker);
    }
    took.sort_unstable();
    let all = took.len();
    println!(
        "leaks: {all} of {all} told; exit to completed p50 {:?}, slowest {:?}",
        took[all / 2],
        took[all - 1]
    );
    assert!(took[all / 2] < Duration::from_secs(10), "{took:?}");
}
