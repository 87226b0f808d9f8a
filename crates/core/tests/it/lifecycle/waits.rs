//! Waits for a limit of the model service, and for a node that is able.

use super::*;

/// A turn that met a limit which ends in three hours.
fn limited() -> Event {
    let failure = Failure::new(FailureKind::RateLimited, "you hit your limit");
    let reset = Some(Reset::At(now().at.plus(HOURS)));
    let outcome = Outcome::Failed(Failure { reset, credential: Some("claude:a".to_owned()), ..failure });
    Event::TurnEnded { outcome, left: None, session: None, warnings: Vec::new() }
}

const HOURS: std::time::Duration = std::time::Duration::from_secs(3 * 3600);

#[test]
fn a_limit_with_a_stated_end_is_waited_for_and_is_no_attempt() {
    let mut worker = agent("worker");
    worker.spec.max_retries = 0;
    let wait = || to_working().into_iter().chain([limited(), pick("Unwound")]);
    let waiting = run(&worker, wait());
    assert_eq!((waiting.phase().as_str(), waiting.attempt), ("backoff", 1));
    assert_eq!(waiting.not_before(), Some(now().at.plus(HOURS)));
    let kinds: Vec<_> = waiting.attention.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [AttentionKind::Quota]);
    // Deferred meanwhile, it still waits for that.
    let put_off = run(&waiting, [pick("PutOff")]);
    assert!(put_off.quota().is_some() && put_off.attention == waiting.attention);
    let again = run(&put_off, [pick("Leased")]);
    assert_eq!((again.attempt, again.attention.len()), (1, 0));
    assert_eq!(run(&waiting, [pick("Kill")]).status(), Status::Killed);

    let many = (0..mosaic_core::limits::QUOTA_WAITS).fold(worker, |record, _| run(&record, wait()));
    assert_eq!((many.attempt, many.status()), (1, Status::Running));
    let end = run(&many, wait()).end().cloned().unwrap();
    assert_eq!(end.reason, EndReason::RateLimited, "a service that never lets it work must not keep it");
}

#[test]
fn a_limit_holds_up_its_credential_and_no_repository() {
    use mosaic_core::domain::breaker::sign;
    let working = run(&agent("worker"), to_working());
    assert_eq!(sign(&working, &limited(), "claude"), None);
}

#[test]
fn what_a_node_fails_at_goes_back_at_once_and_counts_as_no_attempt() {
    let moved = run(&agent("worker"), [pick("Leased"), node_failed("a", Elsewhere::Able), pick("Unwound")]);
    assert_eq!(
        (&moved.state, moved.attempt, moved.not_before()),
        (&State::Queued { cause: QueueCause::Interrupted }, 1, None)
    );
    let again = run(&moved, [Event::Placed { node: "b".parse().unwrap() }, pick("Leased")]);
    assert_eq!((again.attempt, again.node_faults.len()), (1, 1));
    let done = run(&again, to_working().into_iter().skip(1).chain(["TurnEnded(ok)", "Kept"].map(pick)));
    assert!(done.node_faults.is_empty() && done.node_tries == 0, "what came to something still counts");
}

#[test]
fn where_no_node_is_able_it_waits_longer_each_time_and_ends_with_every_nodes_reason() {
    let mut record = agent("worker");
    let mut waits = Vec::new();
    for n in 0..limits::NODE_TRIES {
        let node = if n == 0 { "a" } else { "b" };
        record = run(&record, [pick("Leased"), node_failed(node, Elsewhere::Away), pick("Unwound")]);
        waits.push(record.not_before().expect("it waits").0 - now().at.0);
    }
    assert!(waits.windows(2).all(|two| two[0] < two[1]), "{waits:?}");
    assert_eq!(record.attempt, 1);
    let end = run(&record, [pick("Leased"), node_failed("b", Elsewhere::Away), pick("Unwound")]);
    let end = end.end().expect("it ends");
    assert_eq!((end.status, end.reason), (Status::Failed, EndReason::SetupFailed));
    let text = end.error.as_deref().unwrap();
    assert!(
        text.starts_with("no credentials on b") && text.contains("on node a: no credentials on a"),
        "{text}"
    );
}

#[test]
fn where_there_is_no_other_node_it_fails_as_it_does_alone() {
    let path = |event| [pick("Leased"), event, pick("Unwound")];
    let failure = Failure::new(FailureKind::RemoteAuth, "no credentials on a");
    let alone = run(&agent("worker"), path(Event::Failed(failure)));
    let fleet = run(&agent("worker"), path(node_failed("a", Elsewhere::Nobody)));
    assert_eq!(alone.state, fleet.state);
}

#[test]
fn a_task_that_fills_the_disk_of_two_nodes_fills_no_third() {
    let full = |node: &str| Event::NodeFailed {
        node: node.parse().unwrap(),
        part: Part::Machine,
        failure: Failure::new(FailureKind::Disk, "only 3 MiB free"),
        warnings: Vec::new(),
        elsewhere: Elsewhere::Able,
    };
    let once = run(&agent("worker"), [pick("Leased"), full("a"), pick("Unwound")]);
    assert!(!once.is_terminal());
    let twice = run(&once, [pick("Leased"), full("b"), pick("Unwound")]);
    assert_eq!(twice.end().map(|end| end.reason), Some(EndReason::Disk));
}
