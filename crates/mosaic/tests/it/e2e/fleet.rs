//! Several nodes on one Valkey, as an operator sees them: bulk stop orders reach all of them, and what lies on one is readable
//! through the others.

mod archive;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::tcp_proxy::TcpProxy;
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

/// The grace of servers in these tests.
const GRACE: Duration = Duration::from_millis(500);
/// Script of an agent that prints a line once it runs, and then ignores SIGTERM and SIGINT.
const DEAF: &str = "cat > /dev/null\ntrap '' TERM INT\necho said on $NODE\necho $$ >> DIR/pids\n\
                    setsid sleep 600 > /dev/null 2>&1 &\nwhile :; do sleep 0.1; done\n";

/// Starts a node of this name; its wire to the store has this port.
fn node<'h>(home: &'h Home, name: &str, store: u16, dir: &Path, lease: &str) -> Server<'h> {
    node_with(home, name, store, dir, lease, &[])
}

/// Starts a node with more settings.
fn node_with<'h>(
    home: &'h Home,
    name: &str,
    store: u16,
    dir: &Path,
    lease: &str,
    more: &[(&str, &str)],
) -> Server<'h> {
    let text = DEAF.replace("DIR", &dir.display().to_string()).replace("$NODE", name);
    let line = script(home.path(), "agent.sh", &text);
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let (store, port) = (store.to_string(), port.to_string());
    let settings = [
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", &store),
        ("MOSAIC_NODE", name),
        ("MOSAIC_NODE_URL", &url),
        ("ORCHESTRATOR_PORT", &port),
        ("MOSAIC_SLOTS", "10"),
        ("MOSAIC_LEASE_MS", lease),
        ("MOSAIC_COMMAND", &line),
        ("MOSAIC_CONTAINMENT", "subreaper"),
    ];
    home.serve(&[&settings, more].concat())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns the programs that run of those that said so.
fn alive(dir: &Path) -> usize {
    let pids = std::fs::read_to_string(dir.join("pids")).unwrap_or_default();
    // A number that somebody else has by now has another command line.
    let runs = |pid: &&str| {
        let line = std::fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("agent.sh")
    };
    pids.lines().filter(runs).count()
}

/// Spawns agents through the nodes in turn and waits until all run.
fn spawn_all(servers: &[Server<'_>], fixture: &Fixture, dir: &Path, count: usize) -> Vec<String> {
    let ids: Vec<String> = (0..count)
        .map(|n| servers[n % servers.len()].spawn(&body(&fixture.url(), &format!("T-{n}"))))
        .collect();
    until("every agent to run", || (alive(dir) == count).then_some(()));
    ids
}

fn counts(answer: &Value) -> (u64, u64, u64) {
    let number = |name: &str| answer[name].as_u64().unwrap();
    (number("total"), number("killed"), number("failed"))
}

#[test]
fn kill_all_reaches_four_nodes_and_leaves_nothing_alive() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([(); 4].map(|()| Home::new()), Fixture::new());
    let dir = homes[0].path();
    let servers: Vec<Server<'_>> = homes
        .iter()
        .enumerate()
        .map(|(n, home)| node(home, &format!("node-{n}"), store.port(), dir, "60000"))
        .collect();
    let ids = spawn_all(&servers, &fixture, dir, 40);
    let began = Instant::now();
    let answer = servers[1].http.post("/agents/kill-all", Some(&json!({"reason": "enough"}))).expect(200);
    let took = began.elapsed();
    assert_eq!(counts(&answer), (40, 40, 0), "{answer:#}");
    // One second after the answer plus the grace; nobody gets that long here.
    assert_eq!(alive(dir), 0, "alive after the answer");
    println!("40 agents on 4 nodes: answered after {took:?} with a grace of {GRACE:?}");
    for id in &ids {
        assert_eq!(servers[2].ended(id)["status"], "killed");
    }
    // What comes afterwards runs, and none of the others comes back.
    let later = servers[3].spawn(&body(&fixture.url(), "T-later"));
    servers[0].phase(&later, "working");
    until("it to say so", || (alive(dir) == 1).then_some(()));
    servers[0].kill(&later);
}

