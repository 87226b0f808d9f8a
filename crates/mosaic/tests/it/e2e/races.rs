//! Orders to kill that race what they end, on a real server with real processes: one end each, the same to every
//! caller, and nothing alive that was ordered to end. `MOSAIC_REAL_RACES` says how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Marker, body, in_environment, rounds, script, until};

fn is_end(kind: &str) -> bool {
    matches!(kind, "agent.completed" | "agent.failed" | "agent.killed")
}

#[test]
fn a_kill_racing_completion_is_told_to_both_callers_as_it_ended() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = script(home.path(), "agent.sh", "cat > /dev/null\necho x > x.txt\n");
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_KILL_GRACE_MS", "50")]);
    let (mut killed, all) = (0, rounds("MOSAIC_REAL_RACES", 20));
    // How long such a life takes here; the kills are spread over it and a little beyond.
    let began = std::time::Instant::now();
    server.life(&body(&fixture.url(), "first"), "completed", "done");
    let life = began.elapsed();
    let mut read = server.http.log(0).0;
    for n in 0..all {
        let id = server.spawn(&body(&fixture.url(), &format!("T-{n}")));
        let after =
            life.mul_f64(1.2 * f64::from(u32::try_from(n).unwrap()) / f64::from(u32::try_from(all).unwrap()));
        let together = Barrier::new(2);
        let told: Vec<Value> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        // The moment is what is tried, not an order of things.
                        std::thread::sleep(after);
                        together.wait();
                        server.kill(&id)
                    })
                })
                .collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        let ended = server.ended(&id);
        for answer in &told {
            assert_eq!(answer["status"], ended["status"], "{n}: {answer:#}\n{ended:#}");
        }
        let event = format!("agent.{}", ended["status"].as_str().unwrap());
        let (newest, log) = server.http.log(read);
        read = newest;
        let kinds: Vec<&str> =
            log.iter().filter(|(_, of)| *of == id).map(|(kind, _)| kind.as_str()).collect();
        let ends: Vec<&str> = kinds.iter().copied().filter(|kind| is_end(kind)).collect();
        assert_eq!(ends, [event.as_str()], "{n}: {kinds:?} {ended:#}");
        let pushed = ended["branch"].as_str().is_some_and(|b| fixture.branches().iter().any(|one| one == b));
        if ended["status"] == "completed" {
            assert!(pushed, "{n}: {ended:#}");
        } else {
            assert_eq!(ended["status"], "killed", "{n}: {ended:#}");
            killed += 1;
        }
        let mark = format!("MOSAIC_AGENT_ID={id}");
        until("its jobs to end", || in_environment(&mark).is_empty().then_some(()));
    }
    println!("races of a kill with completion: {all}, of which {killed} ended killed");
    // The control: where all of the kills won, or none of them, no kill met a completion.
    assert!(killed > 0 && killed < all, "nothing raced: {killed} of {all} were killed");
}

#[test]
fn what_was_admitted_before_a_kill_all_is_dead_and_what_comes_later_runs() {
    let (home, marker) = (Home::new(), Marker::new());
    // Some crash, and are to be tried again; not so many that the repository is held up.
    let agent = format!("case $MOSAIC_TASK_ID in *-0-[12]) exit 1;; esac\nexec sleep {marker}\n");
    let line = script(home.path(), "agent.sh", &agent);
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_SLOTS", "8"), ("MOSAIC_KILL_GRACE_MS", "50")];
    let server = home.serve(&env);
    for round in 0..rounds("MOSAIC_REAL_RACES", 2) {
        let fixture = Fixture::new();
        let (early, late) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let (ordered, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let answer = std::thread::scope(|scope| {
            for spawner in 0..3 {
                let (server, fixture, early, late) = (&server, &fixture, &early, &late);
                let (ordered, over) = (&ordered, &over);
                scope.spawn(move || {
                    for n in 0..2000 {
                        // Not so many that the queue is all there is to see.
                        std::thread::sleep(Duration::from_millis(10));
                        let mut body = body(&fixture.url(), &format!("T-{round}-{spawner}-{n}"));
                        body["maxRetries"] = json!(3);
                        let after = over.load(Ordering::SeqCst);
                        let answer = server.http.post("/agents/spawn", Some(&body));
                        let before = !ordered.load(Ordering::SeqCst);
                        if answer.status != 201 {
                            continue;
                        }
                        let id = answer.body["agentId"].as_str().unwrap().to_owned();
                        if before {
                            early.lock().unwrap().push(id);
                        } else if after {
                            late.lock().unwrap().push(id);
                            break;
                        }
                    }
                });
            }
            until("agents at work", || (marker.alive().len() >= 6).then_some(()));
            ordered.store(true, Ordering::SeqCst);
            let answer = server.http.post("/agents/kill-all", Some(&json!({"reason": "race"})));
            over.store(true, Ordering::SeqCst);
            answer.expect(200)
        });
        let (early, late) = (early.into_inner().unwrap(), late.into_inner().unwrap());
        let number = |name: &str| answer[name].as_u64().unwrap();
        assert_eq!(number("total"), number("killed") + number("failed"), "{answer:#}");
        assert_eq!(number("failed"), 0, "{answer:#}");
        assert!(number("killed") <= number("total") && number("total") >= 6, "{answer:#}");
        // One second later is what is promised; anything that comes back later is no better.
        std::thread::sleep(Duration::from_secs(1));
        for id in &early {
            assert_eq!(in_environment(&format!("MOSAIC_AGENT_ID={id}")), Vec::<String>::new(), "{id}");
            let agent = server.agent(id);
            assert_eq!(agent["status"], "killed", "{agent:#}");
        }
        println!(
            "kill-all against spawners: {} admitted before it are dead, {} later ones live",
            early.len(),
            late.len()
        );
        assert!(!early.is_empty());
        for id in &late {
            let agent = server.agent(id);
            assert_ne!(agent["status"], "killed", "admitted after the answer: {agent:#}");
        }
        server.http.post("/agents/kill-all", None).expect(200);
    }
}
