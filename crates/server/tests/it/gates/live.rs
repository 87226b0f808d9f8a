//! The live log of a gate.

use mosaic_core::domain::agent::State;
use mosaic_core::domain::gates::GateOutcome;
use mosaic_testkit::fakes::repositories::commit;
use mosaic_testkit::fakes::scanner::SECRET;
use serde_json::json;

use super::{Judged, result};
use crate::streams::Listener;

#[tokio::test]
async fn a_log_is_followed_line_by_line_to_the_end_of_the_judgement() {
    let mut judged = Judged::new(&["tests"]).await;
    let (half, rest) = SECRET.split_at(6);
    let mut listener = Listener::open(&judged.world, &judged.path("/tests/log"), None).await;
    judged.writes(1, "tests", &format!("one\nkey {half}"));
    let first = listener.event().await.expect("there is one");
    assert_eq!((first.kind.as_str(), first.json()), ("output", json!({"gate": "tests", "text": "one\n"})));
    judged.writes(1, "tests", &format!("{rest}\nthe end"));
    assert_eq!(listener.event().await.expect("there is one").json()["text"], "key open…\n");
    judged.reports(vec![result("tests", GateOutcome::Fail, 1)]).await;
    assert_eq!(listener.event().await.expect("there is one").json()["text"], "the end");
    let end = listener.event().await.expect("there is one");
    assert_eq!((end.kind.as_str(), end.json()), ("end", json!({"gate": "tests", "outcome": "fail"})));
    assert_eq!(listener.event().await, None);
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_never_gets_a_later_judgement() {
    let mut judged = Judged::new(&["tests"]).await;
    let path = judged.path("/tests/log");
    judged.writes(1, "tests", "one\n");
    let mut listener = Listener::open(&judged.world, &path, None).await;
    let last = listener.event().await.expect("there is one").id;
    judged.writes(1, "tests", "two\n");
    let mut again = Listener::open(&judged.world, &path, Some(&last)).await;
    let second = again.event().await.expect("there is one");
    assert_eq!(second.json()["text"], "two\n");
    // Meanwhile the next round is at work.
    judged.reports(vec![result("tests", GateOutcome::Fail, 1)]).await;
    judged.agent.runs = 2;
    judged.goes_on(State::Gating { head: commit('c') }).await;
    judged.writes(2, "tests", "of the second round\n");
    let mut late = Listener::open(&judged.world, &path, Some(&second.id)).await;
    let end = late.event().await.expect("there is one");
    assert_eq!((end.kind.as_str(), &end.json()["outcome"]), ("end", &json!("fail")));
    let mut fresh = Listener::open(&judged.world, &path, None).await;
    assert_eq!(fresh.event().await.expect("there is one").json()["text"], "of the second round\n");
}

#[tokio::test]
async fn a_reader_waits_for_a_judgement_and_hears_at_once_when_none_comes() {
    let mut judged = Judged::new(&["tests"]).await;
    judged.goes_on(State::Working).await;
    let path = judged.path("/tests/log");
    let mut waiting = Listener::open(&judged.world, &path, None).await;
    judged.goes_on(State::Gating { head: commit('b') }).await;
    judged.writes(1, "tests", "begun\n");
    assert_eq!(waiting.event().await.expect("there is one").json()["text"], "begun\n");
    judged.ends().await;
    assert_eq!(waiting.event().await.expect("there is one").kind, "end");
    let mut ended = Listener::open(&judged.world, &path, None).await;
    let end = ended.event().await.expect("there is one");
    assert_eq!((end.kind.as_str(), end.json()), ("end", json!({"gate": "tests", "outcome": null})));
    let unknown = judged.world.get_as(&judged.path("/nonsense/log"), "text/event-stream").await;
    unknown.is(404, "log_not_found");
}
