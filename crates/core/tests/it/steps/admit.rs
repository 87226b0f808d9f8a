//! Step 1, admit: what becomes an agent and what is refused.

use mosaic_core::orchestrator::SpawnError;
use mosaic_core::ports::store::{Idempotency, Query};
use mosaic_testkit::fakes::world::Behaviour;
use mosaic_testkit::story::Story;
use serde_json::{Value, json};

use super::{A, store};

fn body() -> Value {
    json!({"taskId": "T-1", "agentType": "worker", "gateProfile": "minimal",
           "context": {"repository": A, "branch": "main", "workItems": ["x"]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_satisfied_here_leaves_no_record() {
    let story = Story::prepare(store(), 1, Behaviour::EndAtOnce, |_| {});
    let mut unknown = body();
    unknown["runtime"] = json!("no-such-runtime");
    let refused = story.o.spawn(&unknown, None).await;
    assert!(
        matches!(&refused, Err(SpawnError::Unsatisfiable(why)) if why.contains("no-such-runtime")),
        "{refused:?}"
    );
    let mut nothing_to_judge = body();
    nothing_to_judge["gateProfile"] = json!("custom");
    assert!(matches!(story.o.spawn(&nothing_to_judge, None).await, Err(SpawnError::Unsatisfiable(_))));
    story.o.refuse_new();
    assert!(matches!(story.o.spawn(&body(), None).await, Err(SpawnError::ShuttingDown)));
    assert!(story.o.list(Query { limit: 10, ..Query::default() }).await.unwrap().is_empty());
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_gets_the_same_agent() {
    let story = Story::prepare(store(), 1, Behaviour::EndAtOnce, |_| {});
    let key = || Some(Idempotency { key: "k".to_owned(), fingerprint: "f".to_owned() });
    let first = story.o.spawn(&body(), key()).await.expect("admitted");
    let again = story.o.spawn(&body(), key()).await.expect("repeated");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.record.agent.id, again.record.agent.id);
    assert_eq!(first.record.agent.spec.runtime.as_ref(), Some(&story.o.settings().default_runtime));
    story.end().await;
}
