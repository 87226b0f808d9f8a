//! Jobs of flows: whatever becomes of a child here, the official client's parent hears of it and is never left waiting.

use mosaic_adapters::store_valkey::ValkeyStore;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use serde_json::{Value, json};

use super::place::{Place, body, listed};

async fn submitted(store: &ValkeyStore, job: &str) {
    let wanted = |one: &ExternalChange| match one {
        ExternalChange::Submitted(submission) if submission.job == job => Some(()),
        _ => None,
    };
    listed(store, wanted).await;
}

/// Makes a parent in another queue with one child in ours; returns both ids.
async fn family(place: &Place, options: Value) -> (String, String) {
    let child =
        json!({"name": "spawn", "queueName": "orchestrator-tasks", "data": body("T-1"), "opts": options});
    let flow = json!({"name": "parent", "queueName": "parents", "data": {}, "children": [child]});
    let ids = place.node.ask("flow", json!({"flow": flow})).await;
    let id = |value: &Value| value.as_str().expect("an id").to_owned();
    (id(&ids["id"]), id(&ids["children"][0]["id"]))
}

async fn parent(place: &Place, id: &str) -> Value {
    place.node.ask("job", json!({"id": id, "queue": "parents"})).await
}

#[tokio::test]
async fn a_refused_child_does_to_its_parent_what_its_options_say() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    for (option, state) in [
        (json!({"failParentOnFailure": true}), "waiting"),
        (json!({"continueParentOnFailure": true}), "waiting"),
        (json!({"ignoreDependencyOnFailure": true}), "waiting"),
        (json!({"removeDependencyOnFailure": true}), "waiting"),
        (json!({}), "waiting-children"),
    ] {
        let (parent_id, child) = family(&place, option.clone()).await;
        assert_eq!(parent(&place, &parent_id).await["state"], "waiting-children");
        submitted(&store, &child).await;
        assert!(store.refuse(&child, "not here", Timestamp(1_800_000_000_000)).await.unwrap());
        let now = parent(&place, &parent_id).await;
        assert_eq!(now["state"], state, "{option}");
        let dependencies = json!({"id": parent_id, "queue": "parents", "method": "getDependencies"});
        let known = place.node.ask("jobCall", dependencies).await;
        let ignored = option.get("continueParentOnFailure").or(option.get("ignoreDependencyOnFailure"));
        assert_eq!(known["ignored"].to_string().contains("not here"), ignored.is_some(), "{option}: {known}");
        let failed = known["failed"].as_array().is_some_and(|failed| !failed.is_empty());
        assert_eq!(failed, option.get("failParentOnFailure").is_some(), "{option}: {known}");
    }
    // The official worker runs the parents that may run, and fails the one whose child failed.
    place.node.ask("work", json!({"as": "p", "queue": "parents"})).await;
    let flow = json!({"name": "parent", "queueName": "parents", "data": {}, "children": []});
    place.node.ask("flow", json!({"flow": flow})).await;
    let settled = async {
        loop {
            let mut states = Vec::new();
            for id in place.node.ask("idsOf", json!({"queue": "parents"})).await.as_array().unwrap() {
                states.push(parent(&place, id.as_str().unwrap()).await["state"].as_str().unwrap().to_owned());
            }
            states.sort();
            if states == ["completed", "completed", "completed", "completed", "failed", "waiting-children"] {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::place::PATIENCE, settled).await.expect("the parents never settled");
}

#[tokio::test]
async fn a_parent_in_our_queue_whose_child_failed_is_failed_without_being_run() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let child =
        json!({"name": "child", "queueName": "children", "data": {}, "opts": {"failParentOnFailure": true}});
    let flow =
        json!({"name": "spawn", "queueName": "orchestrator-tasks", "data": body("T-1"), "children": [child]});
    let ids = place.node.ask("flow", json!({"flow": flow})).await;
    let id = ids["id"].as_str().unwrap().to_owned();
    assert_eq!(
        store.external_changes(10).await.unwrap(),
        [],
        "a parent that waits for its children is not work yet"
    );
    place.node.ask("work", json!({"as": "c", "queue": "children", "unrecoverable": "no luck"})).await;
    let failed = async {
        while place.job(&id).await["state"] != "failed" {
            assert_eq!(store.external_changes(10).await.unwrap(), [], "it was listed as work");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(super::place::PATIENCE, failed).await.expect("it never failed");
    let job = place.job(&id).await;
    assert!(job["failedReason"].as_str().unwrap().starts_with("child "), "{job}");
}
