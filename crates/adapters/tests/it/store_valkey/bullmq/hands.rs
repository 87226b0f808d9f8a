//! Changes of external clients to the queue, as the store lists them: each is listed until it is taken up, and then no more.

use std::time::Duration;

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::facts::{AgentSpawning, Fact};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::job::WorkerResult;
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::lifecycle::{self, Event, KillCause, Now};
use mosaic_core::domain::spec::SpawnSpec;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use mosaic_core::ports::store::{Admission, Admitted, Change, Safety, Store, Versioned};
use mosaic_testkit::store_suite::sample::node;
use serde_json::json;
use uuid::Uuid;

use super::place::{Place, body, listed};

pub(crate) fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

pub(crate) async fn admit(store: &dyn Store, task: &str, job: Option<String>) -> Versioned {
    let spec = SpawnSpec::parse(&body(task)).unwrap();
    let agent = Agent::admitted(AgentId(Uuid::new_v4()), spec, "mosaic", None, now());
    let fact = LogRecord::about(&agent, &Fact::AgentSpawning(AgentSpawning::of(&agent)), now());
    let admission = Admission { agent, idempotency: None, job, job_data: None, facts: vec![fact] };
    match store.admit(admission).await.unwrap() {
        Admitted::New(record) => record,
        Admitted::Replay(_) => panic!("no key was given"),
    }
}

/// Ends an agent that nobody holds.
pub(crate) async fn end(store: &dyn Store, record: Versioned, event: Event) {
    let step = lifecycle::next(&record.agent, event, Now { at: now(), dice: 0.5 }).unwrap();
    let change = Change { safety: Safety::Power, agent: step.agent, facts: step.facts };
    store.amend(vec![(record.version, change)]).await.unwrap().pop().unwrap().unwrap();
}

pub(crate) fn kill() -> Event {
    Event::Kill { cause: KillCause::Operator, note: "test".to_owned() }
}

pub(crate) async fn nothing_is_listed(store: &dyn ExternalQueue) {
    assert_eq!(store.external_changes(100).await.unwrap(), []);
}

#[tokio::test]
async fn a_job_of_the_official_client_is_listed_until_it_is_admitted() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let options =
        json!({"priority": 3, "attempts": 4, "backoff": {"type": "fixed", "delay": 50}, "jobId": "mine"});
    let id = place.add(body("T-1"), options).await;
    let wanted = |one: &ExternalChange| match one {
        ExternalChange::Submitted(submission) => Some(submission.clone()),
        _ => None,
    };
    let submission = listed(&*store, wanted).await;
    assert_eq!(
        (submission.job.as_str(), submission.name.as_str(), submission.until),
        (id.as_str(), "spawn", None)
    );
    let options: serde_json::Value = serde_json::from_str(&submission.options).unwrap();
    assert_eq!((&options["priority"], &options["attempts"]), (&json!(3), &json!(4)));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&submission.data).unwrap(), body("T-1"));
    assert_eq!(store.external_changes(100).await.unwrap().len(), 1, "it is told again until it is taken up");
    let record = admit(&*store, "T-1", Some(id.clone())).await;
    nothing_is_listed(&*store).await;
    let (lease, _) = store.lease(&node("n1"), now()).await.unwrap().expect("it can be taken");
    assert_eq!(lease.agent, record.agent.id);
    let active = place.job(&id).await;
    assert_eq!((&active["state"], &active["attemptsStarted"]), (&json!("active"), &json!(1)));
    let again = Agent { id: AgentId(Uuid::new_v4()), ..record.agent.clone() };
    let twice =
        Admission { agent: again, idempotency: None, job: Some(id.clone()), job_data: None, facts: vec![] };
    assert!(store.admit(twice).await.is_err(), "one job had two agents");
}

