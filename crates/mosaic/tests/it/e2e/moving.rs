//! Waiting work moves from one store to another: all of it, once, whatever is broken off on the way.

use std::path::Path;
use std::process::Output;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::{Value, json};

use super::support::{Home, Server, body, until};

/// A server that starts nothing: what is spawned waits.
fn paused<'h>(home: &'h Home, env: &[(&str, &str)]) -> Server<'h> {
    let server = home.serve(env);
    server.http.post("/v1/queue/pause", Some(&json!({}))).expect(200);
    server
}

fn spawn_some(server: &Server<'_>, fixture: &Fixture, tasks: std::ops::Range<usize>) -> Vec<String> {
    tasks.map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect()
}

#[track_caller]
fn done(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&done(output).0).unwrap()
}

/// Lets the server end once nothing runs, and returns what the command said.
fn drain(server: Server<'_>, home: &Home) -> String {
    let said = done(&server.cli(&["drain"]));
    until("the server to be gone", || (!home.data().join("server.json").exists()).then_some(()));
    drop(server);
    said.1
}

fn file(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

#[test]
fn waiting_work_moves_to_valkey_runs_there_once_and_moves_back() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let (port, path) = (store.port().to_string(), file(home.path(), "queue.ndjson"));
    let valkey = [("VALKEY_HOST", "127.0.0.1"), ("VALKEY_PORT", port.as_str())];
    let server = paused(&home, &[]);
    // An earlier kill-all of the embedded store says nothing about another store's agents.
    spawn_some(&server, &fixture, 90..93);
    server.http.post("/agents/kill-all", Some(&json!({}))).expect(200);
    let ids = spawn_some(&server, &fixture, 0..4);
    let said = drain(server, &home);
    assert!(said.contains("4 tasks wait") && said.contains("mosaic queue export"), "{said}");
    let would = json_of(&home.run(&[], &["--json", "queue", "export", "--dry-run"]));
    assert_eq!((&would["exported"], &would["dryRun"]), (&json!(4), &json!(true)));
    let exported = json_of(&home.run(&[], &["--json", "queue", "export", &path]));
    assert_eq!((&exported["exported"], &exported["atWork"]), (&json!(4), &json!(0)), "{exported:#}");
    // A second export finds nothing, and does not write over the first.
    assert_eq!(home.run(&[], &["queue", "export", &path]).status.code(), Some(6));
    let server = home.serve(&valkey);
    assert!(!server.log().contains("unfinished tasks lie"), "{}", server.log());
    assert_eq!(json_of(&server.cli(&["--json", "queue", "import", "--dry-run", &path]))["entries"], 4);
    let imported = json_of(&server.cli(&["--json", "queue", "import", &path]));
    assert_eq!(imported["admitted"], 4, "{imported:#}");
    for id in &ids {
        // What an agent that changes nothing comes to: it did run.
        assert_eq!(server.ended(id)["agentId"], id.as_str());
        assert_ne!(server.agent(id)["status"], "killed", "{:#}", server.agent(id));
    }
    let again = json_of(&server.cli(&["--json", "queue", "import", &path]));
    assert_eq!((&again["admitted"], again["ended"].as_array().unwrap().len()), (&json!(0), 4), "{again:#}");
    // And back, with the servers at work.
    server.http.post("/v1/queue/pause", Some(&json!({}))).expect(200);
    let more = spawn_some(&server, &fixture, 4..7);
    let back = file(home.path(), "back.ndjson");
    assert_eq!(json_of(&server.cli(&["--json", "queue", "export", &back]))["exported"], 3);
    for id in &more {
        let record = server.agent(id);
        assert_eq!(record["status"], "killed");
        assert!(record["error"].as_str().unwrap().contains("exported"), "{record:#}");
    }
    drop(server);
    let server = home.serve(&[]);
    server.http.post("/v1/queue/resume", Some(&json!({}))).expect(200);
    assert_eq!(json_of(&server.cli(&["--json", "queue", "import", &back]))["admitted"], 3);
    for id in &more {
        assert_ne!(server.ended(id)["status"], "killed");
    }
    for id in &ids {
        assert_eq!(server.agent(id)["status"], "killed", "it ran in the other store");
    }
}

