//! Pushes that do not end as they should: broken off after they arrived, taken by a remote that stores nothing, answered
//! by nobody. What the record says is what the remote shows, and the only copy stays.

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::git_http_server::{GitHttpServer, Mood};
use mosaic_testkit::require;
use serde_json::{Value, json};

use super::support::{Home, Server, body, until};

const WORK: &[(&str, &str)] =
    &[("MOSAIC_COMMAND", "sh -c 'echo precious > x.txt'"), ("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true")];

fn remote(fixture: &Fixture, mood: Mood) -> Option<GitHttpServer> {
    let exec = std::process::Command::new("git").arg("--exec-path").output().unwrap();
    let dir = std::path::PathBuf::from(String::from_utf8_lossy(&exec.stdout).trim());
    let there = dir.join("git-remote-http").exists() && dir.join("git-http-backend").exists();
    let have = require::have("git-remote-http", there, "install git with http support");
    have.then(|| GitHttpServer::start(fixture.path(), mood))
}

/// Spawns an agent and waits until its branch is on the remote; returns the commit.
fn arrived(server: &Server<'_>, fixture: &Fixture, url: &str, task: &str) -> (String, String) {
    let id = server.spawn(&body(url, task));
    let branch = server.agent(&id)["branch"].as_str().unwrap().to_owned();
    let tip = until("the push to arrive", || fixture.tip(&branch));
    (id, tip)
}

fn publication(agent: &Value) -> (&Value, &Value) {
    (&agent["publication"]["state"], &agent["publication"]["commit"])
}

#[test]
fn a_kill_during_a_push_that_arrived_says_that_the_branch_is_there() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let Some(remote) = remote(&fixture, Mood::HangsAfterPush) else { return };
    let server = home.serve(WORK);
    let (id, tip) = arrived(&server, &fixture, &remote.url("remote.git"), "T-1");
    // The branch is on the remote and its answer is held, so the kill is certain to meet the push between the two.
    let killed = server.http.post(&format!("/agents/{id}/kill"), None).expect(200);
    assert_eq!((&killed["status"], &killed["verified"]), (&json!("killed"), &json!(true)), "{killed:#}");
    assert_eq!(publication(&killed["receipt"]), (&json!("there"), &json!(tip)), "{killed:#}");
    let agent = server.agent(&id);
    assert_eq!((publication(&agent), &agent["pushedCommit"]), ((&json!("there"), &json!(tip)), &json!(tip)));
    let shown = server.cli(&["status", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("pushed {}", &tip[..7])), "{shown}");
}

#[test]
fn a_kill_during_a_push_to_a_remote_that_cannot_be_asked_says_that_it_may_be_there() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let Some(remote) = remote(&fixture, Mood::SilentAfterPush) else { return };
    let server = home.serve(WORK);
    let (id, tip) = arrived(&server, &fixture, &remote.url("remote.git"), "T-1");
    let killed = server.http.post(&format!("/agents/{id}/kill"), None).expect(200);
    assert_eq!((&killed["status"], &killed["verified"]), (&json!("killed"), &json!(true)), "{killed:#}");
    assert_eq!(publication(&killed["receipt"]), (&json!("mayBeThere"), &json!(tip)), "{killed:#}");
    let agent = server.ended(&id);
    assert_eq!(publication(&agent), (&json!("mayBeThere"), &json!(tip)));
    assert!(agent["warnings"].to_string().contains("may be on the remote"), "{agent:#}");
    let shown = server.cli(&["status", &id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("may be on the remote at {}", &tip[..7])), "{shown}");
    let refused = server.http.delete(&format!("/v1/agents/{id}")).expect(409);
    assert_eq!(refused["code"], "unmerged_work", "{refused:#}");
    remote.set(Mood::Honest);
    server.http.delete(&format!("/v1/agents/{id}")).expect(200);
}

#[test]
fn a_push_whose_answer_was_lost_counts_when_the_remote_shows_it() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let Some(remote) = remote(&fixture, Mood::CutsAfterPush) else { return };
    let server = home.serve(WORK);
    let done = server.life(&body(&remote.url("remote.git"), "T-1"), "completed", "done");
    let tip = fixture.tip(done["branch"].as_str().unwrap()).unwrap();
    assert_eq!(publication(&done), (&json!("there"), &json!(tip)), "{done:#}");
}

#[test]
fn a_remote_that_only_says_that_it_took_a_push_does_not_cost_the_only_copy() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let Some(remote) = remote(&fixture, Mood::Lies) else { return };
    let server = home.serve(WORK);
    let failed = server.life(&body(&remote.url("remote.git"), "T-1"), "failed", "push_rejected");
    let (id, name) = (failed["agentId"].as_str().unwrap(), failed["name"].as_str().unwrap());
    assert!(failed["error"].to_string().contains("does not show"), "{failed:#}");
    assert_eq!(fixture.branches(), ["main"]);
    let refused = server.http.delete(&format!("/v1/agents/{id}")).expect(409);
    assert_eq!(refused["code"], "unmerged_work", "{refused:#}");
    assert!(refused.to_string().contains("does not show"), "{refused:#}");
    let pruned = server.http.post("/v1/prune", Some(&json!({"olderThan": "0s"}))).expect(200);
    assert_eq!(
        (&pruned["removed"], &pruned["unmerged"][0]["agentId"]),
        (&json!(0), &json!(id)),
        "{pruned:#}"
    );
    let restored = server.http.post(&format!("/v1/agents/{id}/restore"), None).expect(201);
    let file = std::path::Path::new(restored["path"].as_str().unwrap()).join("x.txt");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "precious\n");
    let freed = server.http.delete(&format!("/v1/agents/{id}?discard={name}")).expect(200);
    assert_eq!(freed["discarded"]["commits"].as_array().unwrap().len(), 1, "{freed:#}");
}

#[test]
fn a_branch_that_is_gone_from_the_remote_is_asked_for_again_before_the_last_copy_goes() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(WORK);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let (id, branch) = (done["agentId"].as_str().unwrap(), done["branch"].as_str().unwrap());
    assert_eq!(publication(&done).0, &json!("there"), "{done:#}");
    let delete = |reference: &str| fixture.run(&fixture.remote(), &["update-ref", "-d", reference]);
    let tip = fixture.tip(branch).unwrap();
    delete(&format!("refs/heads/{branch}"));
    let refused = server.http.delete(&format!("/v1/agents/{id}")).expect(409);
    assert!(refused.to_string().contains("does not show"), "{refused:#}");
    // Merged counts as there, whatever became of the branch.
    fixture.run(&fixture.remote(), &["update-ref", "refs/heads/main", &tip]);
    server.http.delete(&format!("/v1/agents/{id}")).expect(200);
}
