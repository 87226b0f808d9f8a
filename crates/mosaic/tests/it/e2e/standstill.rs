//! A server that stands still for longer than a lease has nothing alive when another one begins, and no effect afterwards.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_server::ValkeyServer;
use rustix::process::Signal;
use serde_json::json;

use super::support::{Home, Server, body, script, until};

/// The shortest lease that may be configured, in milliseconds.
const LEASE: u64 = 3000;

/// A node's place, with an agent that beats until it is let go.
struct NodeTestbed {
    home: Home,
    name: &'static str,
    line: String,
    dir: PathBuf,
}

impl NodeTestbed {
    fn new(name: &'static str) -> Self {
        let home = Home::new();
        let dir = home.path().join("beating");
        std::fs::create_dir_all(&dir).unwrap();
        let text = "cat > /dev/null\ndate +%s%N >> DIR/starts\necho NODE > by.txt\n\
             while [ ! -e DIR/go ]; do date +%s%N >> DIR/beats; sleep 0.01; done\n";
        let line =
            script(&dir, "agent.sh", &text.replace("DIR", &dir.display().to_string()).replace("NODE", name));
        Self { home, name, line, dir }
    }

    fn serve(&self, store: &ValkeyServer) -> Server<'_> {
        let (port, lease) = (store.port().to_string(), LEASE.to_string());
        self.home.serve(&[
            ("VALKEY_PORT", &port),
            ("MOSAIC_NODE", self.name),
            ("MOSAIC_LEASE_MS", &lease),
            ("MOSAIC_COMMAND", &self.line),
            ("MOSAIC_SLOTS", "2"),
        ])
    }

    /// Returns what was noted, as nanoseconds of the wall clock that both share.
    fn times(&self, file: &str) -> Vec<u128> {
        let text = std::fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn go(&self) {
        std::fs::write(self.dir.join("go"), "").unwrap();
    }
}

fn cordon(by: &Server<'_>, node: &str, verb: &str) {
    by.http.post(&format!("/v1/nodes/{node}/{verb}"), Some(&json!({}))).expect(200);
}

#[test]
fn a_server_that_stands_still_for_two_leases_has_nothing_alive_beside_the_other_and_no_stale_effect() {
    let Some(store) = ValkeyServer::start() else { return };
    let (fixture, a, b) = (Fixture::new(), NodeTestbed::new("a"), NodeTestbed::new("b"));
    let (one, two) = (a.serve(&store), b.serve(&store));
    // While node a is cordoned, node b is certain to get the task; with both of them idle it could be either.
    cordon(&two, "a", "cordon");
    until("the cordon", || (one.http.get("/v1/state").expect(200)["cordoned"] == true).then_some(()));
    let id = one.spawn(&body(&fixture.url(), "T-1"));
    until("the agent", || (b.times("starts").len() == 1).then_some(()));
    one.phase(&id, "working");
    cordon(&two, "a", "uncordon");
    two.signal(Signal::STOP);
    let stopped = Instant::now();
    until("the agent on the other node", || (a.times("starts").len() == 1).then_some(()));
    let (last, first) = (*b.times("beats").last().unwrap(), a.times("starts")[0]);
    let between = Duration::from_nanos(u64::try_from(first.saturating_sub(last)).unwrap());
    println!("dead {between:?} before the other began, which was {:?} after the stop", stopped.elapsed());
    assert!(last < first, "two were alive: {last} {first}");
    until("two leases to be over", || (stopped.elapsed() >= Duration::from_millis(2 * LEASE)).then_some(()));
    let taken = one.agent(&id);
    two.signal(Signal::CONT);
    // Let go only now: an agent of b that survived by mistake would end here, and b would try to push its work.
    b.go();
    two.until_logged("kept");
    a.go();
    let agent = one.ended(&id);
    assert_eq!((&agent["status"], &agent["attempt"]), (&json!("completed"), &json!(1)), "{agent:#}");
    let branch = agent["branch"].as_str().unwrap();
    assert_eq!(fixture.read_branch_file(branch, "by.txt").as_deref(), Some("a\n"), "{taken:#}");
    assert_eq!((a.times("starts").len(), b.times("starts").len()), (1, 1));
}