#[test]
fn a_node_that_is_cut_off_is_named_with_the_end_of_its_leases_and_ends_its_agents_by_itself() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let dir = homes[0].path();
    let wire = TcpProxy::lay(SocketAddr::from((Ipv4Addr::LOCALHOST, store.port()))).unwrap();
    let servers = [
        node(&homes[0], "near", store.port(), dir, "30000"),
        node(&homes[1], "far", wire.port(), dir, "30000"),
    ];
    let ids = spawn_all(&servers, &fixture, dir, 20);
    let held: Vec<&String> = ids.iter().filter(|id| servers[0].agent(id)["node"] == "far").collect();
    assert_eq!(held.len(), 10, "each node has ten slots");
    wire.cut();
    let answer = servers[0].http.post("/agents/kill-all", Some(&json!({}))).expect(200);
    let (total, killed, failed) = counts(&answer);
    assert_eq!(total, 20, "{answer:#}");
    // The leases outlast the answer, which waits ten seconds and the grace for what is not confirmed.
    assert_eq!((killed, failed), (10, 10), "{answer:#}");
    let errors = answer["errors"].to_string();
    assert!(errors.contains("node far") && errors.contains("lease"), "{errors}");
    // Nobody tells the cut-off node: the supervisors' own deadline ends its agents.
    until("everything to be dead", || (alive(dir) == 0).then_some(()));
    wire.mend();
    for id in ids {
        assert_eq!(servers[0].ended(&id)["status"], "killed");
    }
    assert_eq!(alive(dir), 0);
}

#[test]
fn what_one_node_has_is_seen_and_steered_through_the_other() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let dir = homes[0].path();
    let one = node(&homes[0], "one", store.port(), dir, "60000");
    let id = one.spawn(&body(&fixture.url(), "T-1"));
    one.phase(&id, "working");
    let two = node(&homes[1], "two", store.port(), dir, "60000");
    let path = format!("/v1/agents/{id}/transcript");
    until("the line", || two.http.get(&path).text.contains("said on one").then_some(()));
    let nodes = two.http.get("/v1/nodes").expect(200);
    let names: Vec<&str> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap()).collect();
    assert_eq!(names, ["one", "two"], "{nodes:#}");
    let printed = two.cli(&["nodes"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("one") && printed.contains("two"), "{printed}");
    // An order for an agent that the other node holds arrives there within a second.
    let began = Instant::now();
    let killed = two.http.post(&format!("/agents/{id}/kill"), Some(&json!({}))).expect(200);
    println!("killed on another node after {:?} with a grace of {GRACE:?}", began.elapsed());
    assert_eq!((&killed["status"], &killed["verified"]), (&json!("killed"), &json!(true)), "{killed:#}");
    assert_eq!(alive(dir), 0);
    // A cordoned node takes nothing; the other does.
    two.http.post("/v1/nodes/one/cordon", Some(&json!({"reason": "repair"}))).expect(200);
    until("the node to know", || (one.http.get("/v1/state").expect(200)["cordoned"] == true).then_some(()));
    let listed = String::from_utf8(two.cli(&["nodes"]).stdout).unwrap();
    assert!(listed.contains("cordoned") && listed.contains("ready"), "{listed}");
    let id = one.spawn(&body(&fixture.url(), "T-2"));
    one.phase(&id, "working");
    assert_eq!(one.agent(&id)["node"], "two");
    one.kill(&id);
}

