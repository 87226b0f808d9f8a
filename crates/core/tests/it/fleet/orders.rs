//! Stories about orders that reach agents on every node.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_kill_reaches_the_node_that_holds_the_agent_and_is_done_with_its_end() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b) = (fleet.node("a", 0), fleet.node("b", 1));
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.works_on(id, "b").await;
    let begun = tokio::time::Instant::now();
    let killed = a.o.kill(id, KillCause::Operator, "looping (alice)").await.expect("killed");
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(killed.confirmed && !killed.already_terminal && killed.elsewhere.is_none());
    let end = killed.record.agent.end().cloned().expect("it ended");
    assert_eq!((end.status, end.reason), (Status::Killed, EndReason::Operator));
    assert_eq!(end.error.as_deref(), Some("looping (alice)"));
    let mut orders = fleet.store.orders().await.expect("read");
    while !orders.kills.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        orders = fleet.store.orders().await.expect("read");
    }
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_of_what_a_cut_off_node_holds_says_so_and_holds_for_ever() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let b = fleet.node("b", 1);
    let a = fleet.node("a", 0);
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.works_on(id, "b").await;
    b.cut(true);
    // Two heartbeats are missing for certain by then, so b counts as silent while its lease still holds.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let killed = a.o.kill(id, KillCause::Operator, "no reason given (alice)").await.expect("ordered");
    let elsewhere = killed.elsewhere.expect("somebody else holds it");
    assert!(!killed.confirmed && elsewhere.silent && elsewhere.node.as_str() == "b");
    assert!(elsewhere.lease_expires_at.is_some());
    assert_eq!(fleet.store.orders().await.expect("read").kills.len(), 1, "it is durable");
    // Only this node has a free slot once the lease is over. The order must end the agent there before it starts.
    let c = fleet.node("c", 1);
    let record = fleet.until(id, ended).await;
    assert_eq!((record.agent.status(), record.agent.runs), (Status::Killed, 1));
    assert!(fleet.world.alive().is_empty());
    b.cut(false);
    tokio::time::sleep(TERM * 3).await;
    assert!(fleet.world.alive().is_empty() && fleet.store.orders().await.expect("read").kills.is_empty());
    for node in [a, b, c] {
        node.end(Stop::Now).await;
    }
}

#[tokio::test(start_paused = true)]
async fn kill_all_ends_what_every_node_runs_and_what_nobody_took_in_yet() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let nodes: Vec<Node> = ["a", "b", "c", "d"].iter().map(|name| fleet.node(name, 8)).collect();
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(spawn(&nodes[n % 4].o, &format!("T-{n}"), 3).await);
    }
    // All slots are in use and eight agents wait, so the order meets both kinds.
    soon(|| fleet.world.alive().len() == 32).await;
    let job = "foreign-1".to_owned();
    let (name, data, options) = ("spawn".to_owned(), "{}".to_owned(), "{}".to_owned());
    let submission = Submission { job, name, data, options, at: Timestamp(1), until: None };
    fleet.store.intervene(ExternalChange::Submitted(submission));
    let report = nodes[0].o.kill_all("test", Some("enough".to_owned())).await;
    assert_eq!((report.total, report.killed, report.failed), (40, 40, 0), "{:?}", report.errors);
    assert!(report.verified && fleet.world.alive().is_empty());
    let refused = fleet.store.refused();
    assert!(refused.len() == 1 && refused[0].1.contains("enough"), "{refused:?}");
    tokio::time::sleep(TERM * 2).await;
    assert!(fleet.world.alive().is_empty());
    for id in ids {
        assert_eq!(fleet.store.get(id).await.expect("there").agent.status(), Status::Killed);
    }
    for node in nodes {
        node.end(Stop::Now).await;
    }
}

#[tokio::test(start_paused = true)]
async fn kill_all_names_what_a_cut_off_node_has_not_confirmed() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b) = (fleet.node("a", 1), fleet.node("b", 1));
    let (one, two) = (spawn(&a.o, "T-1", 3).await, spawn(&a.o, "T-2", 3).await);
    for id in [one, two] {
        fleet.until(id, |r| r.agent.phase() == Phase::Working).await;
    }
    b.cut(true);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let report = a.o.kill_all("test", None).await;
    assert_eq!((report.total, report.killed, report.failed), (2, 1, 1), "{:?}", report.errors);
    assert!(!report.verified && report.unconfirmed.len() == 1);
    let said = &report.errors[0];
    assert!(said.contains("node b unreachable since") && said.contains("then it stops itself"), "{said}");
    assert!(report.unconfirmed[0].lease_expires_at.is_some());
    for id in [one, two] {
        assert_eq!(fleet.until(id, ended).await.agent.status(), Status::Killed);
    }
    assert!(fleet.world.alive().is_empty());
    b.cut(false);
    tokio::time::sleep(TERM * 2).await;
    assert_eq!((fleet.world.alive().len(), fleet.world.double_runs()), (0, 0));
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_covers_every_node_and_any_of_them_releases_it() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b) = (fleet.node("a", 1), fleet.node("b", 1));
    let (one, two) = (spawn(&a.o, "T-1", 3).await, spawn(&a.o, "T-2", 3).await);
    for id in [one, two] {
        fleet.until(id, |r| r.agent.phase() == Phase::Working).await;
    }
    let (_, report) = a.o.engage("test", None).await;
    assert_eq!((report.total, report.killed, report.verified), (2, 2, true), "{:?}", report.errors);
    soon(|| b.o.switch_state().latch.is_some()).await;
    let body = json!({"taskId": "T-3", "agentType": "worker", "context": {"repository": "https://git.example.com/r.git",
        "branch": "main", "workItems": ["x"]}});
    assert!(b.o.spawn(&body, None).await.is_err());
    // Whoever releases it, it is released everywhere, also where it was engaged.
    assert!(b.o.release("test").await.expect("released"));
    soon(|| a.o.switch_state().latch.is_none()).await;
    assert!(fleet.world.filed().orders.latch.is_none());
    let id = spawn(&b.o, "T-3", 3).await;
    fleet.until(id, |r| r.agent.phase() == Phase::Working).await;
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}
