//! Stories about changes that external clients make to the queue, in a world of fakes: every change is taken up once, and what
//! cannot be done is refused with the reason.

use std::sync::Arc;

use mosaic_core::domain::agent::{QueueCause, State, Status};
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::job::WorkerResult;
use mosaic_core::domain::lifecycle::KillCause;
use mosaic_core::domain::outcome::EndReason;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue, Submission};
use mosaic_core::ports::store::{Query, Store, Versioned};
use mosaic_testkit::fakes::store::{FakeStore, Mood};
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;
use serde_json::{Value, json};

use crate::conditions::ended;

fn begin(slots: usize, behaviour: Behaviour) -> (Arc<FakeStore>, Story) {
    let store = Arc::new(FakeStore::new());
    let story = Story::begin(Arc::clone(&store), slots, behaviour, |_| {});
    (store, story)
}

fn submission(job: &str, task: &str, options: &Value) -> Submission {
    let data = json!({"taskId": task, "agentType": "worker", "gateProfile": "minimal",
        "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["x"]}});
    let (job, name) = (job.to_owned(), "spawn".to_owned());
    Submission {
        job,
        name,
        data: data.to_string(),
        options: options.to_string(),
        at: Timestamp(1),
        until: None,
    }
}

/// Waits for the only agent of a task.
async fn agent_of(story: &Story, task: &str) -> Versioned {
    let task = task.parse().expect("a task id");
    story.soon(async || story.o.ports().store.of_task(&task).await.expect("it is read").pop()).await
}

async fn refusal(story: &Story, store: &FakeStore, job: &str) -> String {
    let of_job = async || store.refused().into_iter().find(|(one, _)| one == job).map(|(_, why)| why);
    let why = story.soon(of_job).await;
    let is_told = async || {
        let told = |log: Vec<mosaic_core::domain::journal::Entry>| {
            log.iter().any(|e| e.fact.kind() == "queue.job_refused" && e.fact.data()["jobId"] == job)
        };
        told(story.log().await).then_some(())
    };
    story.soon(is_told).await;
    why
}

#[tokio::test]
async fn work_of_another_producer_is_admitted_and_run() {
    let (store, story) = begin(2, Behaviour::EndAtOnce);
    let options = json!({"priority": 3, "attempts": 5, "backoff": {"type": "fixed", "delay": 40}});
    store.intervene(ExternalChange::Submitted(submission("job-1", "T-1", &options)));
    let id = agent_of(&story, "T-1").await.agent.id;
    let record = story.until(id, ended).await;
    assert_eq!(record.agent.status(), Status::Completed);
    let spec = &record.agent.spec;
    assert_eq!((spec.priority.get(), spec.max_retries, spec.backoff.map(|b| b.delay)), (3, 4, Some(40)));
    assert!(store.refused().is_empty());
    story.end().await;
}

#[tokio::test]
async fn a_delayed_job_waits_for_its_time() {
    let (store, story) = begin(2, Behaviour::EndAtOnce);
    let until = story.o.now().plus(std::time::Duration::from_secs(3600));
    let delayed = Submission { until: Some(until), ..submission("later", "T-1", &json!({})) };
    store.intervene(ExternalChange::Submitted(delayed));
    let record = agent_of(&story, "T-1").await;
    assert_eq!((record.agent.status(), record.agent.not_before()), (Status::Spawning, Some(until)));
    assert!(matches!(record.agent.state, State::Queued { cause: QueueCause::Delayed { .. } }));
    story.world.skip(std::time::Duration::from_secs(3601));
    story.until(record.agent.id, ended).await;
    story.end().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_reason() {
    let (store, story) = begin(0, Behaviour::EndAtOnce);
    // There is no slot, so this task stays active as long as the test needs it.
    let active = story.spawn("T-busy", "https://git.example.com/r.git", 0).await;
    let named = Submission { name: "other".to_owned(), ..submission("named", "T-1", &json!({})) };
    let broken = Submission { data: "{".to_owned(), ..submission("broken", "T-1", &json!({})) };
    let mut strange = submission("strange", "T-1", &json!({}));
    strange.data = strange.data.replace("\"minimal\"", "\"minimal\",\"runtime\":\"nonesuch\"");
    let busy = submission("busy", "T-busy", &json!({}));
    let far = Submission { until: Some(Timestamp(u64::MAX / 2)), ..submission("far", "T-1", &json!({})) };
    for one in [named, broken, strange, busy, far] {
        store.intervene(ExternalChange::Submitted(one));
    }
    for (job, part) in [
        ("named", "\"spawn\""),
        ("broken", "not JSON"),
        ("strange", "no runtime \"nonesuch\""),
        ("busy", &active.to_string()),
        ("far", "ten years"),
    ] {
        let why = refusal(&story, &store, job).await;
        assert!(why.contains(part), "{job}: {part:?} is missing in {why:?}");
    }
    let all = story.o.list(Query { limit: 100, ..Query::default() }).await.expect("listed");
    assert_eq!(all.len(), 1, "something was admitted all the same");
    story.end().await;
}

#[tokio::test]
async fn the_kill_switch_leaves_new_work_where_it_is() {
    let (store, story) = begin(0, Behaviour::EndAtOnce);
    let removed = story.spawn("T-0", "https://git.example.com/r.git", 0).await;
    let _ = story.o.engage("test", None).await;
    let bad = Submission { name: "bad".to_owned(), ..submission("job-2", "T-2", &json!({})) };
    store.intervene(ExternalChange::Submitted(submission("job-1", "T-1", &json!({}))));
    store.intervene(ExternalChange::Submitted(bad));
    store.intervene(ExternalChange::Removed(removed));
    // What ends agents is taken up all the same; it stands behind the new work in the list.
    story.until(removed, ended).await;
    assert_eq!(store.refused(), []);
    let list = store.external_changes(10).await.expect("listed");
    assert_eq!(list.len(), 2, "{list:?}");
    assert!(story.o.release("test").await.expect("released"));
    agent_of(&story, "T-1").await;
    refusal(&story, &store, "job-2").await;
    story.end().await;
}

#[tokio::test]
async fn a_removed_job_ends_its_agent() {
    let (store, story) = begin(0, Behaviour::EndAtOnce);
    let id = story.spawn("T-1", "https://git.example.com/r.git", 0).await;
    store.intervene(ExternalChange::Removed(id));
    let record = story.until(id, ended).await;
    let end = record.agent.end().expect("it has ended");
    assert_eq!((end.status, end.reason), (Status::Killed, EndReason::Operator));
    assert_eq!(end.error.as_deref(), Some("removed from the queue"));
    story.end().await;
}

#[tokio::test]
async fn a_job_that_is_put_back_makes_an_agent_that_names_its_predecessor() {
    let (store, story) = begin(1, Behaviour::EndAtOnce);
    let first = story.spawn("T-1", "https://git.example.com/r.git", 2).await;
    story.until(first, ended).await;
    store.intervene(ExternalChange::Retried { agent: first, job: "job-1".to_owned(), changed: None });
    let task = "T-1".parse().expect("a task id");
    let again = story
        .soon(async || {
            let all = store.of_task(&task).await.expect("it is read");
            all.into_iter().find(|record| record.agent.previous == Some(first))
        })
        .await;
    story.until(again.agent.id, ended).await;
    assert_eq!(again.agent.spec.max_retries, 2);
    let gone: AgentId = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a".parse().expect("an id");
    store.intervene(ExternalChange::Retried { agent: gone, job: "job-2".to_owned(), changed: None });
    assert!(refusal(&story, &store, "job-2").await.contains("cannot be repeated"));
    story.end().await;
}

#[tokio::test]
async fn what_another_worker_finished_settles_the_agent() {
    let (store, story) = begin(0, Behaviour::EndAtOnce);
    let done = story.spawn("T-1", "https://git.example.com/r.git", 0).await;
    let failed = story.spawn("T-2", "https://git.example.com/r.git", 0).await;
    store.intervene(ExternalChange::Finished {
        agent: done,
        result: WorkerResult::Completed("{\"ok\":true}".to_owned()),
    });
    store.intervene(ExternalChange::Finished {
        agent: failed,
        result: WorkerResult::Failed("no luck".to_owned()),
    });
    let done = story.until(done, ended).await.agent;
    assert_eq!((done.status(), done.work.result.as_deref()), (Status::Completed, Some("{\"ok\":true}")));
    let failed = story.until(failed, ended).await.agent;
    assert_eq!(failed.status(), Status::Failed);
    assert!(failed.end().and_then(|end| end.error.as_deref()).is_some_and(|why| why.contains("no luck")));
    story.end().await;
}

#[tokio::test]
async fn a_bad_day_of_the_store_is_waited_out() {
    let (store, story) = begin(1, Behaviour::EndAtOnce);
    store.set_mood(Mood::Down);
    store.intervene(ExternalChange::Submitted(submission("job-1", "T-1", &json!({}))));
    store.set_mood(Mood::Well);
    let id = agent_of(&story, "T-1").await.agent.id;
    story.until(id, ended).await;
    story.end().await;
}

#[tokio::test]
async fn new_data_of_an_admitted_job_are_refused_and_the_record_says_so() {
    let (store, story) = begin(0, Behaviour::EndAtOnce);
    let id = story.spawn("T-1", "https://git.example.com/r.git", 0).await;
    store.intervene(ExternalChange::DataChanged { agent: id, job: id.to_string() });
    let warned = |record: &Versioned| record.agent.warnings.iter().any(|text| text.contains("were changed"));
    let record = story.until(id, warned).await;
    assert_eq!(record.agent.status(), Status::Spawning);
    let told: Vec<_> =
        story.log().await.into_iter().filter(|e| e.fact.kind() == "queue.data_refused").collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].fact.agent, &told[0].fact.data()["jobId"]), (Some(id), &json!(id)));
    assert!(store.external_changes(10).await.expect("listed").is_empty());
    story.end().await;
}

#[tokio::test]
async fn a_retry_with_new_data_runs_these_or_is_refused_with_their_faults() {
    let (store, story) = begin(0, Behaviour::EndAtOnce);
    let first = story.spawn("T-1", "https://git.example.com/r.git", 2).await;
    story.o.kill(first, KillCause::Operator, "test").await.expect("it is killed");
    story.until(first, ended).await;
    let now = submission(&first.to_string(), "T-new", &json!({}));
    store.intervene(ExternalChange::Retried { agent: first, job: first.to_string(), changed: Some(now) });
    let again = agent_of(&story, "T-new").await;
    assert_eq!(again.agent.previous, Some(first));
    let bad = Submission { data: "{".to_owned(), ..submission("job-2", "T-2", &json!({})) };
    store.intervene(ExternalChange::Retried { agent: first, job: "job-2".to_owned(), changed: Some(bad) });
    assert!(refusal(&story, &store, "job-2").await.contains("not JSON"));
    story.end().await;
}
