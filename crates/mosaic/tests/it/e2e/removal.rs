//! `rm` and `prune` from outside: everything of an ended agent goes, its unpushed work never unasked, and whoever asks
//! afterwards is told.

use std::path::PathBuf;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Marker, Server, body, until};

/// Returns every file and directory below the data directory whose path has the id.
fn traces(home: &Home, id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![home.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(id)) {
                found.push(path.clone());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            }
        }
    }
    found
}

/// Ends an agent by a kill in the middle of its work: a commit of it is kept and was never pushed.
fn killed_with_work(server: &Server<'_>, fixture: &Fixture, task: &str, marker: &Marker) -> String {
    let id = server.spawn(&body(&fixture.url(), task));
    until("the agent's work", || (!marker.alive().is_empty()).then_some(()));
    server.kill(&id);
    let ended = server.ended(&id);
    assert_eq!(ended["status"], "killed", "{ended:#}");
    id
}

fn removed_events(server: &Server<'_>, id: &str) -> usize {
    // The log as a plain answer: a reader that asks from the beginning, cut off by the server's heartbeat, would wait.
    let output = server.cli(&["status", id]);
    usize::from(String::from_utf8_lossy(&output.stderr).contains("was removed at"))
}

#[test]
fn a_pushed_agent_is_removed_without_a_trace_and_is_told_to_be_gone() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo said; echo x > x.txt'")]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let id = done["agentId"].as_str().unwrap();
    assert!(!traces(&home, id).is_empty(), "transcripts and refs are kept until then");
    let removed = server.http.delete(&format!("/v1/agents/{id}")).expect(200);
    assert!(removed["freedBytes"].as_u64().unwrap() > 0 && removed.get("discarded").is_none(), "{removed:#}");
    until("everything to be gone", || traces(&home, id).is_empty().then_some(()));
    for path in
        [format!("/v1/agents/{id}"), format!("/agents/{id}/status"), format!("/v1/agents/{id}/transcript")]
    {
        let gone = server.http.get(&path).expect(410);
        assert_eq!(gone["code"], "agent_pruned", "{gone:#}");
        assert!(gone["removedAt"].is_string(), "{gone:#}");
    }
    assert_eq!(server.http.delete(&format!("/v1/agents/{id}")).expect(410)["code"], "agent_pruned");
    assert_eq!(server.http.post(&format!("/v1/agents/{id}/retry"), None).status, 410);
    assert_eq!(server.cli(&["rm", id]).status.code(), Some(3));
    assert_eq!(removed_events(&server, id), 1);
    assert!(fixture.tip(done["branch"].as_str().unwrap()).is_some(), "what was pushed is nobody's to remove");
    let other = "7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a";
    assert_eq!(server.http.delete(&format!("/v1/agents/{other}")).expect(404)["code"], "agent_not_found");
    // The same task goes on as if nothing had been.
    server.life(&body(&fixture.url(), "T-1"), "completed", "done");
}

#[test]
fn unmerged_work_is_refused_by_commit_and_given_up_by_name_only() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = format!("sh -c 'echo precious > x.txt; git add -A; git commit -qm precious; sleep {marker}'");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let running = server.spawn(&body(&fixture.url(), "T-0"));
    until("the agent's work", || (!marker.alive().is_empty()).then_some(()));
    assert_eq!(server.http.delete(&format!("/v1/agents/{running}")).expect(409)["code"], "agent_active");
    server.kill(&running);
    let id = killed_with_work(&server, &fixture, "T-1", &marker);
    let name = server.agent(&id)["name"].as_str().unwrap().to_owned();
    let refused = server.http.delete(&format!("/v1/agents/{id}")).expect(409);
    assert_eq!((&refused["code"], &refused["name"]), (&json!("unmerged_work"), &json!(name)), "{refused:#}");
    let subjects = refused["commits"].to_string();
    assert!(subjects.contains("precious"), "{refused:#}");
    let cli = server.cli(&["rm", &id]);
    let said = String::from_utf8_lossy(&cli.stderr).into_owned();
    assert_eq!(cli.status.code(), Some(6), "{said}");
    assert!(said.contains("precious") && said.contains("--discard"), "{said}");
    assert_eq!(
        server.cli(&["rm", &id, "--discard"]).status.code(),
        Some(2),
        "no terminal, so nobody typed the name"
    );
    assert_eq!(server.cli(&["rm", &id, "--discard=other"]).status.code(), Some(2));
    let wrong = server.http.delete(&format!("/v1/agents/{id}?discard=other")).expect(400);
    assert!(wrong["detail"].as_str().unwrap().contains(&name), "{wrong:#}");
    assert!(server.http.get(&format!("/v1/agents/{id}/diff")).expect(200).to_string().contains("precious"));
    let output = server.cli(&["rm", &id, &format!("--discard={name}"), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        output.status.success()
            && answer["removed"][0]["discarded"]["commits"].to_string().contains("precious")
    );
    until("everything to be gone", || traces(&home, &id).is_empty().then_some(()));
    assert_eq!(server.http.get(&format!("/v1/agents/{id}")).status, 410);
}

