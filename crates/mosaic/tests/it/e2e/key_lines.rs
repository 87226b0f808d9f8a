//! A private key that a gate prints line by line: no line of its body is shown to people or handed to the agent.

use serde_json::json;

use super::support::{Home, body, fixture_with_gates, script};

/// A key in PEM that belongs to nobody, put together here so that no scanner takes this file for a leak.
fn pem() -> String {
    let line = |shift: u8| -> String {
        (0..64u8).map(|n| char::from(b'A' + (n.wrapping_mul(7).wrapping_add(shift) % 26))).collect()
    };
    let name = ["RSA PRIVATE", "KEY"].join(" ");
    format!("-----BEGIN {name}-----\n{}\n{}\n{}\n-----END {name}-----\n", line(1), line(3), &line(5)[..40])
}

#[test]
fn a_private_key_that_a_gate_prints_line_by_line_is_hidden_in_its_log_and_from_the_agent() {
    let home = Home::new();
    let (key, prompt) = (home.path().join("key"), home.path().join("prompt"));
    std::fs::write(&key, pem()).unwrap();
    let gate = format!(
        "while read -r line; do echo \"$line\"; echo in between; echo \"{{\\\"text\\\": \\\"$line\\\"}}\" >&2; done < '{}'\nexit 1\n",
        key.display()
    );
    let gate = script(home.path(), "gate.sh", &gate);
    let fixture = fixture_with_gates(&format!("tests = \"{gate}\""));
    let agent =
        script(home.path(), "agent.sh", &format!("cat >> '{}'\necho \"$$\" >> work.txt\n", prompt.display()));
    // Both lie outside of the repository, where an isolated gate sees only what it is shown.
    let shown = format!("{}:{}", home.path().join("gate.sh").display(), key.display());
    let server = home.serve(&[("MOSAIC_COMMAND", agent.as_str()), ("MOSAIC_GATE_PATHS", &shown)]);
    let mut request = body(&fixture.url(), "T-key");
    (request["gateProfile"], request["maxFixRounds"]) = (json!("minimal"), json!(1));
    let id = server.spawn(&request);
    let ended = server.ended(&id);
    assert_eq!(ended["endReason"], "gates_failed", "{ended:#}");

    let said = |args: &[&str]| {
        let output = server.cli(args);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let log = server.http.get(&format!("/v1/agents/{id}/gates/tests/log")).text;
    let told = std::fs::read_to_string(&prompt).unwrap();
    let shown = [
        log.clone(),
        told.clone(),
        ended.to_string(),
        said(&["gates", &id]),
        server.http.get(&format!("/v1/agents/{id}/gates")).expect(200).to_string(),
        server.http.get(&format!("/v1/agents/{id}/transcript?limit=200")).expect(200).to_string(),
        said(&["logs", "--raw", &id]),
        server.log(),
    ];
    assert!(log.contains("in between") && told.contains("in between"), "{log}\n{told}");
    for text in &shown {
        for line in pem().lines().filter(|line| !line.starts_with("-----")) {
            assert!(!text.contains(line), "{line} in {text}");
        }
    }
}