#[tokio::test]
async fn delayed_work_says_until_when() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let before = now();
    place.add(body("T-1"), json!({"delay": 60_000})).await;
    let until = listed(&*store, |one| match one {
        ExternalChange::Submitted(submission) => submission.until,
        _ => None,
    });
    let until = until.await;
    assert!(until >= before.plus(Duration::from_secs(59)) && until <= now().plus(Duration::from_secs(61)));
}

#[tokio::test]
async fn a_refused_job_fails_with_the_reason() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    for options in [json!({}), json!({"priority": 2}), json!({"delay": 60_000})] {
        let id = place.add(json!("nonsense"), options).await;
        let job = listed(&*store, |one| match one {
            ExternalChange::Submitted(submission) => Some(submission.job.clone()),
            _ => None,
        });
        assert_eq!(job.await, id);
        assert!(store.refuse(&id, "it is nonsense", now()).await.unwrap());
        assert!(!store.refuse(&id, "it is nonsense", now()).await.unwrap(), "it was refused twice");
        nothing_is_listed(&*store).await;
        let failed = place.job(&id).await;
        assert_eq!((&failed["state"], &failed["failedReason"]), (&json!("failed"), &json!("it is nonsense")));
        assert_eq!(failed["stacktrace"], json!(["it is nonsense"]));
        place.seen(json!("failed"), &[&id]).await;
    }
    let brief = place.add(json!({}), json!({"removeOnFail": true})).await;
    assert!(store.refuse(&brief, "it is nonsense", now()).await.unwrap());
    assert_eq!(place.job(&brief).await, json!(null));
}

#[tokio::test]
async fn a_refusal_leaves_alone_what_is_somebodys() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let ours = admit(&*store, "T-1", None).await.agent.id.to_string();
    assert!(!store.refuse(&ours, "no", now()).await.unwrap());
    let theirs = place.add(json!({}), json!({})).await;
    place.node.ask("work", json!({"as": "w", "hold": true})).await;
    place.seen(json!("active"), &[&theirs]).await;
    assert!(!store.refuse(&theirs, "no", now()).await.unwrap());
}

#[tokio::test]
async fn waiting_jobs_that_are_taken_away_are_told_of() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let removed = |one: &ExternalChange| match one {
        ExternalChange::Removed(agent) => Some(*agent),
        _ => None,
    };
    let own = admit(&*store, "T-1", None).await;
    place.tell(&own.agent.id.to_string(), "remove", json!([])).await;
    assert_eq!(listed(&*store, removed).await, own.agent.id);
    end(&*store, own, kill()).await;
    nothing_is_listed(&*store).await;

    let job = place.add(body("T-2"), json!({"priority": 9})).await;
    let foreign = admit(&*store, "T-2", Some(job.clone())).await;
    place.tell(&job, "remove", json!([])).await;
    assert_eq!(listed(&*store, removed).await, foreign.agent.id);
    end(&*store, foreign, kill()).await;
    nothing_is_listed(&*store).await;

    // These say nothing of the single jobs.
    for (n, (method, args)) in
        [("drain", json!([true])), ("clean", json!([0, 100, "prioritized"]))].into_iter().enumerate()
    {
        let own = admit(&*store, &format!("T-3-{n}"), None).await;
        place.tell_queue(method, args).await;
        assert_eq!(listed(&*store, removed).await, own.agent.id);
        end(&*store, own, kill()).await;
        nothing_is_listed(&*store).await;
    }
}

