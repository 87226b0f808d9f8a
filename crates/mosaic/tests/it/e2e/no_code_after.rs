//! Once an agent is told to end, none of its code runs again: what its tree holds is kept by programs of ours only. What
//! it left beside its tree is kept, named, and goes with it.

use std::path::PathBuf;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script, until};

/// An agent that plants a filter for every file, and then does as its task says.
fn planting(home: &Home) -> (String, PathBuf) {
    let mark = home.path().join("mark");
    let filter = script(home.path(), "filter.sh", &format!("date >> '{}'\ncat\n", mark.display()));
    let agent = format!(
        "git config filter.x.clean \"{filter}\"\ngit config filter.x.required true\n\
         echo '* filter=x' > .gitattributes\necho work > work.txt\n\
         case $MOSAIC_TASK_ID in quick*) exit 0;; esac\ntouch '{ready}/'$MOSAIC_AGENT_ID\nexec sleep 600\n",
        ready = home.path().display(),
    );
    (script(home.path(), "agent.sh", &agent), mark)
}

fn working(home: &Home, server: &Server<'_>, asked: &Value) -> String {
    let id = server.spawn(asked);
    until("the agent to have planted its filter", || home.path().join(&id).exists().then_some(()));
    id
}

fn is_kept(server: &Server<'_>, id: &str) {
    until("the agent's tree to be kept", || server.agent(id).get("salvage").map(|_| ()));
}

#[test]
fn no_code_of_an_agent_runs_once_it_was_told_to_end() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let (line, mark) = planting(&home);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let silent = |story: &str| assert!(!mark.exists(), "{story}: the agent's filter ran");
    for story in ["kill", "freeze", "kill-all"] {
        let mut asked = body(&fixture.url(), &format!("{story}-1"));
        asked["maxRetries"] = json!(0);
        let id = working(&home, &server, &asked);
        match story {
            "freeze" => {
                server.http.post(&format!("/v1/agents/{id}/freeze"), Some(&json!({}))).expect(200);
                server.http.post(&format!("/agents/{id}/kill"), Some(&json!({}))).expect(200);
            }
            "kill" => drop(server.http.post(&format!("/agents/{id}/kill"), Some(&json!({}))).expect(200)),
            _ => drop(server.http.post("/agents/kill-all", None).expect(200)),
        }
        server.ended(&id);
        is_kept(&server, &id);
        silent(story);
    }
    let mut asked = body(&fixture.url(), "quick-1");
    asked["maxRetries"] = json!(0);
    let id = server.spawn(&asked);
    server.ended(&id);
    silent("normal end");
}

#[test]
fn under_the_kill_switch_a_tree_stays_and_is_kept_after_the_release() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let (line, mark) = planting(&home);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = working(&home, &server, &body(&fixture.url(), "T-1"));
    server.http.post("/v1/killswitch/engage", Some(&json!({}))).expect(200);
    server.ended(&id);
    let held = server.agent(&id);
    assert_eq!(held.get("salvage"), None, "{held:#}");
    let why = held["cleanupPending"].as_str().unwrap_or_default();
    assert!(why.contains("the kill switch is engaged"), "{held:#}");
    let tree = home.data().join("agents").join(&id).join("tree");
    assert_eq!(std::fs::read_to_string(tree.join("work.txt")).unwrap(), "work\n");
    assert!(!mark.exists(), "the agent's filter ran");
    server.http.post("/v1/killswitch/release", Some(&json!({}))).expect(200);
    is_kept(&server, &id);
    until("the tree to go", || (!tree.exists()).then_some(()));
    assert!(!mark.exists(), "the agent's filter ran");
    // The control: what was planted does run where plain git is shown such a tree.
    let control = home.path().join("control");
    fixture.run(home.path(), &["clone", "-q", &fixture.url(), "control"]);
    let filter = home.path().join("filter.sh");
    std::fs::write(control.join(".gitattributes"), "* filter=x\n").unwrap();
    std::fs::write(control.join("work.txt"), "work\n").unwrap();
    fixture.run(&control, &["config", "filter.x.clean", &format!("sh '{}'", filter.display())]);
    fixture.run(&control, &["add", "-A"]);
    assert!(mark.exists(), "plain git does not run it");
}

#[test]
fn what_lies_beside_a_tree_is_kept_named_and_removed_with_its_agent() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agent = "mkdir ../build; head -c 300000 /dev/zero > ../build/out\n\
                 mkdir app; git -C app init -q; echo 'print(1)' > app/main.py\n";
    let line = script(home.path(), "agent.sh", agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let done = server.ended(&id);
    assert_eq!(done["status"], "completed", "{done:#}\n{}", server.log());
    let told = done["warnings"].to_string();
    assert!(told.contains("build") && told.contains("app/.git"), "{told}");
    let branch = done["branch"].as_str().unwrap();
    assert_eq!(fixture.read_branch_file(branch, "app/main.py").as_deref(), Some("print(1)\n"));
    let beside = home.data().join("beside").join(&id);
    assert_eq!(std::fs::metadata(beside.join("build/out")).unwrap().len(), 300_000);
    assert!(beside.join("app/.git/HEAD").is_file() && beside.join("app/main.py").is_file());
    assert!(!home.data().join("agents").join(&id).exists(), "its directory is gone");
    let name = done["name"].as_str().unwrap();
    let removed = server.http.delete(&format!("/v1/agents/{id}?discard={name}")).expect(200);
    assert!(removed["freedBytes"].as_u64() >= Some(300_000), "{removed:#}");
    assert!(!beside.exists() && !home.data().join("beside").exists());
}
