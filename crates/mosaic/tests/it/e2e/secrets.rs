//! Secrets on their way out: what stands in the base is none, what is found is named and can be allowed, and the server's own
//! values leave it in no form.

use std::process::Output;

use mosaic_testkit::git_fixture::Fixture;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, Server, body, script};

/// A key in PEM that belongs to nobody, put together here so that no scanner takes this file for a leak.
fn pem(letter: char) -> String {
    let line: String = (0..64u8).map(|n| char::from(b'A' + (n.wrapping_mul(7) % 26))).collect();
    let body = format!("{line}\n{}{}\n", &line[1..40], letter);
    format!("-----BEGIN {0}-----\n{body}-----END {0}-----\n", ["RSA PRIVATE", "KEY"].join(" "))
}

/// A token as GitHub makes them.
fn token(seed: u8) -> String {
    let tail: String =
        (0..36u8).map(|n| char::from(b'a' + (n.wrapping_mul(11).wrapping_add(seed) % 26))).collect();
    format!("{}{}", ["gh", "p_"].concat(), tail)
}

/// A value of the server's own.
fn own() -> String {
    ["Qr7", "vN2xK9", "wLp4Zt8Bd", "6Ym3Hs5"].concat()
}

fn agent(home: &Home, text: &str) -> String {
    script(home.path(), "agent.sh", &format!("cat > /dev/null\nset -e\n{text}\n"))
}

fn output_text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn change(server: &Server<'_>, fixture: &Fixture, task: &str) -> Value {
    let id = server.spawn(&body(&fixture.url(), task));
    server.ended(&id)
}

#[test]
fn what_stands_in_the_base_is_no_new_finding_wherever_it_is_moved() {
    let (home, fixture) = (Home::new(), Fixture::new());
    fixture.commit_on(
        "main",
        &[("test/server.key", &pem('A')), ("config.txt", &format!("a\ntoken = \"{}\"\nb\n", token(1)))],
    );
    let moves = format!(
        "git mv test fixtures\nsed -i 's/^a$/around/; s/^token = /    token = /' config.txt\n\
         printf 'again: {}\\n' > other.txt\ngit add -A",
        token(1)
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &agent(&home, &moves))]);
    let done = change(&server, &fixture, "T-move");
    assert_eq!((&done["status"], &done["findings"]), (&json!("completed"), &json!([])), "{done:#}");
    let branch = done["branch"].as_str().unwrap();
    assert_eq!(fixture.read_branch_file(branch, "fixtures/server.key"), Some(pem('A')));
    // Another key in the place of the known one is a finding, and the known one beside it is not.
    let other = format!("git mv test fixtures\ncat > fixtures/new.key <<'END'\n{}END", pem('B'));
    agent(&home, &other);
    let failed = change(&server, &fixture, "T-other");
    assert_eq!(failed["endReason"], "secret", "{failed:#}");
    let findings = failed["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{failed:#}");
    assert_eq!((&findings[0]["path"], &findings[0]["line"]), (&json!("fixtures/new.key"), &json!(1)));
}

#[test]
fn a_finding_is_named_everywhere_and_shown_nowhere() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let value = token(2);
    let text = format!("mkdir -p src\nprintf 'one\\ntwo\\nt = \"{value}\"\\n' > src/deep.txt");
    let server = home.serve(&[("MOSAIC_COMMAND", &agent(&home, &text))]);
    let failed = change(&server, &fixture, "T-named");
    let (id, found) = (failed["agentId"].as_str().unwrap(), &failed["findings"][0]);
    assert_eq!((&found["path"], &found["line"]), (&json!("src/deep.txt"), &json!(3)), "{failed:#}");
    assert_eq!(
        (&found["secret"]["rule"], &found["secret"]["commit"]),
        (&json!("github-token"), &failed["headCommit"])
    );
    let fingerprint = found["secret"]["fingerprint"].as_str().unwrap();
    let commit = &failed["headCommit"].as_str().unwrap()[..7];
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("github-token in src/deep.txt:3") && error.contains(commit), "{error}");
    for command in [
        &["status", id][..],
        &["gates", id],
        &["logs", id],
        &["--json", "status", id],
        &["--json", "gates", id],
        &["--json", "logs", id],
    ] {
        let text = output_text(&server.cli(command));
        for part in ["github-token", "src/deep.txt", commit, fingerprint] {
            assert!(text.contains(part), "{command:?} does not say {part}: {text}");
        }
        assert!(!text.contains(&value), "{command:?} shows it: {text}");
    }
    let gates = server.http.get(&format!("/v1/agents/{id}/gates")).expect(200);
    assert_eq!(gates["findings"], failed["findings"]);
    assert!(!server.log().contains(&value));
}

