//! Hostile strings in every field and parameter: each is refused with a 400, or taken as plain text that does
//! nothing. Never a 5xx, never a header of the attacker's, never a changed record.

use axum::body::Body;
use axum::http::Uri;
use serde_json::{Value, json};

use crate::world::{HttpAnswer, World, ask, example};

/// Short hostile strings.
const SHORT: [&str; 79] = [
    "",
    " ",
    "-",
    "--",
    "-x",
    "--help",
    "--upload-pack=touch /tmp/x",
    "-oProxyCommand=touch /tmp/x",
    "-c core.fsmonitor=x",
    "--exec=sh",
    "..",
    "../",
    "../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "/../..",
    "./.git/config",
    "~/.ssh/id_rsa",
    "a/../../b",
    "%2e%2e%2f",
    "%00",
    "%0d%0aSet-Cookie: a=b",
    "a\0b",
    "\0",
    "\n",
    "a\nb",
    "a\r\nX-Evil: 1",
    "\t",
    "\u{1b}[2J",
    "\u{1b}]0;owned\u{7}",
    "\u{7f}",
    "\u{80}",
    "\u{9b}31m",
    "\u{202e}gnp.exe",
    "\u{2066}x\u{2069}",
    "\u{200b}",
    "\u{feff}x",
    "\u{2028}",
    "\u{e000}",
    "\u{fffd}",
    "$(touch /tmp/x)",
    "`id`",
    "; rm -rf /",
    "| cat /etc/passwd",
    "&& id",
    "${HOME}",
    "$IFS",
    "'; DROP TABLE agents; --",
    "\" OR 1=1 --",
    "%' OR '1'='1",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "<!--#exec-->",
    "{\"$gt\":\"\"}",
    "ext::sh -c x",
    "fd::17",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://169.254.169.254/latest",
    "data: x\n\nevent: evil",
    "__proto__",
    "constructor",
    "null",
    "NaN",
    "-1",
    "1e309",
    "999999999999999999999",
    "HEAD",
    "@{-1}",
    "refs/heads/../x",
    "a.lock",
    "CON",
    "nul.txt",
    "é",
    "日本語",
    "🦀",
    "\u{1F1E9}\u{1F1EA}",
    "ſ",
    "İ",
];

/// Fields of a spawn.
const FIELDS: [&str; 24] = [
    "/taskId",
    "/agentType",
    "/gateProfile",
    "/gates",
    "/gates/0",
    "/context",
    "/context/repository",
    "/context/branch",
    "/context/workItems",
    "/context/workItems/0",
    "/context/skills",
    "/context/skills/0",
    "/context/instructions",
    "/priority",
    "/maxRetries",
    "/maxFixRounds",
    "/timeoutSeconds",
    "/runtime",
    "/model",
    "/budget",
    "/budget/usd",
    "/budget/turns",
    "/labels",
    "/labels/team",
];

/// Paths with a place for an attack; `AGENT` is an agent's id.
const ROUTES: [&str; 37] = [
    "/agents/{}/status",
    "/v1/agents/{}",
    "/v1/agents/{}/diff",
    "/v1/agents/{}/transcript",
    "/v1/agents/{}/gates",
    "/v1/tasks/{}",
    "/v1/agents/AGENT/gates/{}/log",
    "/v1/agents/AGENT/gates/tests/log?after={}",
    "/v1/gates?repository={}",
    "/v1/gates?gate={}",
    "/v1/gates?since={}",
    "/v1/gates?limit={}",
    "/v1/gates?cursor={}",
    "/v1/agents?status={}",
    "/v1/agents?phase={}",
    "/v1/agents?type={}",
    "/v1/agents?repo={}",
    "/v1/agents?branch={}",
    "/v1/agents?taskId={}",
    "/v1/agents?label={}",
    "/v1/agents?label=a={}",
    "/v1/agents?q={}",
    "/v1/agents?idPrefix={}",
    "/v1/agents?since={}",
    "/v1/agents?until={}",
    "/v1/agents?dead={}",
    "/v1/agents?limit={}",
    "/v1/agents?cursor={}",
    "/v1/agents?{}=1",
    "/v1/agents/AGENT?wait={}",
    "/v1/agents/AGENT?wait=1&until={}",
    "/v1/agents/AGENT/transcript?after={}",
    "/v1/agents/AGENT/transcript?kinds={}",
    "/v1/agents/AGENT/diff?stat={}",
    "/v1/queue?offset={}",
    "/v1/queue?limit={}",
    "/{}",
];

fn hostile() -> Vec<String> {
    let long = "A".repeat(4096);
    let mut out: Vec<String> = SHORT.map(str::to_owned).into();
    out.extend([
        long.clone(),
        format!("-{long}"),
        format!("{long}\0"),
        "\u{202e}".repeat(1500),
        "../".repeat(1400),
    ]);
    assert!(out.len() >= 80);
    out
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("the test's own step works");
    let parent = body.pointer_mut(parent).expect("the test's own step works");
    match parent {
        Value::Array(items) => items[key.parse::<usize>().expect("the test's own step works")] = value,
        parent => parent[key] = value,
    }
}

/// Checks that nothing of an attack went anywhere but into a JSON string.
#[track_caller]
fn is_inert(answer: &HttpAnswer, attack: &str) {
    assert!(answer.status < 500, "{attack:?}: {}", answer.text());
    assert!(
        !answer.headers.contains_key("x-evil") && !answer.headers.contains_key("set-cookie"),
        "{attack:?}"
    );
    let unsafe_bytes = answer.body.iter().any(|b| *b < 0x20 && !matches!(b, b'\n'));
    assert!(!unsafe_bytes, "{attack:?} reached the answer raw");
}