#[test]
fn unmerged_work_on_another_node_is_pruned_by_nobody_but_that_node() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let dir = homes[0].path();
    let servers = [
        node(&homes[0], "home", store.port(), dir, "60000"),
        node(&homes[1], "other", store.port(), dir, "60000"),
    ];
    servers[1].http.post("/v1/nodes/other/cordon", Some(&json!({}))).expect(200);
    let line = "cat > /dev/null\necho precious > precious.txt\ngit add -A && git commit -qm precious\necho more > more.txt\n\
                echo $$ >> DIR/pids\nexec sleep 600\n";
    script(homes[0].path(), "agent.sh", &line.replace("DIR", &dir.display().to_string()));
    let id = servers[0].spawn(&body(&fixture.url(), "T-1"));
    until("the work to be there", || std::fs::read_to_string(dir.join("pids")).ok());
    servers[0].kill(&id);
    assert_eq!(servers[0].ended(&id)["status"], "killed");
    let all = json!({"olderThan": "0s"});
    let there = servers[1].http.post("/v1/prune", Some(&all)).expect(200);
    assert_eq!((&there["removed"], &there["elsewhere"]), (&json!(0), &json!({"home": 1})), "{there:#}");
    let forced = servers[1].http.post("/v1/prune", Some(&json!({"olderThan": "0s", "force": 0}))).expect(200);
    assert_eq!(forced["removed"], 0, "{forced:#}");
    let here = servers[0].http.post("/v1/prune", Some(&all)).expect(200);
    assert_eq!(here["unmerged"][0]["agentId"], id.as_str(), "{here:#}");
    let restored = servers[1].http.post(&format!("/v1/agents/{id}/restore"), Some(&json!({}))).expect(201);
    let copy = Path::new(restored["path"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(copy.join("more.txt")).unwrap(), "more\n");
}

/// Starts two nodes, of which the one whose wire is returned runs an agent that has committed and uncommitted work.
fn work_on_a_node_with_a_wire<'h>(
    homes: &'h [Home; 2],
    fixture: &Fixture,
    store: &ValkeyServer,
) -> ([Server<'h>; 2], TcpProxy, String) {
    let wire = TcpProxy::lay(SocketAddr::from((Ipv4Addr::LOCALHOST, store.port()))).unwrap();
    let dir = homes[0].path();
    let servers = [
        node(&homes[0], "near", store.port(), dir, "4000"),
        node(&homes[1], "far", wire.port(), dir, "4000"),
    ];
    let line = "cat > /dev/null\necho precious > precious.txt\ngit add -A && git commit -qm precious\necho more > more.txt\n\
                echo $$ >> DIR/pids\nexec sleep 600\n";
    for home in homes {
        script(home.path(), "agent.sh", &line.replace("DIR", &dir.display().to_string()));
    }
    servers[0].http.post("/v1/nodes/near/cordon", Some(&json!({}))).expect(200);
    let id = servers[0].spawn(&body(&fixture.url(), "T-1"));
    until("the work to be there", || std::fs::read_to_string(dir.join("pids")).ok());
    (servers, wire, id)
}

#[test]
fn work_of_an_attempt_that_its_node_took_along_is_listed_restored_and_removed_by_nobody_unasked() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let (servers, wire, id) = work_on_a_node_with_a_wire(&homes, &fixture, &store);
    let [near, far] = servers;
    wire.cut();
    near.http.post("/v1/nodes/near/uncordon", Some(&json!({}))).expect(200);
    until("the other node to run it", || {
        let agent = near.agent(&id);
        (agent["node"] == "near" && agent["phase"] == "working").then_some(())
    });
    let kept = &near.agent(&id)["keptWork"][0];
    assert_eq!(
        (&kept["node"], &kept["run"], &kept["state"]),
        (&json!("far"), &json!(1), &json!("unreported"))
    );
    let away = near.http.post(&format!("/v1/agents/{id}/restore"), Some(&json!({"run": 1}))).expect(503);
    assert_eq!((&away["code"], &away["node"]), (&json!("node_unreachable"), &json!("far")), "{away:#}");
    wire.mend();
    let kept = until("the report", || {
        let kept = near.agent(&id)["keptWork"][0].clone();
        (kept["state"] == "kept").then_some(kept)
    });
    let salvage = format!("refs/mosaic/salvage/{id}");
    assert_eq!(kept["refs"][0]["reference"], salvage.as_str(), "{kept:#}");
    let warnings = near.agent(&id)["warnings"].to_string();
    assert!(warnings.contains(&salvage) && warnings.contains("node far"), "{warnings}");
    // The agent runs on meanwhile; what was left is restored on the node that has it.
    let restored = near.cli(&["restore", &id, "--attempt", "1", "--json"]);
    let restored: Value = serde_json::from_slice(&restored.stdout).expect("an answer");
    let copy = Path::new(restored["path"].as_str().unwrap());
    assert!(copy.starts_with(homes[1].data()) && restored["node"] == "far", "{restored:#}");
    for (file, text) in [("precious.txt", "precious\n"), ("more.txt", "more\n")] {
        assert_eq!(std::fs::read_to_string(copy.join(file)).unwrap(), text);
    }
    near.kill(&id);
    near.ended(&id);
    let name = near.agent(&id)["name"].as_str().unwrap().to_owned();
    let refused = near.http.delete(&format!("/v1/agents/{id}")).expect(409);
    assert_eq!(refused["elsewhere"][0]["node"], "far", "{refused:#}");
    let pruned = near.http.post("/v1/prune", Some(&json!({"olderThan": "0s"}))).expect(200);
    assert_eq!((&pruned["removed"], &pruned["unmerged"][0]["name"]), (&json!(0), &json!(name)), "{pruned:#}");
    assert!(
        String::from_utf8(near.cli(&["status", &id]).stdout).unwrap().contains("Kept      run 1 (attempt 1)")
    );
    near.http.delete(&format!("/v1/agents/{id}?discard={name}")).expect(200);
    drop(far);
}