/// Retries until the end and returns the agent.
fn retried(server: &Server<'_>, id: &str, more: &[&str]) -> Value {
    let output = server.cli(&[&["retry", id, "-q"], more].concat());
    assert!(output.status.success(), "{}", output_text(&output));
    server.ended(String::from_utf8_lossy(&output.stdout).trim())
}

#[test]
fn a_finding_is_allowed_by_the_operator_with_a_reason_or_by_the_base_and_not_by_the_agent() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let write = format!("printf 't = \"{}\"\\n' > test.txt", token(3));
    let server = home.serve(&[("MOSAIC_COMMAND", &agent(&home, &write))]);
    let failed = change(&server, &fixture, "T-allow");
    let id = failed["agentId"].as_str().unwrap();
    let fingerprint = failed["findings"][0]["secret"]["fingerprint"].as_str().unwrap().to_owned();
    // Not by the agent, not without a reason, not by a fingerprint that was never found.
    agent(&home, &format!("{write}\nmkdir -p .mosaic\necho {fingerprint} > .mosaic/allowed-secrets"));
    assert_eq!(retried(&server, id, &[])["endReason"], "secret");
    assert_eq!(server.cli(&["retry", id, "--allow-secret", &fingerprint]).status.code(), Some(2));
    let never = "0".repeat(32);
    let output = server.cli(&["retry", id, "--allow-secret", &never, "--reason", "typed"]);
    assert!(
        !output.status.success() && output_text(&output).contains("none of this agent's findings"),
        "{}",
        output_text(&output)
    );
    agent(&home, &write);
    let allow = ["--allow-secret", &fingerprint, "--reason", "a token of the test kit"];
    let done = retried(&server, id, &allow);
    assert_eq!(done["status"], "completed", "{done:#}");
    let audit = output_text(&server.cli(&["audit", "--json"]));
    for part in ["secret-allow", &fingerprint, "a token of the test kit"] {
        assert!(audit.contains(part), "the audit log does not say {part}: {audit}");
    }
    // By the base, for everybody; in another file the same value is another finding.
    fixture.commit_on(
        "main",
        &[(".mosaic/allowed-secrets", &format!("# tests\n{fingerprint}  of the test kit\n"))],
    );
    assert_eq!(change(&server, &fixture, "T-base")["status"], "completed");
    agent(&home, &write.replace("test.txt", "other.txt"));
    assert_eq!(change(&server, &fixture, "T-base-2")["endReason"], "secret");
}

