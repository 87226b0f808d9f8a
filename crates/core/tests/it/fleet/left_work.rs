//! Stories about work that an attempt left on a node, and about who may remove it.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_old_is_told_by_the_store_s_clock_and_files_are_left_alone_while_the_own_one_is_wrong() {
    let fleet = Fleet::new(Behaviour::EndAtOnce);
    let node = fleet.node("a", 2);
    soon(|| node.o.clocks().offset().is_some()).await;
    let id = spawn(&node.o, "T-1", 0).await;
    fleet.until(id, ended).await;
    fleet.world.knobs.jump(400 * 24 * 3_600_000);
    let mut rounds = Rounds::default();
    node.o.care_round(&mut rounds).await;
    assert!(fleet.store.get(id).await.is_ok(), "a record of this hour was removed as old");
    fleet.world.knobs.jump(0);
    node.end(Stop::Now).await;
}

/// Plays an agent that node `a` loses and `b` completes; `a` is cut off for good until its connection is restored.
async fn lost_on_a_and_completed_on_b(fleet: &Fleet) -> (Node, Node, AgentId) {
    let a = fleet.node("a", 1);
    let id = spawn(&a.o, "T-1", 3).await;
    fleet.works_on(id, "a").await;
    let b = fleet.node("b", 1);
    a.cut(true);
    fleet.works_on(id, "b").await;
    fleet.world.release();
    fleet.until(id, ended).await;
    soon(|| b.o.known_nodes().iter().any(|node| node.info.node.as_str() == "a" && !node.alive)).await;
    // What ended this very moment is not old enough to go.
    tokio::time::sleep(Duration::from_secs(1)).await;
    (a, b, id)
}

fn entry() -> AuditEntry {
    AuditEntry::new(Action::Remove, "test", Timestamp(1))
}

fn prune() -> PruneRequest {
    let (older_than, after) = (Duration::ZERO, EndedAfter::default());
    let why = "test".to_owned();
    PruneRequest { older_than, dry_run: false, force: None, after, everywhere: true, why, by: entry() }
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_attempt_left_is_removed_by_nobody_who_was_not_asked() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b, id) = lost_on_a_and_completed_on_b(&fleet).await;
    let refused = b.o.remove(id, None, "test", &entry()).await.expect_err("its work is on the other node");
    let RemoveError::Unmerged(lost) = &refused else { panic!("{refused}") };
    assert_eq!((lost.elsewhere.len(), lost.elsewhere[0].node.as_str()), (1, "a"));
    let pruned = Box::pin(b.o.prune(&prune())).await.expect("looked");
    assert_eq!((pruned.removed, pruned.unmerged.len()), (0, 1));
    // Back again it says what it has, and that is no reason to let go of it either.
    a.cut(false);
    soon(|| fleet.world.trees_on("a").is_empty()).await;
    assert!(matches!(b.o.remove(id, None, "test", &entry()).await, Err(RemoveError::Unmerged(_))));
    // Who names the agent gives its work up wherever it lies.
    let name = fleet.store.get(id).await.expect("there").agent.name;
    b.o.remove(id, Some(&name), "test", &entry()).await.expect("removed");
    let gone = fleet.store.get(id).await.expect_err("removed");
    assert!(matches!(gone, StoreError::Pruned { node: None, .. }), "{gone:?}");
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}

#[tokio::test(start_paused = true)]
async fn only_a_person_declares_a_node_lost_and_only_then_others_decide_about_its_records() {
    let fleet = Fleet::new(Behaviour::RunOn);
    let (a, b, id) = lost_on_a_and_completed_on_b(&fleet).await;
    let name = |name: &str| name.parse::<NodeId>().expect("a word");
    let lost =
        |node: &str| LostNode { node: name(node), by: "test".to_owned(), reason: None, at: Timestamp(1) };
    let alive = b.o.remove_node(&name("b"), Some(&lost("b")), "test").await.expect("looked");
    assert!(matches!(alive, NodeRemoval::Alive(_)), "{alive:?}");
    assert_eq!(b.o.remove_node(&name("x"), None, "test").await.expect("looked"), NodeRemoval::Unknown);
    // Off the list only, it still has what it has.
    assert_eq!(b.o.remove_node(&name("a"), None, "test").await.expect("removed"), NodeRemoval::Done);
    assert!(b.o.nodes().await.expect("read").iter().all(|node| node.info.node != name("a")));
    assert!(matches!(b.o.remove(id, None, "test", &entry()).await, Err(RemoveError::Unmerged(_))));
    let done = b.o.remove_node(&name("a"), Some(&lost("a")), "test").await.expect("declared");
    assert_eq!(done, NodeRemoval::Done);
    let record = fleet.store.get(id).await.expect("there");
    assert_eq!(b.o.kept_work(&record).await[0].state, WorkState::Lost);
    assert_eq!(Box::pin(b.o.prune(&prune())).await.expect("pruned").removed, 1);
    assert!(fleet.kinds().await.contains(&"node.removed".to_owned()));
    // Others than `a` never saw what lies there: should it come back, it keeps that.
    let gone = fleet.store.get(id).await.expect_err("removed");
    assert!(matches!(&gone, StoreError::Pruned { node: Some(node), .. } if *node == name("b")), "{gone:?}");
    a.cut(false);
    soon(|| b.o.known_nodes().iter().any(|node| node.info.node.as_str() == "a" && node.alive)).await;
    assert!(b.o.ports().fleet.lost_nodes().await.expect("read").is_empty(), "it is one of the fleet again");
    a.end(Stop::Now).await;
    b.end(Stop::Now).await;
}