#[test]
fn a_node_is_declared_lost_by_a_person_and_ended_agents_still_say_where_they_ran() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let (servers, wire, id) = work_on_a_node_with_a_wire(&homes, &fixture, &store);
    let [near, far] = servers;
    let refused = near.http.delete("/v1/nodes/far?lost=true").expect(409);
    assert_eq!(refused["code"], "node_active", "{refused:#}");
    far.kill(&id);
    assert_eq!(near.ended(&id)["node"], "far");
    wire.cut();
    until("the node to be missed", || {
        let nodes = near.http.get("/v1/nodes").expect(200);
        (nodes["nodes"][0]["alive"] == false).then_some(())
    });
    let refused = near.http.delete(&format!("/v1/agents/{id}")).expect(503);
    assert_eq!(
        (&refused["code"], &refused["node"]),
        (&json!("node_unreachable"), &json!("far")),
        "{refused:#}"
    );
    let output = near.cli(&["nodes", "rm", "far", "--lost", "--reason", "the disk is gone"]);
    assert!(output.status.success(), "{output:?}");
    let nodes = near.http.get("/v1/nodes").expect(200);
    assert_eq!((nodes["nodes"].as_array().unwrap().len(), &nodes["lost"][0]["node"]), (1, &json!("far")));
    let audit = near.http.get("/v1/audit?action=node-lost").expect(200);
    // The refused one before it says nothing.
    assert_eq!(audit["records"][1]["reason"], "the disk is gone", "{audit:#}");
    near.http.delete(&format!("/v1/agents/{id}")).expect(200);
}

#[test]
fn a_copy_of_a_data_directory_does_not_start_beside_the_original() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let original = node(&home, "build-1", store.port(), home.path(), "60000");
    let ids = spawn_all(std::slice::from_ref(&original), &fixture, home.path(), 2);
    let copy = home.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["instance", "token", "agent-secret"] {
        std::fs::copy(home.data().join(name), copy.join(name)).unwrap();
    }
    let port = store.port().to_string();
    let mut second = home.mosaic(&["serve"]);
    second.env("MOSAIC_DATA_DIR", &copy).env("ORCHESTRATOR_PORT", "0").env("MOSAIC_NODE", "build-1");
    let refused = second.env("VALKEY_HOST", "127.0.0.1").env("VALKEY_PORT", &port).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("\"instance\""), "{told}");
    for id in &ids {
        assert_eq!(original.agent(id)["phase"], "working");
    }
    original.http.post("/agents/kill-all", Some(&json!({}))).expect(200);
}