#[test]
fn what_was_pushed_by_hand_is_safe() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = format!("sh -c 'echo x > x.txt; git add -A; git commit -qm one; sleep {marker}'");
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = killed_with_work(&server, &fixture, "T-1", &marker);
    assert_eq!(server.http.delete(&format!("/v1/agents/{id}")).status, 409);
    let store = std::fs::read_dir(home.data().join("repos")).unwrap().next().unwrap().unwrap().path();
    let kept = fixture
        .run(&store, &["for-each-ref", "--format=%(objectname)", "refs/agents", "refs/mosaic/salvage"]);
    // Somebody merged it, and the next agent fetched the branch.
    for commit in kept.lines() {
        let _ = fixture
            .try_run(&store, &["push", "--quiet", &fixture.url(), &format!("{commit}:refs/heads/main")]);
    }
    killed_with_work(&server, &fixture, "T-2", &marker);
    server.http.delete(&format!("/v1/agents/{id}")).expect(200);
}

#[test]
fn prune_takes_what_is_old_and_keeps_what_is_unmerged() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = format!(
        "sh -c 'echo said; echo $MOSAIC_TASK_ID > x.txt; case $MOSAIC_TASK_ID in stays*) git add -A; git commit -qm kept; sleep {marker};; esac'"
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let done: Vec<String> = (0..3)
        .map(|n| server.life(&body(&fixture.url(), &format!("done-{n}")), "completed", "done"))
        .map(|agent| agent["agentId"].as_str().unwrap().to_owned())
        .collect();
    let stays = killed_with_work(&server, &fixture, "stays", &marker);
    let running = server.spawn(&body(&fixture.url(), "stays-running"));
    until("the agent's work", || (!marker.alive().is_empty()).then_some(()));
    let young = server.http.post("/v1/prune", Some(&json!({"dryRun": true}))).expect(200);
    assert_eq!((&young["removed"], &young["dryRun"]), (&json!(0), &json!(true)), "{young:#}");
    let all = json!({"olderThan": "0s", "dryRun": true});
    let seen = server.http.post("/v1/prune", Some(&all)).expect(200);
    assert_eq!(seen["removed"], 3, "{seen:#}");
    assert_eq!(seen["unmerged"][0]["agentId"].as_str(), Some(stays.as_str()), "{seen:#}");
    assert!(seen["freedBytes"].as_u64().unwrap() > 0 && seen["nextCursor"].is_null(), "{seen:#}");
    for id in &done {
        server.agent(id);
    }
    let dry = server.cli(&["prune", "--older-than", "0s", "--dry-run"]);
    let text = String::from_utf8_lossy(&dry.stdout).into_owned() + &String::from_utf8_lossy(&dry.stderr);
    assert!(
        text.contains("3 would be removed") && text.contains("1 kept") && text.contains("kept"),
        "{text}"
    );
    assert_eq!(server.cli(&["prune", "--older-than", "0s"]).status.code(), Some(2), "nobody was asked");
    assert_eq!(server.cli(&["prune", "--older-than", "0s", "--yes=7"]).status.code(), Some(2));
    assert!(server.cli(&["prune", "--older-than", "0s", "--yes"]).status.success());
    for id in &done {
        assert_eq!(server.http.get(&format!("/v1/agents/{id}")).status, 410);
        until("everything to be gone", || traces(&home, id).is_empty().then_some(()));
    }
    server.agent(&stays);
    let wrong = json!({"olderThan": "0s", "force": 2});
    assert_eq!(server.http.post("/v1/prune", Some(&wrong)).expect(409)["code"], "unmerged_work");
    assert_eq!(server.http.post("/v1/prune", Some(&json!({"force": true}))).status, 400);
    assert_eq!(server.http.post("/v1/prune", Some(&json!({"olderThan": "soon"}))).status, 400);
    assert_eq!(server.cli(&["prune", "--older-than", "0s", "--force", "--yes"]).status.code(), Some(2));
    server.agent(&stays);
    assert!(server.cli(&["prune", "--older-than", "0s", "--force=1"]).status.success());
    assert_eq!(server.http.get(&format!("/v1/agents/{stays}")).status, 410);
    assert_eq!(server.agent(&running)["status"], "running");
    server.kill(&running);
}

#[test]
fn a_dry_run_of_prune_counts_what_lies_beside_a_tree_and_touches_none_of_it() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let line = "sh -c 'cat > /dev/null; echo x > x.txt; head -c 300000 /dev/zero > \"$MOSAIC_WORKTREE/../left.bin\"'";
    let server = home.serve(&[("MOSAIC_COMMAND", line)]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let id = done["agentId"].as_str().unwrap();
    let beside = home.data().join("beside").join(id);
    let files = |dir: &std::path::Path| {
        let mut found = Vec::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    folders.push(entry.path())
                } else {
                    found.push((entry.path(), meta.len()))
                }
            }
        }
        found.sort();
        found
    };
    let before = files(&beside);
    assert!(
        before.iter().any(|(path, bytes)| path.ends_with("left.bin") && *bytes == 300_000),
        "{before:?}\n{done:#}"
    );
    let all = json!({"olderThan": "0s", "dryRun": true});
    let seen = server.http.post("/v1/prune", Some(&all)).expect(200);
    let cli = server.cli(&["prune", "--older-than", "0s", "--dry-run"]);
    assert!(cli.status.success(), "{}", String::from_utf8_lossy(&cli.stderr));
    let counted = seen["removed"].as_u64().unwrap() + seen["unmerged"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!(counted, 1, "{seen:#}");
    if seen["removed"] == 1 {
        assert!(seen["freedBytes"].as_u64().unwrap() >= 300_000, "{seen:#}");
    }
    assert_eq!(files(&beside), before, "a dry run touched what it counted");
    assert_eq!(server.agent(id)["status"], "completed");
}