#[tokio::test]
async fn a_job_that_is_put_back_names_its_agent() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let retried = |one: &ExternalChange| match one {
        ExternalChange::Retried { agent, job, changed: None } => Some((*agent, job.clone())),
        _ => None,
    };
    let own = admit(&*store, "T-1", None).await;
    let job = own.agent.id.to_string();
    let first = own.agent.id;
    end(&*store, own, kill()).await;
    place.tell(&job, "retry", json!(["failed"])).await;
    assert_eq!(listed(&*store, retried).await, (first, job.clone()));
    let second = admit(&*store, "T-1", Some(job.clone())).await;
    nothing_is_listed(&*store).await;
    let (lease, _) = store.lease(&node("n1"), now()).await.unwrap().expect("it can be taken");
    assert_eq!(lease.agent, second.agent.id);
    assert_eq!(place.job(&job).await["state"], "active");
    assert!(store.get(first).await.unwrap().agent.is_terminal());

    let other = admit(&*store, "T-2", None).await;
    let job = other.agent.id.to_string();
    let agent = other.agent.id;
    end(&*store, other, kill()).await;
    // The queue's own retry of everything that failed ignores priorities.
    place.tell_queue("retryJobs", json!([{"state": "failed"}])).await;
    assert_eq!(listed(&*store, retried).await, (agent, job.clone()));
    assert!(store.refuse(&job, "not again", now()).await.unwrap());
    nothing_is_listed(&*store).await;
    assert_eq!(place.job(&job).await["failedReason"], "not again");
}

#[tokio::test]
async fn what_an_official_worker_finishes_is_told_with_its_result() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let finished = |one: &ExternalChange| match one {
        ExternalChange::Finished { agent, result } => Some((*agent, result.clone())),
        _ => None,
    };
    let good = admit(&*store, "T-1", None).await;
    place.node.ask("work", json!({"as": "w", "answer": {"ok": true}})).await;
    assert_eq!(
        listed(&*store, finished).await,
        (good.agent.id, WorkerResult::Completed("{\"ok\":true}".to_owned()))
    );
    let id = good.agent.id.to_string();
    end(
        &*store,
        good,
        Event::FinishedElsewhere { result: WorkerResult::Completed("{\"ok\":true}".to_owned()) },
    )
    .await;
    nothing_is_listed(&*store).await;
    let job = place.job(&id).await;
    assert_eq!((&job["state"], &job["returnvalue"]), (&json!("completed"), &json!({"ok": true})));
    place.node.ask("endWorker", json!({"as": "w"})).await;

    let bad = admit(&*store, "T-2", None).await;
    place.node.ask("work", json!({"as": "w", "unrecoverable": "no luck"})).await;
    assert_eq!(listed(&*store, finished).await, (bad.agent.id, WorkerResult::Failed("no luck".to_owned())));
    let counts = place.node.ask("counts", json!({})).await;
    assert_eq!(
        (&counts["completed"], &counts["failed"], &counts["prioritized"]),
        (&json!(1), &json!(1), &json!(0))
    );
}

#[tokio::test]
async fn promoted_and_reordered_jobs_are_taken_as_they_stand_now() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let late = place.add(body("T-late"), json!({"delay": 3_600_000, "priority": 4})).await;
    let first = place.add(body("T-1"), json!({"priority": 5})).await;
    let second = place.add(body("T-2"), json!({"priority": 6})).await;
    let mut agents = Vec::new();
    for (task, job) in [("T-late", &late), ("T-1", &first), ("T-2", &second)] {
        agents.push(admit(&*store, task, Some(job.clone())).await.agent.id);
    }
    place.tell(&second, "changePriority", json!([{"priority": 1}])).await;
    place.tell(&late, "promote", json!([])).await;
    let later = place.add(body("T-later"), json!({"delay": 1, "priority": 9})).await;
    agents.push(admit(&*store, "T-later", Some(later.clone())).await.agent.id);
    place.tell(&later, "changePriority", json!([{"priority": 2}])).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut order = Vec::new();
    while let Some((lease, _)) = store.lease(&node("n1"), now()).await.unwrap() {
        order.push(lease.agent);
    }
    assert_eq!(order, [agents[2], agents[3], agents[0], agents[1]]);
    nothing_is_listed(&*store).await;
}