/// Plays an order to stop on a node that admitted none of its two agents, while the store is away; then it comes back.
fn stopped_without_the_store(order: impl FnOnce(&Server<'_>, &[String]), killed: usize) {
    let Some(mut store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let dir = homes[0].path();
    let servers = [
        node(&homes[0], "admits", store.port(), dir, "60000"),
        node(&homes[1], "runs", store.port(), dir, "60000"),
    ];
    servers[0].http.post("/v1/nodes/admits/cordon", Some(&json!({}))).expect(200);
    let ids = spawn_all(&servers[..1], &fixture, dir, 2);
    for id in &ids {
        assert_eq!(servers[0].phase(id, "working")["node"], "runs");
    }
    store.kill();
    order(&servers[1], &ids);
    assert_eq!(alive(dir), 2 - killed, "an order to stop waited for the store");
    store.restart();
    for server in &servers {
        until("the store to be back", || {
            (server.http.get(&format!("/v1/agents/{}", ids[0])).status == 200).then_some(())
        });
    }
    // The order stands on every node, and what comes afterwards runs.
    for id in &ids[..killed] {
        assert_eq!(servers[0].ended(id)["status"], "killed");
    }
    servers[1].http.post("/v1/killswitch/release", Some(&json!({}))).expect(200);
    let later = until("a spawn once the store is back", || {
        let reply = servers[0].http.post("/agents/spawn", Some(&body(&fixture.url(), "T-later")));
        (reply.status == 201).then(|| reply.body["agentId"].as_str().unwrap().to_owned())
    });
    servers[1].phase(&later, "working");
    servers[1].http.post("/agents/kill-all", Some(&json!({}))).expect(200);
}

#[test]
fn kill_all_ends_what_another_node_admitted_while_the_store_is_away() {
    let order = |server: &Server<'_>, _: &[String]| {
        let answer = server.http.post("/agents/kill-all", Some(&json!({"reason": "enough"}))).expect(200);
        assert_eq!(counts(&answer), (2, 2, 0), "{answer:#}");
        assert_eq!(
            (&answer["verified"], &answer["recorded"]),
            (&json!(false), &json!("durable")),
            "{answer:#}"
        );
        assert!(
            answer["errors"].to_string().contains("queued agents"),
            "what is unknown is said: {answer:#}"
        );
    };
    stopped_without_the_store(order, 2);
}

#[test]
fn the_command_line_gives_orders_to_stop_although_nothing_can_be_counted() {
    let kill_all = |server: &Server<'_>, _: &[String]| {
        let output = server.cli(&["kill-all", "--yes"]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("2 killed"), "{output:?}");
    };
    stopped_without_the_store(kill_all, 2);
    let kill = |server: &Server<'_>, ids: &[String]| {
        let output = server.cli(&["kill", &ids[0]]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("0 of"), "{output:?}");
    };
    stopped_without_the_store(kill, 1);
    let engage = |server: &Server<'_>, _: &[String]| {
        let output = server.cli(&["killswitch", "engage"]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("2 killed"), "{output:?}");
    };
    stopped_without_the_store(engage, 2);
}

/// Starts a node as an operator does who gives no more than the store, or with this further variable.
fn bare_node<'h>(home: &'h Home, name: &str, store: &ValkeyServer, more: &[(&str, &str)]) -> Server<'h> {
    let port = store.port().to_string();
    let env = [("VALKEY_HOST", "127.0.0.1"), ("VALKEY_PORT", &port), ("MOSAIC_NODE", name)];
    home.serve(&[&env[..], more].concat())
}