#[test]
fn the_barrier_of_another_store_is_moved_away_also_after_a_start_that_was_broken_off() {
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let port = store.port().to_string();
    let valkey = [("VALKEY_HOST", "127.0.0.1"), ("VALKEY_PORT", port.as_str())];
    let server = paused(&home, &[]);
    spawn_some(&server, &fixture, 0..3);
    server.http.post("/agents/kill-all", Some(&json!({}))).expect(200);
    drain(server, &home);
    // The start ends where the barrier is to be moved away.
    let place = home.data().join("quarantine/barrier-of-another-store");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "").unwrap();
    let broken_off = home.run(&valkey, &["serve"]);
    let words = String::from_utf8_lossy(&broken_off.stderr).into_owned();
    assert!(!broken_off.status.success() && words.contains("barrier of another store"), "{words}");
    std::fs::remove_file(&place).unwrap();
    let server = home.serve(&valkey);
    // The first agents of this store come before the barrier of the other one.
    let id = spawn_some(&server, &fixture, 3..4).remove(0);
    assert_ne!(server.ended(&id)["status"], "killed", "{:#}", server.agent(&id));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "the barrier is kept there");
}

#[test]
fn an_embedded_store_with_unfinished_work_is_named_at_the_start_and_by_doctor_and_exported_beside_the_server()
{
    let Some(store) = ValkeyServer::start() else { return };
    let (home, fixture) = (Home::new(), Fixture::new());
    let port = store.port().to_string();
    let valkey = [("VALKEY_HOST", "127.0.0.1"), ("VALKEY_PORT", port.as_str())];
    let server = paused(&home, &[]);
    let ids = spawn_some(&server, &fixture, 0..2);
    drain(server, &home);
    let server = home.serve(&valkey);
    server.until_logged("2 unfinished tasks lie in the embedded store");
    server.until_logged("mosaic.db");
    let doctor = home.run(&valkey, &["doctor"]);
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("mosaic.db") && doctor.contains("queue export --embedded"), "{doctor}");
    let exported = home.run(&valkey, &["queue", "export", "--embedded"]);
    let path = home.path().join("queue.ndjson");
    std::fs::write(&path, done(&exported).0).unwrap();
    let imported = server.cli(&["--json", "queue", "import", &path.display().to_string()]);
    assert_eq!(json_of(&imported)["admitted"], 2);
    for id in &ids {
        server.ended(id);
    }
}

