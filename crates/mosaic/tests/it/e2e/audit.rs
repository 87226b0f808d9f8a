//! The audit log of the real program: what stands in it, that it is checked without a server, that a crash loses
//! nothing acknowledged; and the tokens of agents, which stand nowhere and stop nothing.

use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Marker, body, script, until};

fn log(home: &Home) -> Vec<Value> {
    let exported = home.run(&[], &["audit", "export"]);
    assert!(exported.status.success(), "{exported:?}");
    text(&exported).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the records of an action, as `actor subject result`.
fn of(records: &[Value], action: &str) -> Vec<String> {
    let part = |record: &Value, name: &str| record[name].as_str().unwrap_or("-").to_owned();
    let found = records.iter().filter(|record| record["action"] == action);
    found.map(|r| ["actor", "subject", "result"].map(|name| part(r, name)).join(" ")).collect()
}

#[test]
fn a_servers_life_stands_in_the_log_and_edits_are_found_without_a_server() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "agent.sh", &format!("cat > /dev/null\nsleep {marker}\n"));
    let env =
        [("MOSAIC_COMMAND", line.as_str()), ("CLAUDE_API_KEY", "canary-key-1"), ("MOSAIC_NODE", "laptop")];
    let server = home.serve(&env);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("its program", || (!marker.alive().is_empty()).then_some(()));
    assert!(home.run(&[("USER", "alice")], &["kill", &id, "--reason", "looping"]).status.success());
    server.http.post("/v1/queue/pause", Some(&json!({}))).expect(200);
    // While a server writes, the check works as well, and both ways agree.
    let own = server.http.get("/v1/audit/verify").expect(200);
    assert_eq!((&own["ok"], &own["chain"]), (&json!(true), &json!("laptop")), "{own:#}");
    assert!(home.run(&[], &["audit", "verify"]).status.success());
    drop(server);
    let changed = [env[0], ("CLAUDE_API_KEY", "canary-key-2"), env[2], ("MOSAIC_SLOTS", "7")];
    drop(home.serve(&changed));

    let records = log(&home);
    let kills = of(&records, "kill");
    assert_eq!(kills[0], format!("operator/alice {id} ordered"));
    assert!(
        kills[1].starts_with(&format!("operator/alice {id} killed, verified: "))
            && kills[1].ends_with(", 0 after"),
        "{kills:?}"
    );
    assert_eq!(records.iter().find(|r| r["action"] == "kill").unwrap()["reason"], "looping");
    let counted = ["server-start", "server-stop", "queue-pause"].map(|action| of(&records, action).len());
    assert_eq!(counted, [2, 2, 1]);
    assert_eq!(of(&records, "token"), ["mosaic operator the API token was made, or is new to this log"]);
    let config = of(&records, "config");
    assert!(config[0].contains("first start with this log"), "{config:?}");
    assert!(config[1].contains("changed since the last start: CLAUDE_API_KEY, MOSAIC_SLOTS;"), "{config:?}");
    let numbers: Vec<u64> = records.iter().map(|r| r["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=records.len() as u64).collect::<Vec<_>>());
    for file in std::fs::read_dir(home.data().join("audit")).unwrap() {
        let text = String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains("canary"), "a secret stands in the audit log");
    }

    let list = home.run(&[], &["audit", "--action", "kill", "--json"]);
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&list.stdout).unwrap().len(), 2);
    let head = home.run(&[], &["audit", "head"]);
    assert_eq!(
        text(&head),
        format!("laptop\t{}\t{}\n", records.len(), records.last().unwrap()["hash"].as_str().unwrap())
    );
    let file = home.data().join("audit/laptop.jsonl");
    let bytes = std::fs::read(&file).unwrap();
    let place = String::from_utf8_lossy(&bytes).find("looping").unwrap();
    let mut other = bytes.clone();
    other[place] = b'L';
    std::fs::write(&file, &other).unwrap();
    let n = bytes[..place].iter().filter(|b| **b == b'\n').count() + 1;
    let found = home.run(&[], &["audit", "verify"]);
    assert_eq!(
        (found.status.code(), text(&found).contains(&format!("BROKEN at record {n}:"))),
        (Some(1), true),
        "{found:?}"
    );
    let found = home.run(&[], &["audit", "verify", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&found.stdout).unwrap()["chains"][0]["broken"]["n"], n);
    std::fs::write(&file, &bytes).unwrap();
    assert!(home.run(&[], &["audit", "verify"]).status.success());
}

