//! The six routes that the NestJS orchestrator published, as its callers use them.

use std::io::{Read, Write};
use std::net::TcpStream;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, PATIENCE, Server, body, script};

/// The published example; its repository is on this machine here.
fn example(repository: &str) -> Value {
    json!({
        "taskId": "US-001",
        "agentType": "worker",
        "gateProfile": "standard",
        "context": {
            "repository": repository,
            "branch": "main",
            "workItems": ["US-001"],
            "skills": ["typescript"],
        },
    })
}

/// Sends one request as typed and returns the whole answer.
fn raw(server: &Server<'_>, request: &str) -> String {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_published_example_goes_from_spawn_to_a_branch_on_the_remote() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[(
        "MOSAIC_COMMAND",
        "sh -c 'cat > prompt.txt; mkdir src/new; echo made > src/new/made.txt'",
    )]);
    let text = example(&fixture.url()).to_string();
    let request = format!(
        "POST /agents/spawn HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        server.token,
        text.len()
    );
    let answer = raw(&server, &request);
    let (head, answer) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    let answer: Value = serde_json::from_str(answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(answer["status"], "spawning");
    let id = answer["agentId"].as_str().unwrap();
    assert!(
        id.len() == 36 && head.to_lowercase().contains(&format!("location: /v1/agents/{id}\r\n")),
        "{head}"
    );

    server.ended(id);
    let status = server.http.get(&format!("/agents/{id}/status")).expect(200);
    assert_eq!((&status["agentId"], &status["taskId"]), (&json!(id), &json!("US-001")));
    assert_eq!(status["status"], "completed", "{status:#}");
    let times: Vec<&str> =
        ["spawnedAt", "startedAt", "completedAt"].map(|t| status[t].as_str().unwrap()).into();
    assert!(times.is_sorted() && times.iter().all(|t| t.len() == 24 && t.ends_with('Z')), "{times:?}");
    assert!(status.get("error").is_none(), "{status:#}");

    let branch = status["branch"].as_str().unwrap();
    assert_eq!(branch, format!("mosaic/us-001/{}", &id[..8]));
    assert!(fixture.branches().contains(&branch.to_owned()), "{:?}", fixture.branches());
    assert_eq!(fixture.read_branch_file(branch, "src/new/made.txt").as_deref(), Some("made\n"));
    let prompt = fixture.read_branch_file(branch, "prompt.txt").unwrap();
    assert!(prompt.contains("US-001") && prompt.contains("typescript"), "{prompt}");
    let message = fixture.run(&fixture.remote(), &["log", "-1", "--format=%B", branch]);
    assert!(
        message.contains("Mosaic-Task: US-001") && message.contains(&format!("Mosaic-Agent: {id}")),
        "{message}"
    );
    assert_eq!(fixture.run(&fixture.remote(), &["rev-list", "--count", &format!("main..{branch}")]), "1");
}

#[test]
fn commits_that_the_agent_makes_carry_the_trailers_too() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agent = "echo one > one.txt\ngit add .\ngit -c user.name=A -c user.email=a@example.com commit -qm 'My own words'\necho two > two.txt\n";
    let line = script(home.path(), "agent.sh", agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let agent = server.life(&body(&fixture.url(), "T 1"), "completed", "done");
    let branch = agent["branch"].as_str().unwrap();
    let bodies = fixture.run(&fixture.remote(), &["log", "--format=%B%x00", &format!("main..{branch}")]);
    let bodies: Vec<&str> = bodies.split('\0').filter(|text| !text.trim().is_empty()).collect();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    let trailer = format!("Mosaic-Agent: {}", agent["agentId"].as_str().unwrap());
    assert!(
        bodies.iter().all(|text| text.contains(&trailer) && text.contains("Mosaic-Task: T 1")),
        "{bodies:?}"
    );
    assert!(bodies[1].contains("My own words"), "{bodies:?}");
    assert_eq!(agent["pushedCommit"].as_str(), fixture.tip(branch).as_deref());
}

#[test]
fn health_needs_no_token_and_everything_else_does() {
    let home = Home::new();
    let server = home.serve(&[]);
    let nobody = server.http.anonymous();
    let health = nobody.get("/health").expect(200);
    assert_eq!(health["status"], "ok");
    assert!(health["uptime"].is_number(), "{health}");
    let ready = nobody.get("/health/ready").expect(200);
    assert_eq!(ready["status"], "ready", "{ready:#}");
    for check in ["store", "disk", "git", "dispatcher"] {
        assert_eq!(ready["checks"][check]["status"], "ok", "{ready:#}");
    }
    let some = "00000000-0000-4000-8000-000000000000";
    for (method, path) in [
        ("POST", "/agents/spawn".to_owned()),
        ("GET", format!("/agents/{some}/status")),
        ("POST", format!("/agents/{some}/kill")),
        ("POST", "/agents/kill-all".to_owned()),
        ("GET", "/v1/agents".to_owned()),
        ("GET", "/v1/events".to_owned()),
        ("GET", "/v1/queue".to_owned()),
    ] {
        let reply = if method == "GET" { nobody.get(&path) } else { nobody.post(&path, Some(&json!({}))) };
        assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text);
        assert!(reply.headers.contains_key("www-authenticate"), "{path}: {:?}", reply.headers);
        assert_eq!(reply.body["statusCode"], 401, "{}", reply.text);
    }
    let foreign = raw(&server, "GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 421 "), "{foreign}");
}

#[test]
fn wrong_requests_get_their_status_and_a_way_out() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[("MOSAIC_COMMAND", "cat")]);
    let spawn = |change: &dyn Fn(&mut Value)| {
        let mut body = example(&fixture.url());
        change(&mut body);
        server.http.post("/agents/spawn", Some(&body))
    };
    let misspelt = spawn(&|b| b["agentTyp"] = json!("worker")).expect(400);
    assert_eq!(misspelt["code"], "validation_failed");
    assert!(misspelt.to_string().contains("agentType"), "{misspelt:#}");
    spawn(&|b| b["context"]["workItems"] = json!([])).expect(400);
    spawn(&|b| b["priority"] = json!(11)).expect(400);
    spawn(&|b| b["agentType"] = json!("boss")).expect(400);
    spawn(&|b| b["gateProfile"] = json!("custom")).expect(422);
    spawn(&|b| b["runtime"] = json!("nobody")).expect(422);
    spawn(&|b| b["context"]["repository"] = json!("ext::evil/x")).expect(403);
    let bad = server.http.get("/agents/nonsense/status").expect(400);
    assert_eq!(bad["code"], "validation_failed");
    let some = "00000000-0000-4000-8000-000000000000";
    assert_eq!(server.http.get(&format!("/agents/{some}/status")).expect(404)["code"], "agent_not_found");
    server.http.post(&format!("/agents/{some}/kill"), None).expect(404);
    assert_eq!(server.http.get("/agents/spawn").status, 405);
    let none = server.http.post("/agents/kill-all", None).expect(200);
    assert_eq!(none["message"], "Kill all completed: 0 killed, 0 failed");
    assert_eq!((&none["total"], &none["errors"]), (&json!(0), &json!([])));
}

#[test]
fn local_repositories_are_refused_unless_they_are_allowed() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "false"), ("MOSAIC_COMMAND", "cat")]);
    let refused = server.http.post("/agents/spawn", Some(&example(&fixture.url()))).expect(403);
    assert_eq!(refused["code"], "policy_denied");
}