fn base64(text: &str) -> String {
    let mut child = std::process::Command::new("base64")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn the_servers_own_secrets_are_not_pushed_in_any_form_whatever_the_repository_allows() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let value = own();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let back: String = value.chars().rev().collect();
    let (one, two) = value.split_at(11);
    let server = home.serve(&[
        ("MOSAIC_COMMAND", &agent(&home, "true")),
        ("MOSAIC_GIT_TOKEN", &value),
        ("MOSAIC_GIT_TOKEN_HOST", "git.example.com"),
    ]);
    let token = server.token.clone();
    let ways = [
        ("raw", format!("echo 'x {value} y' > f")),
        ("base64", format!("printf '%s\\n' '{}' > f", base64(&format!("token:{value}")))),
        ("hex", format!("echo {hex} > f")),
        ("reversed", format!("echo {back} > f")),
        ("pieces", format!("printf '%s\\n' 'a = \"{one}\" +' '    \"{two}\"' > f")),
        ("utf16", format!("printf '{value}' | iconv -f utf-8 -t utf-16le > f")),
        ("name", format!("mkdir -p d\necho x > 'd/{value}.txt'")),
        ("binary", format!("printf '\\000\\001\\377{value}\\000' > f")),
        ("link", format!("ln -s 'to/{value}' f")),
        ("message", format!("echo x > f\ngit add f\ngit commit -qm 'about {value}'")),
        (
            "gone",
            format!(
                "echo {value} > f\ngit add f\ngit commit -qm one\ngit rm -q f\necho x > g\ngit add g\ngit commit -qm two"
            ),
        ),
        (
            "header",
            format!(
                "echo x > f\ngit add f\ngit commit -qm one\n\
                 new=$(git cat-file commit HEAD | sed '0,/^$/s/^$/x-note {value}\\n/' | git hash-object -t commit -w --stdin)\n\
                 git reset -q --hard $new"
            ),
        ),
        ("api token", format!("echo '{token}' > f")),
        ("its own token", "printf '%s' \"$MOSAIC_API_TOKEN\" | base64 -w0 > f".to_owned()),
    ];
    for (n, (way, text)) in ways.iter().enumerate() {
        agent(&home, text);
        let failed = change(&server, &fixture, &format!("T-{n}"));
        assert_eq!(failed["endReason"], "secret", "{way}: {failed:#}");
        assert_eq!(failed["findings"][0]["secret"]["own"], true, "{way}: {failed:#}");
        assert!(!failed.to_string().contains(&value), "{way}: {failed:#}");
    }
    assert_eq!(fixture.branches(), ["main"]);
    // Neither the base's list nor that it stands in the base makes it public.
    agent(&home, &ways[0].1);
    let failed = change(&server, &fixture, "T-allowed");
    let fingerprint = failed["findings"][0]["secret"]["fingerprint"].as_str().unwrap();
    fixture.commit_on("main", &[(".mosaic/allowed-secrets", fingerprint), ("known", &value)]);
    assert_eq!(change(&server, &fixture, "T-allowed-2")["endReason"], "secret");
}

#[test]
fn the_servers_own_secrets_are_shown_nowhere() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let value = own();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "echo 'says {value} and {hex}'\necho 'errs {value}' >&2\necho '{value}' > f\necho x > '{value}'"
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &agent(&home, &text)), ("CLAUDE_API_KEY", &value)]);
    let failed = change(&server, &fixture, "T-shown");
    let id = failed["agentId"].as_str().unwrap();
    for command in [
        &["status", id][..],
        &["gates", id],
        &["logs", id],
        &["logs", "--raw", id],
        &["diff", id],
        &["--json", "logs", id],
        &["--json", "diff", id],
    ] {
        let text = output_text(&server.cli(command));
        assert!(!text.contains(&value) && !text.contains(&hex), "{command:?} shows it: {text}");
    }
    let text = output_text(&server.cli(&["logs", id]));
    assert!(text.contains("says [CLAUDE_API_KEY] and [CLAUDE_API_KEY]"), "{text}");
    assert!(!server.log().contains(&value));
    for event in ["/v1/events?after=0", "/v1/state", "/v1/audit"] {
        if event.starts_with("/v1/events") {
            let (_, events) = server.http.log(0);
            assert!(events.iter().all(|(_, data)| !data.contains(&value)), "{events:?}");
        } else {
            assert!(!server.http.get(event).expect(200).to_string().contains(&value), "{event}");
        }
    }
}

#[test]
fn a_value_that_stands_in_the_base_in_another_layout_is_no_new_finding_and_another_value_is() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let key = pem('A');
    let plain = ["Wq8rT5y", "Uv2Xz9Lp4"].concat();
    let large = format!("{}\ntoken = \"{}\"\n", "filler line\n".repeat(500_000), token(4));
    fixture.commit_on(
        "main",
        &[("server.key", &key), (".env", &format!("DB_PASSWORD={plain}\n")), ("large.txt", &large)],
    );
    let new = home.path().join("new");
    std::fs::create_dir(&new).unwrap();
    let put = |name: &str, text: String| std::fs::write(new.join(name), text).unwrap();
    let escaped = |key: &str| key.replace('\n', "\\n");
    put("windows.key", key.replace('\n', "\r\n"));
    let indented: String = key.lines().map(|line| format!("      {line}\n")).collect();
    put("app.yaml", format!("tls:\n  key: |\n{indented}"));
    let config = |key: &str, password: &str| {
        json!({"privateKey": "KEY", "dbPassword": password})
            .to_string()
            .replace("\"KEY\"", &format!("\"{}\"", escaped(key)))
    };
    put("config.json", config(&key, &plain));
    let text = format!(
        "cp '{}'/* .\nmkdir moved; git mv large.txt moved/; echo more >> moved/large.txt; git add -A",
        new.display()
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &agent(&home, &text))]);
    let done = change(&server, &fixture, "T-layout");
    assert_eq!((&done["status"], &done["findings"]), (&json!("completed"), &json!([])), "{done:#}");
    put("config.json", config(&pem('B'), &format!("{plain}x")));
    let failed = change(&server, &fixture, "T-new");
    assert_eq!(failed["endReason"], "secret", "{failed:#}");
    let found: Vec<&Value> = failed["findings"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert_eq!(found, ["config.json", "config.json"], "{failed:#}");
}

