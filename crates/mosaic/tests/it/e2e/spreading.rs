//! Many tasks at once on several nodes over one Valkey: they spread by free slots, also to a node that is far from the store, and
//! a node that cannot run them attracts none. Limits of a repository hold for all nodes together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::tcp_proxy::TcpProxy;
use mosaic_testkit::valkey_server::ValkeyServer;

use super::support::{Home, Server, body, script, until};

const TASKS: usize = 40;

/// Starts a node whose agents stay until they are killed.
fn node<'h>(home: &'h Home, name: &str, store: u16, more: &[(&str, &str)]) -> Server<'h> {
    let line = script(home.path(), "agent.sh", "cat > /dev/null\nexec sleep 600\n");
    let store = store.to_string();
    let settings = [
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", store.as_str()),
        ("MOSAIC_NODE", name),
        ("MOSAIC_SLOTS", "20"),
        ("MOSAIC_LEASE_MS", "60000"),
        ("MOSAIC_COMMAND", line.as_str()),
        ("MOSAIC_CONTAINMENT", "subreaper"),
    ];
    home.serve(&[&settings, more].concat())
}

/// Waits until every node knows all of them.
fn know_each_other(servers: &[Server<'_>]) {
    for server in servers {
        until("all nodes", || {
            let state = server.http.get("/v1/state").expect(200);
            (state["nodes"]["alive"] == servers.len()).then_some(())
        });
    }
}

/// Spawns tasks as fast as one client can, through one node; returns how many each node has.
fn spread(through: &Server<'_>, fixture: &Fixture, count: usize) -> BTreeMap<String, usize> {
    let ids: Vec<String> =
        (0..count).map(|n| through.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    let mut counts = BTreeMap::new();
    for id in ids {
        let node = until("a node to take it", || through.agent(&id)["node"].as_str().map(str::to_owned));
        *counts.entry(node).or_default() += 1;
    }
    counts
}

#[test]
fn forty_tasks_on_four_idle_nodes_spread_also_to_the_one_that_is_far_from_the_store() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([(); 4].map(|()| Home::new()), Fixture::new());
    let wire = TcpProxy::lay(SocketAddr::from((Ipv4Addr::LOCALHOST, store.port()))).unwrap();
    let port = |n: usize| if n == 3 { wire.port() } else { store.port() };
    let servers: Vec<Server<'_>> =
        homes.iter().enumerate().map(|(n, home)| node(home, &format!("node-{n}"), port(n), &[])).collect();
    know_each_other(&servers);
    // Each of its calls takes 20 ms more than the others'.
    wire.slow_down(Duration::from_millis(10));
    let counts = spread(&servers[0], &fixture, TASKS);
    println!("{TASKS} tasks on 4 idle nodes: {counts:?}");
    for n in 0..3 {
        let count = counts.get(&format!("node-{n}")).copied().unwrap_or_default();
        assert!((6..=16).contains(&count), "{counts:?}");
    }
    let far = counts.get("node-3").copied().unwrap_or_default();
    assert!((4..=14).contains(&far), "the far one: {counts:?}");
}

#[test]
fn a_node_without_the_program_attracts_nothing_although_all_its_slots_are_free() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([(); 3].map(|()| Home::new()), Fixture::new());
    // By its free slots alone this node would attract most of the tasks.
    let broken = [("MOSAIC_COMMAND", "/nonexistent/agent"), ("MOSAIC_SLOTS", "100")];
    let servers = [
        node(&homes[0], "good-0", store.port(), &[]),
        node(&homes[1], "good-1", store.port(), &[]),
        node(&homes[2], "bad", store.port(), &broken),
    ];
    know_each_other(&servers);
    let counts = spread(&servers[2], &fixture, 20);
    println!("20 tasks on 2 good nodes and a bad one: {counts:?}");
    assert_eq!(counts.get("bad"), None, "{counts:?}");
    assert!(counts.values().all(|count| (6..=14).contains(count)), "{counts:?}");
}

#[test]
fn of_one_repository_no_more_agents_run_on_all_nodes_than_may() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture, other) = ([Home::new(), Home::new()], Fixture::new(), Fixture::new());
    let bound = [("MOSAIC_REPOSITORY_FLEET_SLOTS", "3")];
    let servers =
        [node(&homes[0], "near", store.port(), &bound), node(&homes[1], "far", store.port(), &bound)];
    know_each_other(&servers);
    let ids: Vec<String> =
        (0..8).map(|n| servers[n % 2].spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    let running = || ids.iter().filter(|id| servers[0].agent(id)["status"] == "running").count();
    until("three to run", || (running() == 3).then_some(()));
    // Behind those that wait, and taken at once.
    let passes = servers[1].spawn(&body(&other.url(), "T-other"));
    servers[1].phase(&passes, "working");
    let queue = servers[1].http.get("/v1/queue").expect(200);
    let waiting = queue["waiting"].as_array().unwrap();
    assert_eq!((waiting.len(), running()), (5, 3), "{queue:#}");
    let reason = waiting[0]["reason"].as_str().unwrap();
    assert!(reason.contains("3 agents of its repository run on all nodes together"), "{reason}");
    assert!(reason.contains("MOSAIC_REPOSITORY_FLEET_SLOTS"), "{reason}");
    // Whatever ends makes room for the next one, and never for two.
    for (n, id) in ids.iter().enumerate() {
        servers[0].phase(id, "working");
        assert!(running() <= 3, "{} run", running());
        servers[n % 2].kill(id);
    }
}