#[tokio::test]
async fn hostile_strings_in_every_field_of_a_spawn_are_refused_or_inert() {
    let world = World::with(100_000, |_| {});
    let mut taken = 0;
    for attack in hostile() {
        for field in FIELDS {
            let mut body = example();
            body["gateProfile"] = json!("custom");
            for (key, value) in
                [("gates", json!(["tests"])), ("budget", json!({"usd": 1})), ("labels", json!({"team": "a"}))]
            {
                body[key] = value;
            }
            set(&mut body, field, json!(attack));
            let answer = world.post("/agents/spawn", &body).await;
            is_inert(&answer, &attack);
            match answer.status {
                201 => {
                    taken += 1;
                    let id = answer.json()["agentId"].as_str().unwrap().to_owned();
                    let shown = world.get(&format!("/v1/agents/{id}")).await;
                    is_inert(&shown, &attack);
                    let branch = shown.json()["branch"].as_str().unwrap().to_owned();
                    let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/-".contains(&b);
                    assert!(
                        branch.starts_with("mosaic/") && branch.bytes().all(safe),
                        "{attack:?} made {branch}"
                    );
                    assert_eq!(world.order("POST", &format!("/agents/{id}/kill")).await.status, 200);
                }
                400 => drop(answer.is(400, "validation_failed")),
                403 => drop(answer.is(403, "policy_denied")),
                422 => drop(answer.is(422, "unsatisfiable")),
                other => panic!("{attack:?} in {field}: {other} {}", answer.text()),
            }
        }
        // As the name of a field, too.
        let mut body = example();
        body[attack.as_str()] = json!(1);
        let answer = world.post("/agents/spawn", &body).await;
        is_inert(&answer, &attack);
        answer.is(400, "validation_failed");
        let mut body = example();
        body["labels"] = json!({attack.as_str(): "x"});
        is_inert(&world.post("/agents/spawn", &body).await, &attack);
        assert_eq!(world.order("POST", "/agents/kill-all").await.json()["failed"], 0);
    }
    assert!(taken > 50, "plain text is taken as text: {taken}");
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

#[tokio::test]
async fn hostile_strings_in_paths_queries_and_headers_are_refused_or_inert() {
    let world = World::new();
    let id = world.spawned("US-1").await;
    let before = world.get("/v1/agents").await.text();
    for attack in hostile() {
        for route in ROUTES {
            let path = route.replace("AGENT", &id.to_string()).replace("{}", &encoded(&attack));
            if path.parse::<Uri>().is_err() {
                continue;
            }
            let answer = world.get(&path).await;
            is_inert(&answer, &attack);
            assert!(matches!(answer.status, 200 | 400 | 404), "{route} {attack:?}: {}", answer.text());
        }
        for (method, route) in
            [("POST", "/agents/{}/kill"), ("POST", "/v1/agents/{}/retry"), ("DELETE", "/v1/tasks/{}")]
        {
            let answer = world.order(method, &route.replace("{}", &encoded(&attack))).await;
            is_inert(&answer, &attack);
            assert!(matches!(answer.status, 400 | 404), "{route} {attack:?}: {}", answer.text());
        }
        for name in [
            "accept",
            "if-none-match",
            "last-event-id",
            "x-request-id",
            "content-type",
            "traceparent",
            "range",
        ] {
            let request =
                ask("GET", &format!("/v1/agents/{id}")).header(name, attack.as_bytes()).body(Body::empty());
            let Ok(request) = request else { continue };
            is_inert(&world.send(request).await, &attack);
        }
        is_inert(&world.post("/v1/queue/pause", &json!({"reason": attack})).await, &attack);
        is_inert(&world.post("/v1/queue/resume", &json!(attack)).await, &attack);
    }
    assert_eq!(world.get("/v1/agents").await.text(), before, "nothing of it changed a record");
}

#[tokio::test]
async fn a_body_that_names_a_field_twice_is_refused_on_every_route() {
    let world = World::new();
    let id = world.spawned("T-twice").await;
    let whole = example().to_string();
    let twice = [
        whole.replacen("\"taskId\"", "\"taskId\":\"other\",\"taskId\"", 1),
        whole.replacen(
            "\"repository\"",
            "\"repository\":\"https://git.example.com/other\",\"repository\"",
            1,
        ),
        whole.replacen(
            "\"repository\"",
            "\"rep\\u006fsitory\":\"https://git.example.com/other\",\"repository\"",
            1,
        ),
    ];
    let order = r#"{"reason":"one","reason":"two"}"#.to_owned();
    let paths = mosaic_server::routes().into_iter().filter(|route| route.method == "POST");
    for route in paths {
        let path = route.path.replace("{id}", &id.to_string()).replace("{node}", "laptop");
        for body in twice.iter().chain([&order]) {
            let request = ask("POST", &path).header("content-type", "application/json");
            let answer = world.send(request.body(Body::from(body.clone())).unwrap()).await;
            answer.is(400, "invalid_json");
            assert!(answer.text().contains("is named twice"), "{path}: {}", answer.text());
        }
    }
    assert_eq!(
        world.get(&format!("/v1/agents/{id}")).await.json()["status"],
        "spawning",
        "no order was taken"
    );
}