#[test]
fn names_that_hold_a_value_of_the_servers_are_refused_without_repeating_it() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let server = home.serve(&[
        ("MOSAIC_GIT_TOKEN", &own()),
        ("MOSAIC_GIT_TOKEN_HOST", "git.example.com"),
        ("MOSAIC_COMMAND", "cat"),
    ]);
    let with = |pointer: &str, value: Value| {
        let mut body = body(&fixture.url(), "T-1");
        match body.pointer_mut(pointer) {
            Some(field) => *field = value,
            None => match pointer[1..].split_once('/') {
                Some((place, name)) => body[place][name] = value,
                None => body[&pointer[1..]] = value,
            },
        }
        body
    };
    let cases = [
        ("/taskId", with("/taskId", json!(format!("T-{}", own())))),
        ("/labels", with("/labels", json!({"team": own()}))),
        ("/labels", with("/labels", json!({(own().to_lowercase()): "x"}))),
        ("/context/branch", with("/context/branch", json!(format!("feature/{}", own())))),
        ("/model", with("/model", json!(own()))),
        (
            "/context/workItems/1",
            with("/context/workItems", json!(["fine", format!("use {} to push", own())])),
        ),
        ("/context/instructions", with("/context/instructions", json!(base64(&own())))),
        ("/context/skills/0", with("/context/skills", json!([own().to_lowercase()]))),
        ("unknown field", with("/context", json!({(own()): "x"}))),
    ];
    for (pointer, body) in cases {
        let answer = server.http.post("/agents/spawn", Some(&body));
        let text = answer.expect(400).to_string();
        let says = text.contains("keeps secret") || pointer == "unknown field";
        assert!(text.contains(pointer) && says, "{pointer}: {text}");
        assert!(!text.to_lowercase().contains(&own().to_lowercase()), "{text}");
    }
    let key = format!("k-{}", own());
    let url = fixture.url();
    let spawn = ["spawn", "--repo", &url, "--branch", "main", "--idempotency-key", &key, "do it"];
    let refused = server.cli(&spawn);
    assert!(!refused.status.success(), "{}", output_text(&refused));
    assert!(
        output_text(&refused).contains("idempotency-key") && !output_text(&refused).contains(&own()),
        "{}",
        output_text(&refused)
    );
    assert!(!server.log().contains(&own()));
}

#[test]
fn an_order_is_never_refused_for_its_reason_and_no_record_of_it_shows_a_value() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let mut server = home.serve(&[
        ("MOSAIC_GIT_TOKEN", &own()),
        ("MOSAIC_GIT_TOKEN_HOST", "git.example.com"),
        ("MOSAIC_COMMAND", "cat > /dev/null; sleep 600"),
    ]);
    let reason = json!({"reason": format!("it printed {}", own())});
    let ids: Vec<String> = (0..3).map(|n| server.spawn(&body(&fixture.url(), &format!("T-{n}")))).collect();
    let order = |path: &str| server.http.post(path, Some(&reason)).expect(200);
    order(&format!("/v1/agents/{}/kill", ids[0]));
    order("/v1/queue/pause");
    order("/v1/queue/resume");
    server.http.post(&format!("/v1/agents/{}/retry", ids[0]), Some(&reason)).expect(201);
    order("/v1/agents/kill-all");
    order("/v1/killswitch/engage");
    let mut shown = server.log() + &server.http.get("/v1/killswitch").expect(200).to_string();
    shown += &output_text(&server.cli(&["audit", "--json"]));
    let killed = server.http.logged("agent.killed", &ids[0]);
    shown += &format!("{killed:?}");
    for id in &ids {
        shown += &server.http.get(&format!("/v1/agents/{id}")).expect(200).to_string();
    }
    assert!(shown.contains("it printed [MOSAIC_GIT_TOKEN]"), "{shown}");
    server.signal(Signal::TERM);
    server.wait_end();
    // Without a server the command line writes the order down itself, where agents may have been.
    std::fs::create_dir_all(home.data().join("agents")).unwrap();
    let env = [("MOSAIC_GIT_TOKEN", &*own()), ("MOSAIC_GIT_TOKEN_HOST", "git.example.com")];
    let output = home.run(&env, &["killswitch", "engage", "--yes", "--reason", &own()]);
    assert!(output_text(&output).contains("killed locally"), "{}", output_text(&output));
    shown += &output_text(&output);
    assert!(!shown.contains(&own()), "{shown}");
    assert_eq!(holders(&home.data(), own().as_bytes()), Vec::<std::path::PathBuf>::new());
}