#[test]
fn a_killed_server_loses_no_acknowledged_record() {
    let rounds = std::env::var("MOSAIC_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let home = Home::new();
    let (mut total, serial) = (0, AtomicU64::new(0));
    for round in 0..rounds {
        let server = home.serve(&[]);
        let acknowledged = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Ends when the server is gone.
                    loop {
                        let reason = format!("ack-{}", serial.fetch_add(1, Ordering::SeqCst));
                        let config =
                            ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
                        let request = ureq::http::Request::post(format!("{}/v1/queue/resume", server.url))
                            .header("authorization", format!("Bearer {}", server.token))
                            .header("content-type", "application/json")
                            .body(json!({"reason": reason}).to_string())
                            .unwrap();
                        match ureq::Agent::new_with_config(config).run(request) {
                            Ok(answer) if answer.status() == 200 => acknowledged.lock().unwrap().push(reason),
                            _ => return,
                        }
                    }
                });
            }
            until("some records", || (acknowledged.lock().unwrap().len() > 15 + round % 5 * 9).then_some(()));
            server.signal(Signal::KILL);
        });
        let verified = home.run(&[], &["audit", "verify"]);
        assert!(verified.status.success(), "round {round}: {verified:?}");
        let reasons: Vec<Value> = log(&home).into_iter().map(|record| record["reason"].clone()).collect();
        let acknowledged = acknowledged.into_inner().unwrap();
        for reason in &acknowledged {
            assert!(reasons.contains(&json!(reason)), "{reason} was acknowledged and is lost");
        }
        total += acknowledged.len();
        drop(server);
    }
    drop(home.serve(&[]));
    assert!(home.run(&[], &["audit", "verify"]).status.success());
    println!("{rounds} servers killed, {total} acknowledged records, 0 lost");
}

/// Finds a text in files below a directory.
fn holding(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, needle));
        } else if std::fs::read(&path).is_ok_and(|b| b.windows(needle.len()).any(|w| w == needle.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn an_agent_sees_itself_stops_nothing_and_its_token_stands_nowhere() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let out = home.path().join("seen");
    std::fs::create_dir(&out).unwrap();
    let mosaic = env!("CARGO_BIN_EXE_mosaic");
    // What the program refuses to an agent by itself, the server refuses to its token. The other agent, which
    // starts as soon as this one ends, must not write over what this one saw.
    let agent = format!(
        "cat > /dev/null\ncd '{out}'\nmkdir up || exec sleep 600\nwhile [ ! -e go ]; do sleep 0.02; done\n\
         printf %s \"$MOSAIC_API_TOKEN\" > token\nprintf %s \"$MOSAIC_API\" > api\n\
         echo \"my token is $MOSAIC_API_TOKEN\"\necho \"{{\\\"t\\\":\\\"$MOSAIC_API_TOKEN\\\"}}\" >&2\n\
         '{mosaic}' status $MOSAIC_AGENT_ID --json > own.json; echo $? > own\n\
         '{mosaic}' status $(cat other) --json; echo $? > others\n\
         '{mosaic}' kill-all --yes; echo $? > killall\n\
         '{mosaic}' kill $MOSAIC_AGENT_ID; echo $? > kill\n\
         export XDG_STATE_HOME='{out}'; free=\"env -u MOSAIC_AGENT_ID '{mosaic}' --url $MOSAIC_API --token-file token\"\n\
         for order in 'kill-all --yes' \"kill $MOSAIC_AGENT_ID\" \"kill $(cat other)\" 'queue pause' 'queue' 'ps' 'audit' 'drain'; do\n\
         eval \"$free $order\" 2>> said; echo \"$? $order\" >> orders; done\n\
         cd \"$MOSAIC_WORKTREE\"; echo done > done.txt\n",
        out = out.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_SLOTS", "1"), ("MOSAIC_LOG", "trace")]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let other = server.spawn(&body(&fixture.url(), "T-2"));
    std::fs::write(out.join("other"), &other).unwrap();
    until("the agent", || out.join("up").exists().then_some(()));
    std::fs::write(out.join("go"), "").unwrap();
    until("its end", || {
        out.join("orders").exists().then(|| server.agent(&id)).filter(|a| a["completedAt"].is_string())
    });
    server.kill(&other);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap().trim().to_owned();
    let token = read("token");
    assert_eq!((read("api"), token.len()), (server.url.clone(), 13 + 32 + 1 + 64));
    let codes = ["own", "others", "killall", "kill"].map(read);
    assert_eq!(codes, ["0", "4", "4", "4"], "{}", server.log());
    assert!(read("own.json").contains(&id));
    let orders = read("orders");
    assert_eq!(
        (orders.lines().count(), orders.lines().all(|line| line.starts_with("4 "))),
        (8, true),
        "{orders}\n{}",
        read("said")
    );
    let agent = server.agent(&id);
    assert_eq!((&agent["status"], &agent["endReason"]), (&json!("completed"), &json!("done")), "{agent:#}");

    // The token ends with the agent.
    let late = super::support::Http::new(&server.url, Some(&token));
    assert_eq!(late.get(&format!("/v1/agents/{id}")).status, 401);
    // It is masked wherever the agent's words are shown, and was written down by nobody but the agent.
    for path in [
        format!("/v1/agents/{id}/transcript"),
        format!("/v1/agents/{id}"),
        format!("/v1/agents/{id}/diff"),
        "/v1/audit".to_owned(),
    ] {
        assert!(!server.http.get(&path).text.contains(&token), "{path} shows the token");
    }
    assert!(server.http.get(&format!("/v1/agents/{id}/transcript")).text.contains("my token is ["));
    assert!(!server.log().contains(&token), "the token is in the server's log");
    let files = holding(&home.data(), &token);
    let raw = home.data().join("transcripts").join(&id);
    let raw = raw.display().to_string();
    assert!(files.iter().all(|file| file.starts_with(&raw)), "the token was written down: {files:?}");
    assert_eq!(of(&log(&home), "kill-all"), Vec::<String>::new(), "an agent's order was carried out");
}
