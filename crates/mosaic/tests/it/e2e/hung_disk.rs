//! A disk that never answers, under each part of the data directory: liveness is answered, kills are carried out and
//! answered truly, orders stand, and the server ends.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::hung_disk::{self, HungDisk};
use rustix::process::Signal;
use serde_json::json;

use super::support::{Home, Marker, asking, body, script, until};

/// Longest time for an order: a kill's own patience and grace, and what a busy machine needs.
const PROMPT: Duration = Duration::from_secs(20);
/// Longest time for liveness: a line of the log is waited for a moment.
const ALIVE: Duration = Duration::from_secs(2);

/// Directories below the data directory that hang; `ID` is the agent's id.
const PLACES: [&str; 7] =
    ["agents", "agents/ID/runs", "agents/ID/tree", "transcripts", "transcripts/ID", "repos", "audit"];

fn timed<T>(case: &str, what: &str, order: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = order();
    let took = began.elapsed();
    assert!(took < PROMPT, "{case}: {what} took {took:?}");
    done
}

fn story(place: &str) {
    let (home, fixture) = (Home::new(), Fixture::new());
    let (one, other) = (Marker::new(), Marker::new());
    let text = format!(
        "cat > /dev/null\necho x > x.txt\ncase $MOSAIC_TASK_ID in one) sleep {one};; *) sleep {other};; esac\n"
    );
    let line = script(home.path(), "agent.sh", &text);
    let mut server = home.serve(&[("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_KILL_GRACE_MS", "100")]);
    let (id, second) =
        (server.spawn(&body(&fixture.url(), "one")), server.spawn(&body(&fixture.url(), "two")));
    for (agent, marker) in [(&id, &one), (&second, &other)] {
        server.phase(agent, "working");
        until("the agent's program", || (!marker.alive().is_empty()).then_some(()));
    }
    let over: PathBuf = home.data().join(place.replace("ID", &id));
    // Both programs are up by now: the kills must find them by what the system knows, without a file of this disk.
    let disk = HungDisk::over(&over);
    let ((), answers) = asking(&server.http, || {
        // More readers than there are threads for anything.
        let readers: Vec<_> = (0..40)
            .map(|_| {
                let (http, id) = (server.http.clone(), id.clone());
                std::thread::spawn(move || drop(http.try_get(&format!("/v1/agents/{id}/transcript"))))
            })
            .collect();
        let kill = || server.http.post(&format!("/agents/{id}/kill"), None);
        let killed = timed(place, "the kill", kill).expect(200);
        assert_eq!(killed["verified"], json!(true), "{place}: {killed:#}\n{}", server.log());
        assert_eq!(one.alive(), Vec::<String>::new(), "{place}");
        let engage = || server.http.post("/v1/killswitch/engage", Some(&json!({})));
        let engaged = timed(place, "engaging", engage).expect(200);
        assert_eq!(
            (&engaged["engaged"], &engaged["failed"]),
            (&json!(true), &json!(0)),
            "{place}: {engaged:#}"
        );
        assert_eq!(other.alive(), Vec::<String>::new(), "{place}");
        let all = timed(place, "kill-all", || server.http.post("/agents/kill-all", None)).expect(200);
        assert_eq!(all["recorded"], "durable", "{place}: {all:#}");
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(answers.within(100) < ALIVE, "{place}: {answers}");
    // Threads that hang in the system keep a process that has ended until the disk answers; nothing else does.
    server.signal(Signal::TERM);
    until("the stop to begin", || match server.http.try_get("/health") {
        Ok(answer) => (answer.body["status"] == "draining").then_some(()),
        Err(_) => Some(()),
    });
    server.signal(Signal::TERM);
    let stat = format!("/proc/{}/stat", server.pid());
    let has_ended = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    until("the server's end", || has_ended().then_some(()));
    drop(disk);
    server.wait_end();
    drop(server);
    let server = home.serve(&[("MOSAIC_COMMAND", line.as_str())]);
    assert_eq!(server.ended(&id)["status"], "killed", "{place}");
    assert_eq!(server.http.get("/v1/killswitch").expect(200)["engaged"], true, "{place}");
}

/// `MOSAIC_TEST_PLANTS` runs every place.
#[test]
fn a_disk_that_hangs_holds_up_no_kill_no_order_and_no_liveness() {
    if !hung_disk::available() {
        return;
    }
    let all = std::env::var_os("MOSAIC_TEST_PLANTS").is_some();
    for place in PLACES.into_iter().filter(|place| all || ["agents", "transcripts", "audit"].contains(place))
    {
        story(place);
    }
}