#[test]
fn an_export_or_import_that_was_broken_off_is_finished_by_the_same_command() {
    let (home, other, fixture) = (Home::new(), Home::new(), Fixture::new());
    let path = file(home.path(), "queue.ndjson");
    let server = paused(&home, &[]);
    let ids = spawn_some(&server, &fixture, 0..5);
    // The file cannot be written once everything has ended in the store.
    let in_the_way = file(home.path(), "queue.ndjson.new");
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(!server.cli(&["queue", "export", &path]).status.success());
    for id in &ids {
        assert_eq!(server.agent(id)["status"], "killed");
    }
    assert_eq!(other.run(&[], &["queue", "import", &path]).status.code(), Some(3), "there is no file yet");
    let partial = format!("{path}.partial");
    let refused = other.run(&[], &["queue", "import", &partial]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not whole"), "a journal is no export");
    let later = spawn_some(&server, &fixture, 5..6);
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(json_of(&server.cli(&["--json", "queue", "export", &path]))["exported"], 6);
    assert!(!Path::new(&partial).exists());
    // A file that lost its end is no export either; the whole one comes in by halves.
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let half = file(home.path(), "half.ndjson");
    std::fs::write(&half, format!("{}\n", lines[..3].join("\n"))).unwrap();
    assert!(!other.run(&[], &["queue", "import", &half]).status.success());
    let target = paused(&other, &[]);
    std::fs::write(&half, format!("{}\n{{\"end\":2}}\n", lines[..3].join("\n"))).unwrap();
    assert_eq!(json_of(&target.cli(&["--json", "queue", "import", &half]))["admitted"], 2);
    let rest = json_of(&target.cli(&["--json", "queue", "import", &path]));
    assert_eq!((&rest["admitted"], &rest["there"]), (&json!(4), &json!(2)), "{rest:#}");
    target.http.post("/v1/queue/resume", Some(&json!({}))).expect(200);
    for id in ids.iter().chain(&later) {
        assert_ne!(target.ended(id)["status"], "killed");
    }
    let newer = text.replacen("\"mosaicQueue\":1", "\"mosaicQueue\":2", 1);
    std::fs::write(&half, newer).unwrap();
    let refused = target.cli(&["queue", "import", &half]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("version 2"));
}

#[test]
fn an_entry_that_holds_a_value_of_the_server_is_refused_by_name_and_the_others_are_admitted() {
    let (home, other, fixture) = (Home::new(), Home::new(), Fixture::new());
    let path = file(home.path(), "queue.ndjson");
    let value = unknown_value();
    let server = paused(&home, &[]);
    let mut ids = spawn_some(&server, &fixture, 0..2);
    let mut holding = body(&fixture.url(), "T-holding");
    holding["context"]["workItems"] = json!(["fine", format!("push with {value}")]);
    let held = server.spawn(&holding);
    ids.extend(spawn_some(&server, &fixture, 2..4));
    done(&server.cli(&["queue", "export", &path]));

    let env = [("MOSAIC_GIT_TOKEN", value.as_str()), ("MOSAIC_GIT_TOKEN_HOST", "git.example.com")];
    let target = paused(&other, &env);
    let imported = target.cli(&["--json", "queue", "import", &path]);
    assert_eq!(imported.status.code(), Some(7), "an import that leaves something out is whole");
    let sum: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!((&sum["entries"], &sum["admitted"]), (&json!(5), &json!(4)), "{sum:#}");
    assert_eq!(sum["refused"][0]["agentId"], held.as_str(), "{sum:#}");
    let words = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(words.contains(&held) && words.contains("/agent/spec/context/workItems/1"), "{words}");
    assert!(!format!("{words}{sum}{}", target.log()).contains(&value), "{words}");
    for id in &ids {
        assert_eq!(target.agent(id)["status"], "spawning");
    }
    target.http.get(&format!("/v1/agents/{held}")).expect(404);

    // A page of the API answers each entry by itself, in its order.
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut entries: Vec<Value> = lines.filter(|line| line.get("agent").is_some()).collect();
    entries.insert(1, json!({"seq": 1, "agent": {"id": "no record"}}));
    let answer = target.http.post("/v1/queue/import", Some(&json!({"entries": entries}))).expect(200);
    let outcomes: Vec<&Value> =
        answer["arrivals"].as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["there", "refused", "there", "refused", "there", "there"], "{answer:#}");
    assert!(answer["arrivals"][1]["reason"].as_str().unwrap().contains("cannot be read"), "{answer:#}");
}

/// A value that no rule knows by its form.
fn unknown_value() -> String {
    ["Qr7", "vN2xK9", "wLp4Zt8Bd", "6Ym3Hs5"].concat()
}

/// Exports three waiting agents of which one holds the value into a file; returns its path, and that agent.
fn exported_with(value: &str, home: &Home, fixture: &Fixture) -> (String, String) {
    let path = file(home.path(), "queue.ndjson");
    let server = paused(home, &[]);
    spawn_some(&server, fixture, 0..2);
    let mut holding = body(&fixture.url(), "T-holding");
    holding["context"]["workItems"] = json!([format!("push with {value}")]);
    let held = server.spawn(&holding);
    done(&server.cli(&["queue", "export", &path]));
    (path, held)
}

