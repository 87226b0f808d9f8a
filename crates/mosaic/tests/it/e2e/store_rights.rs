//! The rights of a user in Valkey: the least ones are enough to run a task, and what is missing is named.

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::Value;

use super::support::{Home, body, script};

/// Returns the findings of `mosaic doctor` about the store.
fn findings(home: &Home, env: &[(&str, &str)]) -> Vec<Value> {
    let out = home.run(env, &["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let all = report["findings"].as_array().unwrap();
    all.iter().filter(|one| one["group"] == "Store").cloned().collect()
}

/// Returns the rules that doctor says are the least.
fn least(findings: &[Value]) -> String {
    let texts = findings.iter().filter_map(|one| one["text"].as_str());
    let rules = texts.filter_map(|text| text.split_once("the least are: ")).next();
    rules.unwrap_or_else(|| panic!("{findings:#?}")).1.to_owned()
}

fn acl(store: &ValkeyServer, command: &str) {
    let answer = store.ask(command).unwrap();
    assert_eq!(answer, "+OK", "{command}");
}

#[test]
fn the_least_rights_run_a_task_and_each_that_is_missing_is_named() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let port = store.port().to_string();
    let with_prefix =
        [("VALKEY_HOST", "127.0.0.1"), ("VALKEY_PORT", port.as_str()), ("MOSAIC_VALKEY_PREFIX", "p")];
    let line = least(&findings(&home, &with_prefix));
    assert!(line.contains("~p:orchestrator:* ~p:bull:orchestrator-tasks:* &p:orchestrator:*"), "{line}");
    acl(
        &store,
        &line.replace("default", "mosaic").replace(">PASSWORD", ">secret resetchannels &p:orchestrator:*"),
    );
    let agent = script(home.path(), "agent.sh", "cat > /dev/null\necho done > made\n");
    let mut env = with_prefix.to_vec();
    env.extend([("MOSAIC_VALKEY_USERNAME", "mosaic"), ("MOSAIC_VALKEY_PASSWORD", "secret")]);
    env.extend([("MOSAIC_COMMAND", agent.as_str()), ("MOSAIC_NODE", "n1")]);

    let fine = findings(&home, &env);
    assert!(fine.iter().all(|one| one["level"] == "ok" || one["id"] != "D-VALKEY-5"), "{fine:#?}");
    let server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    assert_eq!(server.ended(&id)["status"], "completed", "{}", server.log());
    drop(server);
    for (rule, named) in [
        ("-xadd", "+xadd"),
        ("-wait", "+wait"),
        ("-publish", "+publish"),
        ("resetkeys ~p:orchestrator:*", "~p:bull:orchestrator-tasks:*"),
    ] {
        acl(&store, &format!("ACL SETUSER mosaic {rule}"));
        let found = findings(&home, &env);
        let missing =
            found.iter().find(|one| one["id"] == "D-VALKEY-5").unwrap_or_else(|| panic!("{found:#?}"));
        let said = missing.to_string();
        assert!(said.contains("user mosaic lacks") && said.contains(named), "{rule}: {said}");
        acl(&store, &format!("ACL SETUSER mosaic {named}"));
    }
    acl(&store, "ACL SETUSER mosaic -eval");
    let found = findings(&home, &env);
    assert!(found.iter().any(|one| one.to_string().contains("could not be looked at")), "{found:#?}");
}
