//! Data of a job that external clients write over, as Bull Board's "update data" does: taken before an admission and before
//! another attempt of what has ended, refused in between, so that the job shows what its agent does.

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::facts::{DataRefused, Fact};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::spec::SpawnSpec;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue, Submission};
use mosaic_core::ports::store::{Admission, Store, StoreError, Versioned};
use mosaic_testkit::store_suite::sample::node;
use serde_json::{Value, json};
use uuid::Uuid;

use super::hands::{admit, end, kill, nothing_is_listed, now};
use super::place::{Place, body, listed};

/// A body that asks for something else than [`body`].
fn other(task: &str) -> Value {
    let mut other = body(task);
    other["context"]["workItems"] = json!(["something else"]);
    other
}

fn submitted(one: &ExternalChange) -> Option<Submission> {
    match one {
        ExternalChange::Submitted(submission) => Some(submission.clone()),
        _ => None,
    }
}

fn changed(one: &ExternalChange) -> Option<(AgentId, String)> {
    match one {
        ExternalChange::DataChanged { agent, job } => Some((*agent, job.clone())),
        _ => None,
    }
}

fn work_items(data: &Value) -> &Value {
    &data["context"]["workItems"]
}

/// Admits an agent of a job's data as they were read.
async fn admit_read(store: &dyn Store, task: &str, read: &Submission) -> Result<(), StoreError> {
    let spec = SpawnSpec::parse(&serde_json::from_str(&read.data).unwrap()).unwrap();
    let agent = Agent::admitted(AgentId(Uuid::new_v4()), spec, "mosaic", None, now());
    assert_eq!(agent.spec.task_id.as_str(), task);
    let admission = Admission {
        agent,
        idempotency: None,
        job: Some(read.job.clone()),
        job_data: Some(read.data.clone()),
        facts: Vec::new(),
    };
    store.admit(admission).await.map(drop)
}

async fn restore(store: &dyn ExternalQueue, record: &Versioned, job: &str) -> bool {
    let refused = DataRefused { job_id: job.to_owned(), reason: "it changed".to_owned() };
    let fact = LogRecord::about(&record.agent, &Fact::QueueDataRefused(refused), now());
    store.restore_data(&record.agent, job, fact).await.unwrap()
}

#[tokio::test]
async fn data_that_were_changed_before_the_admission_are_what_is_admitted() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let job = place.add(body("T-1"), json!({})).await;
    let old = listed(&*store, submitted).await;
    place.tell(&job, "updateData", json!([other("T-1")])).await;
    let late = admit_read(&*store, "T-1", &old).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "old data were admitted: {late:?}");
    let new = listed(&*store, submitted).await;
    assert_eq!(serde_json::from_str::<Value>(&new.data).unwrap(), other("T-1"));
    admit_read(&*store, "T-1", &new).await.unwrap();
    nothing_is_listed(&*store).await;
}

#[tokio::test]
async fn data_that_were_changed_after_the_admission_are_told_until_the_admitted_ones_stand_there_again() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let foreign = place.add(body("T-2"), json!({"priority": 4})).await;
    let read = listed(&*store, submitted).await;
    admit_read(&*store, "T-2", &read).await.unwrap();
    let foreign_record = store.of_task(&"T-2".parse().unwrap()).await.unwrap().remove(0);
    let own = admit(&*store, "T-1", None).await;
    nothing_is_listed(&*store).await;
    for (record, job) in [(&own, own.agent.id.to_string()), (&foreign_record, foreign)] {
        let task = record.agent.spec.task_id.as_str();
        place.tell(&job, "updateData", json!([other(task)])).await;
        assert_eq!(listed(&*store, changed).await, (record.agent.id, job.clone()));
        let newest = *store.newest().borrow();
        assert!(restore(&*store, record, &job).await);
        assert!(!restore(&*store, record, &job).await, "it was refused twice");
        nothing_is_listed(&*store).await;
        let shown = place.job(&job).await;
        assert_eq!(work_items(&shown["data"]), &json!(["x"]), "{shown:#}");
        let told = store.entries(newest, 10).await.unwrap();
        assert_eq!((told.len(), told[0].fact.kind()), (1, "queue.data_refused"));
        let log = place.raw("LRANGE", &format!("{job}:logs 0 -1"));
        assert_eq!(log, "*1", "the job's log does not say it");
    }
}

#[tokio::test]
async fn data_of_what_runs_are_looked_at_as_well_and_a_worker_may_change_those_of_its_own_job() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let own = admit(&*store, "T-1", None).await;
    let job = own.agent.id.to_string();
    let (lease, _) = store.lease(&node("n1"), now()).await.unwrap().expect("it can be taken");
    place.tell(&job, "updateData", json!([other("T-1")])).await;
    assert_eq!(listed(&*store, changed).await, (lease.agent, job.clone()));
    assert!(restore(&*store, &own, &job).await);
    assert_eq!(work_items(&place.job(&job).await["data"]), &json!(["x"]));
    nothing_is_listed(&*store).await;

    let held = admit(&*store, "T-2", None).await.agent.id.to_string();
    place.node.ask("work", json!({"as": "w", "hold": true})).await;
    place.seen(json!("active"), &[&held]).await;
    place.tell(&held, "updateData", json!([other("T-2")])).await;
    for _ in 0..3 {
        place.raw_ours("DEL", "others:turn");
        nothing_is_listed(&*store).await;
    }
}

#[tokio::test]
async fn a_retry_of_what_has_ended_is_told_with_the_data_that_were_changed_since() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let again = |one: &ExternalChange| match one {
        ExternalChange::Retried { agent, job, changed } => Some((*agent, job.clone(), changed.clone())),
        _ => None,
    };
    let own = admit(&*store, "T-1", None).await;
    let (agent, job) = (own.agent.id, own.agent.id.to_string());
    end(&*store, own, kill()).await;
    place.tell(&job, "updateData", json!([other("T-1")])).await;
    nothing_is_listed(&*store).await;
    place.tell(&job, "retry", json!(["failed"])).await;
    let (told, of, changed) = listed(&*store, again).await;
    let changed = changed.expect("the new data are told");
    assert_eq!(
        (told, of.as_str(), changed.job.as_str(), changed.name.as_str()),
        (agent, &*job, &*job, "spawn")
    );
    assert_eq!(serde_json::from_str::<Value>(&changed.data).unwrap(), other("T-1"));
    admit_read(&*store, "T-1", &changed).await.unwrap();
    nothing_is_listed(&*store).await;
}
