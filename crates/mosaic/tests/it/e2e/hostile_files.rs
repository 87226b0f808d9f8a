//! Files and directories that an agent can plant or spoil, at every path that the server reads, in every shape: a kill, a
//! kill-all, the kill switch, the settlement, a restart and `rm` answer in time and truly.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::json;

use super::support::{Home, Marker, body, script, until};

/// Plants something at a path where nothing is.
type Plant = (&'static str, fn(&Path));

const PLANTS: [Plant; 7] = [
    ("a file", |path| std::fs::write(path, "planted").unwrap()),
    ("a long file", |path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ("a pipe", |path| {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
    ("a link to endless bytes", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to itself", |path| symlink(path, path).unwrap()),
    ("a full directory", |path| std::fs::create_dir_all(path.join("full/of/things")).unwrap()),
    ("a closed directory", |path| {
        std::fs::create_dir(path).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }),
];

/// Paths below the data directory; `ID` is the agent's id. What is there is moved away first.
const PLACES: [&str; 20] = [
    "agents/ID/runs/run-1",
    "agents/ID/runs/run-2",
    "agents/ID/runs/run-1/lock",
    "agents/ID/runs/run-1/shim.json",
    "agents/ID/runs/run-1/exit.json",
    "agents/ID/runs",
    "agents/ID/tree",
    "agents/ID/tree.json",
    "agents/ID/home",
    "agents/planted",
    "agents/00000000-0000-4000-8000-000000000000",
    "transcripts/ID",
    "transcripts/planted",
    "orders",
    "orders/barrier.json",
    "orders/kill-00000000-0000-4000-8000-000000000000.json",
    "server.json",
    "control.sock",
    "run",
    "restored",
];

/// Longest time for anything that is asked of the server: grace, both proofs, and a slow machine.
const PROMPT: Duration = Duration::from_secs(12);

fn timed<T>(case: &str, what: &str, order: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = order();
    let took = began.elapsed();
    assert!(took < PROMPT, "{case}: {what} took {took:?}");
    done
}

/// Moves away what has the name, and plants something else.
fn spoil(home: &Home, path: &Path, plant: fn(&Path)) {
    if path.symlink_metadata().is_ok() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        std::fs::rename(path, home.path().join(format!("moved-{name}"))).unwrap();
    }
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    plant(path);
}

fn place(home: &Home, place: &str, id: &str) -> PathBuf {
    home.data().join(place.replace("ID", id))
}

/// One agent at work, one thing planted; then everything that must get through.
fn story(spot: &str, (what, plant): Plant) {
    let case = format!("{what} at {spot}");
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\necho x > x.txt\nsleep {marker}\n"));
    let env = [("MOSAIC_COMMAND", line.as_str()), ("MOSAIC_KILL_GRACE_MS", "100")];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    server.phase(&id, "working");
    until("the agent's program", || (!marker.alive().is_empty()).then_some(()));
    spoil(&home, &place(&home, spot, &id), plant);
    let killed = timed(&case, "the kill", || server.kill(&id));
    assert_eq!(killed["verified"], json!(true), "{case}: {killed:#}\n{}", server.log());
    assert_eq!(marker.alive(), Vec::<String>::new(), "{case}");
    let ended = timed(&case, "the settlement", || server.ended(&id));
    // Who spoils the records of its own job may end as failed by that before the order comes.
    let by_itself = spot.starts_with("agents/ID/runs") && ended["status"] == "failed";
    assert!(by_itself || ended["status"] == "killed", "{case}: {ended:#}");
    let all = timed(&case, "kill-all", || server.http.post("/agents/kill-all", None).expect(200));
    assert_eq!((&all["failed"], &all["recorded"]), (&json!(0), &json!("durable")), "{case}: {all:#}");
    let engage = || server.http.post("/v1/killswitch/engage", Some(&json!({}))).expect(200);
    assert_eq!(timed(&case, "engaging", engage)["recorded"], "durable", "{case}");
    timed(&case, "a stop", || {
        server.signal(rustix::process::Signal::TERM);
        server.wait_end();
    });
    drop(server);
    let server = timed(&case, "a start", || home.serve(&env));
    assert_eq!(server.http.get("/v1/killswitch").expect(200)["engaged"], true, "{case}");
    let release = || server.http.post("/v1/killswitch/release", Some(&json!({})));
    let released = timed(&case, "releasing", release);
    assert_eq!(released.status, 200, "{case}: {}", released.text);
    timed(&case, "rm", || {
        let removed = server.cli(&["rm", &id, "--force"]);
        assert!(removed.status.code().is_some(), "{case}: {removed:?}");
    });
}

/// `MOSAIC_TEST_PLANTS` runs every shape at every place.
#[test]
fn whatever_is_planted_where_the_server_reads_everything_gets_through() {
    let all = std::env::var_os("MOSAIC_TEST_PLANTS").is_some();
    for (row, spot) in PLACES.into_iter().enumerate() {
        for (column, plant) in PLANTS.into_iter().enumerate() {
            // By default one shape for each place, and another one from place to place: every shape and every place
            // occurs.
            if all || column == row % PLANTS.len() {
                story(spot, plant);
            }
        }
    }
}

#[test]
fn an_order_file_that_is_a_pipe_holds_dispatch_ends_nobody_and_gives_way_to_an_order() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\nsleep {marker}\n"));
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let runs = server.spawn(&body(&fixture.url(), "runs"));
    server.phase(&runs, "working");
    spoil(&home, &home.data().join("orders/latch.json"), PLANTS[2].1);
    let state = until("the reason", || {
        Some(server.http.get("/v1/state").expect(200)).filter(|state| state["dispatch"] == "held")
    });
    let why = state["admission"]["reason"].as_str().unwrap();
    assert!(why.contains("orders/latch.json"), "{why}");
    let ready = server.http.get("/health/ready").expect(200);
    assert!(
        ready["checks"]["dispatcher"]["detail"].as_str().unwrap().contains("orders/latch.json"),
        "{ready:#}"
    );
    let waits = server.spawn(&body(&fixture.url(), "waits"));
    assert_eq!(server.agent(&waits)["status"], "spawning");
    assert_eq!(server.http.get("/v1/killswitch").expect(200)["engaged"], false);
    assert_eq!(server.agent(&runs)["status"], "running", "nobody ends for it");
    let engaged = server.http.post("/v1/killswitch/engage", Some(&json!({}))).expect(200);
    assert_eq!(engaged["recorded"], "durable");
    assert_eq!(marker.alive(), Vec::<String>::new());
    server.http.post("/v1/killswitch/release", Some(&json!({}))).expect(200);
    server.phase(&waits, "working");
}
