//! The archives of a fleet's nodes: what ended lies on its node's disk and is read through the others.

use super::*;

#[test]
fn an_archive_that_is_too_large_loses_its_oldest_records_and_none_with_unmerged_work() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let start = |more: &[(&str, &str)]| {
        let soon: &[(&str, &str)] = &[("MOSAIC_ARCHIVE_AFTER_MS", "0")];
        node_with(&home, "one", store.port(), home.path(), "60000", &[soon, more].concat())
    };
    let mut one = start(&[]);
    let [with_work, without] = ["T-1", "T-2"].map(|task| one.spawn(&body(&fixture.url(), task)));
    for id in [&with_work, &without] {
        one.phase(id, "working");
    }
    std::fs::write(home.data().join("agents").join(&with_work).join("tree/work.txt"), "work").unwrap();
    for id in [&with_work, &without] {
        one.kill(id);
        one.ended(id);
        let kept = || store.ask_all(&format!("GET orchestrator:agent:{id}")).unwrap();
        until("the record to be archived", || kept().contains("\n{\"agentId\":").then_some(()));
    }
    one.signal(rustix::process::Signal::TERM);
    one.wait_end();
    drop(one);
    let one = start(&[("MOSAIC_KEEP_ARCHIVE_BYTES", "0")]);
    let gone = || one.http.get(&format!("/v1/agents/{without}")).status == 410;
    until("the archive to be emptied", || gone().then_some(()));
    let left = one.http.get(&format!("/v1/agents/{with_work}")).expect(200);
    assert!(left["salvage"]["commit"].is_string() && left.get("archive").is_none(), "{left:#}");
}

#[test]
fn what_ended_on_a_node_is_archived_there_and_read_through_the_others() {
    let Some(store) = ValkeyServer::start() else { return };
    let (homes, fixture) = ([Home::new(), Home::new()], Fixture::new());
    let dir = homes[0].path();
    let soon = [("MOSAIC_ARCHIVE_AFTER_MS", "0")];
    let start = |home, name| node_with(home, name, store.port(), dir, "60000", &soon);
    let mut one = start(&homes[0], "one");
    let id = one.spawn(&body(&fixture.url(), "T-1"));
    one.phase(&id, "working");
    one.kill(&id);
    let before = one.ended(&id);
    let kept = || store.ask_all(&format!("GET orchestrator:agent:{id}")).unwrap();
    until("the record to be archived", || kept().contains("\n{\"agentId\":").then_some(()));
    assert!(!kept().contains("record"), "{}", kept());
    let task = store.ask_all("GET orchestrator:task:T-1").unwrap();
    assert!(kept().len() + task.len() < 1024 && task.contains("\"status\":\"killed\""), "{}\n{task}", kept());

    let two = start(&homes[1], "two");
    let path = format!("/v1/agents/{id}");
    let whole = two.http.get(&path).expect(200);
    assert_eq!(whole, before, "whoever is asked has the whole record");
    let label = "/v1/agents?taskId=T-1";
    assert_eq!(two.http.get(label).expect(200)["items"][0]["gateProfile"], before["gateProfile"]);
    assert_eq!(two.http.get("/v1/tasks/T-1").expect(200)["agents"][0]["attempt"], 1);
    two.http.get(&format!("{path}/gates")).expect(200);

    one.signal(rustix::process::Signal::TERM);
    one.wait_end();
    let short = two.http.get(&path).expect(200);
    assert_eq!((&short["archive"], &short["status"]), (&json!("unreachable"), &json!("killed")), "{short:#}");
    for part in [
        "agentId",
        "taskId",
        "spawnedAt",
        "startedAt",
        "completedAt",
        "error",
        "endReason",
        "agentType",
        "repository",
    ] {
        assert_eq!(short[part], before[part], "{part}");
    }
    assert_eq!(two.http.get(label).expect(200)["items"][0]["archive"], "unreachable");
    assert_eq!(two.http.get(&format!("/agents/{id}/status")).expect(200)["archive"], "unreachable");
    for refused in
        [two.http.get(&format!("{path}/gates")), two.http.post(&format!("{path}/retry"), Some(&json!({})))]
    {
        assert_eq!(refused.expect(503)["code"], "node_unreachable");
    }

    // Declared lost for good its archive is not waited for any more; should it come back all the same, it is there again.
    two.http.delete("/v1/nodes/one?lost=true&reason=burnt").expect(200);
    assert_eq!(two.http.get(&path).expect(200)["archive"], "lost");
    assert_eq!(two.http.get(label).expect(200)["items"][0]["archive"], "lost");
    assert_eq!(two.http.get("/v1/tasks/T-1").expect(200)["agents"][0]["archive"], "lost");
    assert_eq!(two.http.get(&format!("/agents/{id}/status")).expect(200)["archive"], "lost");
    let listed = two.cli(&["nodes"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("given up") && text.contains("burnt"), "{text}");

    let _one = start(&homes[0], "one");
    until("the archive to be back", || (two.http.get(&path).expect(200) == before).then_some(()));
    let again = two.http.post(&format!("{path}/retry"), Some(&json!({}))).expect(201);
    assert_eq!(again["previousAgentId"], id.as_str(), "{again:#}");
    two.kill(again["agentId"].as_str().unwrap());
}