#[test]
fn without_a_server_an_entry_that_holds_a_value_of_it_is_refused_too() {
    let (home, other, fixture) = (Home::new(), Home::new(), Fixture::new());
    let value = unknown_value();
    let (path, held) = exported_with(&value, &home, &fixture);
    // Each of the places that a server knows values from.
    let credentials = home.path().join("credentials");
    std::fs::write(&credentials, format!("https://user:{value}@git.example.com\n")).unwrap();
    let credentials = credentials.display().to_string();
    let login = home.path().join("login");
    std::fs::create_dir(&login).unwrap();
    let tokens = json!({"claudeAiOauth": {"accessToken": value, "refreshToken": "r", "expiresAt": 1}});
    std::fs::write(login.join(".credentials.json"), tokens.to_string()).unwrap();
    let login = login.display().to_string();
    drop(paused(&other, &[]));
    let places: [&[(&str, &str)]; 4] = [
        &[("MOSAIC_GIT_TOKEN", &value), ("MOSAIC_GIT_TOKEN_HOST", "git.example.com")],
        &[("MOSAIC_GIT_CREDENTIALS_FILE", &credentials)],
        &[("MOSAIC_CLAUDE_LOGIN", &login)],
        &[("MOSAIC_AGENT_ENV", "NPM_TOKEN"), ("NPM_TOKEN", &value)],
    ];
    for (n, env) in places.into_iter().enumerate() {
        let imported = other.run(env, &["--json", "queue", "import", &path]);
        assert_eq!(imported.status.code(), Some(7), "{env:?}: {}", String::from_utf8_lossy(&imported.stderr));
        let sum: Value = serde_json::from_slice(&imported.stdout).unwrap();
        let taken = if n == 0 { "admitted" } else { "there" };
        assert_eq!((&sum[taken], &sum["refused"][0]["agentId"]), (&json!(2), &json!(held)), "{sum:#}");
        let words = String::from_utf8_lossy(&imported.stderr).into_owned();
        assert!(words.contains("/agent/spec/context/workItems/0"), "{words}");
        assert!(!format!("{words}{sum}").contains(&value), "{words}");
    }
}

#[test]
fn without_a_server_nothing_is_imported_while_its_values_are_not_known() {
    let (home, other, fixture) = (Home::new(), Home::new(), Fixture::new());
    let value = unknown_value();
    let (path, held) = exported_with(&value, &home, &fixture);
    let env = [("MOSAIC_GIT_TOKEN", value.as_str()), ("MOSAIC_GIT_TOKEN_HOST", "git.example.com")];
    drop(paused(&other, &env));
    let words = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    // The newest server had a token that this command was not given.
    let refused = other.run(&[], &["queue", "import", &path]);
    assert_eq!(refused.status.code(), Some(6), "{}", words(&refused));
    assert!(words(&refused).contains("MOSAIC_GIT_TOKEN") && words(&refused).contains("start the server"));
    assert!(!words(&refused).contains(&value), "{}", words(&refused));
    // One that it was given and cannot read.
    let missing = file(home.path(), "no-such-file");
    let unread = [&env[..], &[("MOSAIC_GIT_CREDENTIALS_FILE", missing.as_str())]].concat();
    let refused = other.run(&unread, &["queue", "import", &path]);
    assert_eq!(refused.status.code(), Some(6), "{}", words(&refused));
    assert!(words(&refused).contains("MOSAIC_GIT_CREDENTIALS_FILE"), "{}", words(&refused));
    // Nothing was admitted so far, and with the server's settings all but the one is.
    let imported = other.run(&env, &["--json", "queue", "import", &path]);
    let sum: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!((&sum["admitted"], &sum["refused"][0]["agentId"]), (&json!(2), &json!(held)), "{sum:#}");
}
