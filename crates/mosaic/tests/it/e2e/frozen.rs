//! Freezing a real agent over the API and the command line.

use mosaic_testkit::git_fixture::Fixture;
use serde_json::json;

use super::support::{Home, body, script, until};

#[test]
fn a_frozen_agent_stands_still_outlives_its_server_and_goes_on() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let beat = home.path().join("beat");
    let line = script(
        home.path(),
        "beating.sh",
        &format!(
            "cat >/dev/null\nwhile ! test -e '{0}.end'; do echo . >>'{0}'; sleep 0.02; done\necho x > x.txt\n",
            beat.display()
        ),
    );
    let env = [("MOSAIC_COMMAND", line.as_str())];
    let mut server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let beats = || std::fs::metadata(&beat).map_or(0, |meta| meta.len());
    until("the agent to work", || (beats() > 3 && server.agent(&id)["phase"] == "working").then_some(()));
    let frozen =
        server.http.post(&format!("/v1/agents/{id}/freeze"), Some(&json!({"reason": "a test"}))).expect(200);
    assert!(frozen["frozen"] == true && frozen["changed"] == true, "{frozen:#}");
    let output = server.cli(&["freeze", &id]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("frozen already"),
        "{output:?}"
    );
    // Counted after two answers that it is frozen: a beat that comes later was made by a program that runs.
    let still = beats();
    assert_eq!(server.agent(&id)["frozen"], true);
    assert_eq!(server.http.get(&format!("/agents/{id}/status")).expect(200)["frozen"], true);
    server.signal(rustix::process::Signal::KILL);
    server.wait_end();
    drop(server);
    let server = home.serve(&env);
    until("the next server to know", || (server.agent(&id)["frozen"] == true).then_some(()));
    assert_eq!(beats(), still, "it ran on while frozen");
    let output = server.cli(&["thaw", "--all"]);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("thawed"),
        "{output:?}"
    );
    until("the agent to go on", || (beats() > still).then_some(()));
    std::fs::write(format!("{}.end", beat.display()), "").unwrap();
    assert_eq!(server.ended(&id)["status"], "completed");
    let late = server.http.post(&format!("/v1/agents/{id}/freeze"), Some(&json!({}))).expect(409);
    assert_eq!(late["code"], "conflict", "{late:#}");
}