/// Finds files below a directory that hold some bytes.
fn holders(place: &std::path::Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(holders(&entry.path(), bytes)),
            kind if kind.is_file() => {
                let text = std::fs::read(entry.path()).unwrap_or_default();
                if text.windows(bytes.len()).any(|part| part == bytes) {
                    found.push(entry.path());
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn credentials_that_agents_are_passed_do_not_leave_them() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let secret = home.data().join("agent-secret").display().to_string();
    let decoded = ["s3cr/t p", "ss+Zx9Qw4"].concat();
    let proxy = format!("http://user:{}@127.0.0.1:9", decoded.replace('/', "%2F").replace(' ', "%20"));
    let password = decoded.clone();
    let texts = [
        "printf '%s' \"$NPM_TOKEN\" | sed 's/^/x = /' > a.txt".to_owned(),
        format!("printf '%s\\n' '{password}' > b.txt"),
        format!("cat '{secret}' > c.bin"),
        format!("base64 '{secret}' > d.txt"),
        format!("od -An -tx1 '{secret}' > e.txt"),
        format!("printf 'head\\303'; {{ printf 'head\\303'; cat '{secret}'; printf '\\200tail'; }} > f.bin"),
    ];
    let env = [
        ("MOSAIC_AGENT_ENV", "NPM_TOKEN"),
        ("NPM_TOKEN", &own()),
        ("https_proxy", &proxy),
        ("MOSAIC_COMMAND", &agent(&home, "true")),
    ];
    let server = home.serve(&env);
    for (n, text) in texts.iter().enumerate() {
        agent(&home, text);
        let failed = change(&server, &fixture, &format!("T-{n}"));
        assert_eq!(failed["endReason"], "secret", "{text}: {failed:#}");
        assert_eq!(failed["findings"][0]["secret"]["own"], true, "{text}: {failed:#}");
    }
    agent(&home, "echo \"it is $NPM_TOKEN\"");
    let id = server.spawn(&body(&fixture.url(), "T-said"));
    server.ended(&id);
    let page = server.http.get(&format!("/v1/agents/{id}/transcript?limit=50")).expect(200).to_string();
    assert!(page.contains("it is [NPM_TOKEN]") && !page.contains(&own()), "{page}");
}

#[test]
fn a_private_key_that_is_shown_line_by_line_is_hidden_in_everything_that_is_shown() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let key = pem('K');
    let lines: Vec<&str> = key.lines().collect();
    std::fs::write(home.path().join("key"), &key).unwrap();
    let read = home.path().join("key").display().to_string();
    let text = format!(
        "while read -r line; do echo \"$line\"; echo 'in between'; echo \"{{\\\"text\\\":\\\"$line\\\"}}\"; done < '{read}'\n\
         for n in $(seq 5); do sed 1d '{read}'; done"
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &agent(&home, &text))]);
    let id = server.spawn(&body(&fixture.url(), "T-key"));
    let ended = server.ended(&id);
    let shown = [
        ended.to_string(),
        server.http.get(&format!("/v1/agents/{id}/transcript?limit=200")).expect(200).to_string(),
        output_text(&server.cli(&["logs", &id])),
        output_text(&server.cli(&["logs", "-f", &id])),
        output_text(&server.cli(&["logs", "--raw", &id])),
        output_text(&server.cli(&["status", &id])),
    ];
    for text in &shown {
        for line in &lines[1..lines.len() - 1] {
            assert!(!text.contains(line), "{line} in {text}");
        }
    }
    assert!(shown[1].contains("in between") && shown[2].contains("in between"), "{}", shown[1]);
}