#[tokio::test]
async fn a_pause_holds_on_both_sides_and_the_kill_switch_is_not_released_by_a_resume() {
    use mosaic_core::domain::orders::Latch;
    use mosaic_core::ports::store::{OrderChange, Pause};
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let fact = || LogRecord::stored("queue.paused", None, None, now(), json!({}));
    admit(&*store, "T-1", None).await;
    place.tell_queue("pause", json!([])).await;
    assert!(store.lease(&node("n1"), now()).await.unwrap().is_none());
    assert!(store.pause().await.unwrap().is_some());
    let latch = Latch { by: "test".to_owned(), reason: None, at: now() };
    store.set_orders(OrderChange::Engage(latch), vec![]).await.unwrap();
    place.tell_queue("resume", json!([])).await;
    assert!(store.pause().await.unwrap().is_none());
    assert!(store.lease(&node("n1"), now()).await.unwrap().is_none(), "a resume released the kill switch");
    store.set_orders(OrderChange::Release, vec![]).await.unwrap();
    let pause = Pause { by: "test".to_owned(), reason: None, at: now() };
    store.set_pause(Some(pause), fact()).await.unwrap();
    assert_eq!(place.tell_queue("isPaused", json!([])).await, true);
    store.set_pause(None, fact()).await.unwrap();
    assert_eq!(place.tell_queue("isPaused", json!([])).await, false);
    assert!(store.lease(&node("n1"), now()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_job_whose_worker_is_gone_waits_again_and_is_given_up_the_second_time() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let own = admit(&*store, "T-1", None).await;
    let job = own.agent.id.to_string();
    for round in 1..=2 {
        place.node.ask("work", json!({"as": "w", "hold": true, "lock": 1000})).await;
        let active = async {
            while place.job(&job).await["state"] != "active" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(super::place::PATIENCE, active).await.expect("the worker never took it");
        nothing_is_listed(&*store).await;
        assert!(
            store.lease(&node("n1"), now()).await.unwrap().is_none(),
            "a held job was given to somebody else"
        );
        place.node.ask("endWorker", json!({"as": "w", "force": true})).await;
        let back = async {
            while place.job(&job).await["state"] == "active" {
                // The look for such jobs and the look through the lists are due at once.
                place.raw("DEL", "stalled-check");
                store.external_changes(100).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(super::place::PATIENCE, back).await.expect("it never came back");
        place.seen(json!("stalled"), &[&job]).await;
        if round == 1 {
            nothing_is_listed(&*store).await;
        }
    }
    let given_up = |one: &ExternalChange| match one {
        ExternalChange::Finished { agent, result: WorkerResult::Failed(why) } => {
            Some((*agent, why.contains("stalled")))
        }
        _ => None,
    };
    assert_eq!(listed(&*store, given_up).await, (own.agent.id, true));
    end(&*store, own, Event::FinishedElsewhere { result: WorkerResult::Failed("stalled".to_owned()) }).await;
    assert_eq!(place.job(&job).await["state"], "failed");
    nothing_is_listed(&*store).await;
}

#[tokio::test]
async fn what_no_event_tells_is_found_all_the_same() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let gone = admit(&*store, "T-1", None).await;
    let again = admit(&*store, "T-2", None).await;
    let (gone_id, again_id) = (gone.agent.id, again.agent.id);
    end(&*store, again, kill()).await;
    let mut jobs = Vec::new();
    for options in [json!({}), json!({"priority": 2}), json!({"delay": 3_600_000})] {
        jobs.push(place.add(body("T-3"), options).await);
    }
    place.tell(&gone_id.to_string(), "remove", json!([])).await;
    place.tell(&again_id.to_string(), "retry", json!(["failed"])).await;
    place.raw("DEL", "events");
    for job in jobs {
        let wanted = |one: &ExternalChange| match one {
            ExternalChange::Submitted(submission) if submission.job == job => Some(()),
            _ => None,
        };
        listed(&*store, wanted).await;
    }
    listed(&*store, |one| (*one == ExternalChange::Removed(gone_id)).then_some(())).await;
    let retried = ExternalChange::Retried { agent: again_id, job: again_id.to_string(), changed: None };
    listed(&*store, |one| (*one == retried).then_some(())).await;
}