#[test]
fn one_token_opens_every_node_whether_it_is_given_or_not() {
    let Some(store) = ValkeyServer::start() else { return };
    let homes = [Home::new(), Home::new()];
    // One of them had a data directory, and a token, before there was a fleet.
    drop(homes[1].serve(&[]));
    let token = |home: &Home| std::fs::read_to_string(home.data().join("token")).unwrap().trim().to_owned();
    let before = token(&homes[1]);
    let servers = [bare_node(&homes[0], "one", &store, &[]), bare_node(&homes[1], "two", &store, &[])];
    assert_eq!(token(&homes[0]), token(&homes[1]), "a balancer would be refused by one of them");
    for server in &servers {
        let with = |token: &str| server.http.with_token(token).get("/v1/nodes").status;
        assert_eq!(with(&token(&homes[0])), 200);
        assert_eq!(with(&before), if server.home().data() == homes[1].data() { 200 } else { 401 });
        assert_eq!(server.http.anonymous().get("/health").status, 200);
        assert_ne!(server.http.anonymous().get("/health/ready").status, 401);
        assert_eq!(server.http.anonymous().get("/v1/nodes").status, 401);
    }
    drop(servers);
    let file = homes[0].path().join("shared-token");
    std::fs::write(&file, "a-token-for-all-of-the-fleet\n").unwrap();
    let given = file.display().to_string();
    for (home, name) in homes.iter().zip(["one", "two"]) {
        let server = bare_node(home, name, &store, &[("MOSAIC_TOKEN_FILE", &given)]);
        assert_eq!(server.http.with_token("a-token-for-all-of-the-fleet").get("/v1/nodes").status, 200);
    }
}

#[test]
fn a_drain_is_waited_for_with_a_deadline_and_says_how_many_are_left() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let dir = homes[0].path();
    let servers = [
        node(&homes[0], "asked", store.port(), dir, "60000"),
        node(&homes[1], "drained", store.port(), dir, "60000"),
    ];
    servers[0].http.post("/v1/nodes/asked/cordon", Some(&json!({}))).expect(200);
    let ids = spawn_all(&servers[..1], &fixture, dir, 2);
    let late = servers[0].cli(&["nodes", "drain", "drained", "--wait=1s"]);
    let told = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(!late.status.success() && told.contains("2 agents have still at work after 1s"), "{told}");
    for id in &ids {
        servers[0].kill(id);
    }
    let done = servers[0].cli(&["nodes", "drain", "drained", "--wait=60s"]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && told.contains("its server has ended"), "{told}");
    let nodes = servers[0].http.get("/v1/nodes").expect(200);
    assert_eq!((&nodes["nodes"][1]["alive"], &nodes["nodes"][1]["draining"]), (&json!(false), &json!(true)));
}

/// Clients that spawn at the same time.
const CLIENTS: usize = 8;

#[test]
fn kill_all_of_a_long_queue_counts_every_agent_that_waits_and_leaves_none() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let count: usize = std::env::var("MOSAIC_WAITING").map_or(2000, |text| text.parse().unwrap());
    let server = bare_node(&home, "one", &store, &[]);
    server.http.post("/v1/queue/pause", Some(&json!({}))).expect(200);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, fixture) = (&server, &fixture);
            scope.spawn(move || {
                for n in (client..count).step_by(CLIENTS) {
                    server.spawn(&body(&fixture.url(), &format!("T-{n}")));
                }
            });
        }
    });
    let began = Instant::now();
    let answer = server.http.post("/agents/kill-all", Some(&json!({"reason": "enough"}))).expect(200);
    println!("kill-all of {count} waiting agents: answered after {:?}", began.elapsed());
    assert_eq!(counts(&answer), (count as u64, count as u64, 0), "{}", answer["errors"]);
    assert_eq!((&answer["verified"], &answer["recorded"]), (&json!(true), &json!("durable")));
    let queue = server.http.get("/v1/queue?limit=1").expect(200);
    let left = |name: &str| queue["counts"][name].as_u64().unwrap();
    assert_eq!((left("waiting"), left("delayed"), left("killed")), (0, 0, count as u64), "{queue:#}");
}
