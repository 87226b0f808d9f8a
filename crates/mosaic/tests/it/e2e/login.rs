//! A login that agents renew: the operator's own keeps working, whoever renewed it and whatever became of the server.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Home, claude_stand_in, fixture_with_gates, spawn_claude, until};

/// Renews the login as the program does, from the refresh token that it finds, and writes down which one it used up.
const RENEW: &str = r#"f="$CLAUDE_CONFIG_DIR/.credentials.json"
n=$(sed 's/.*sk-ant-ort01-\([0-9]*\).*/\1/' "$f"); echo "$n" >> USED; m=$((n + 1))
sed "s/ort01-$n/ort01-$m/; s/oat01-$n/oat01-$m/; s/\"expiresAt\":[0-9]*/\"expiresAt\":$((1000 + m))/" "$f" > "$f.new"; mv "$f.new" "$f"
"#;
const RESULT: &str = r#"echo '{"type":"result","subtype":"success","is_error":false,"result":"ok"}'"#;

struct Story {
    home: Home,
    operators: PathBuf,
}

impl Story {
    fn new() -> Self {
        let home = Home::new();
        let dir = home.path().join("login");
        std::fs::create_dir(&dir).unwrap();
        let operators = dir.join(".credentials.json");
        let login = json!({"claudeAiOauth": {"accessToken": "sk-ant-oat01-1", "refreshToken": "sk-ant-ort01-1", "expiresAt": 1000}});
        std::fs::write(&operators, login.to_string()).unwrap();
        Self { home, operators }
    }

    fn stand_in(&self, turn: &str) -> String {
        let used = self.home.path().join("used").display().to_string();
        claude_stand_in(self.home.path(), &turn.replace("USED", &format!("'{used}'")))
    }

    fn used(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.home.path().join("used")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn refresh(&self) -> String {
        let login: Value = serde_json::from_slice(&std::fs::read(&self.operators).unwrap()).unwrap();
        login["claudeAiOauth"]["refreshToken"].as_str().unwrap().to_owned()
    }

    fn dir(&self) -> &Path {
        self.operators.parent().unwrap()
    }
}

#[test]
fn no_refresh_token_is_used_twice_over_fix_rounds_and_the_operator_has_the_newest() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'false'"));
    let program = story.stand_in(&format!("{RENEW}echo x >> x.txt\n{RESULT}"));
    let login = story.dir().display().to_string();
    let server = story.home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("MOSAIC_CLAUDE_LOGIN", &login)]);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({"maxFixRounds": 2}));
    let agent = server.ended(&id);
    assert_eq!(agent["endReason"], "gates_failed", "{agent:#}");
    assert_eq!(
        (story.used(), story.refresh().as_str()),
        (["1", "2", "3"].map(str::to_owned).to_vec(), "sk-ant-ort01-4")
    );
}

#[test]
fn what_is_renewed_while_an_agent_runs_reaches_the_operator_and_the_other_agent_at_once() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let first = story.home.path().join("first").display().to_string();
    let go = story.home.path().join("go").display().to_string();
    // The first one renews; the other waits until its own file is the renewed one.
    let turn = format!(
        "if mkdir '{first}' 2>/dev/null; then {RENEW}until [ -e '{go}' ]; do sleep 0.05; done\n\
         else until grep -q ort01-2 \"$CLAUDE_CONFIG_DIR/.credentials.json\"; do sleep 0.05; done; touch '{go}'; fi\n\
         echo x >> x.txt\n{RESULT}"
    );
    let program = story.stand_in(&turn);
    let login = story.dir().display().to_string();
    let server = story.home.serve(&[
        ("MOSAIC_CLAUDE_BIN", &program),
        ("MOSAIC_CLAUDE_LOGIN", &login),
        ("MOSAIC_SLOTS", "2"),
    ]);
    let ids: Vec<String> =
        ["T-1", "T-2"].map(|task| spawn_claude(&server, &fixture, task, &json!({}))).to_vec();
    for id in &ids {
        assert_eq!(server.ended(id)["status"], "completed");
    }
    assert_eq!((story.used(), story.refresh().as_str()), (vec!["1".to_owned()], "sk-ant-ort01-2"));
}

#[test]
fn a_login_renewed_before_the_server_died_or_while_none_was_there_is_not_lost() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let go = story.home.path().join("go");
    let turn = format!(
        "echo x >> x.txt; echo '{{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}}'\nuntil [ -e '{}' ]; do sleep 0.05; done\n{RENEW}{RESULT}",
        go.display()
    );
    let program = story.stand_in(&turn);
    let login = story.dir().display().to_string();
    let env = [("MOSAIC_CLAUDE_BIN", program.as_str()), ("MOSAIC_CLAUDE_LOGIN", login.as_str())];
    let mut server = story.home.serve(&env);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    // Told in the transcript, so that the next server does not give the task again.
    let told = format!("/v1/agents/{id}/transcript");
    until("the program", || server.http.get(&told).expect(200)["items"][0].is_object().then_some(()));
    server.signal(Signal::KILL);
    server.wait_end();
    drop(server);
    std::fs::write(&go, "").unwrap();
    until("the renewal", || (story.used().len() == 1).then_some(()));
    // The control: no server runs, so the renewal is in the file of the agent only.
    assert_eq!(story.refresh(), "sk-ant-ort01-1");
    let server = story.home.serve(&env);
    assert_eq!(server.ended(&id)["status"], "completed");
    assert_eq!(story.refresh(), "sk-ant-ort01-2");
}

#[test]
fn a_killed_agents_renewed_login_is_brought_back_and_junk_is_not() {
    let (story, fixture) = (Story::new(), fixture_with_gates("tests = 'true'"));
    let begun = story.home.path().join("begun").display().to_string();
    let program = story.stand_in(&format!("{RENEW}touch '{begun}'\nwhile :; do sleep 0.1; done"));
    let login = story.dir().display().to_string();
    let server = story.home.serve(&[("MOSAIC_CLAUDE_BIN", &program), ("MOSAIC_CLAUDE_LOGIN", &login)]);
    let id = spawn_claude(&server, &fixture, "T-1", &json!({}));
    until("the program", || Path::new(&begun).exists().then_some(()));
    server.kill(&id);
    server.ended(&id);
    assert_eq!(story.refresh(), "sk-ant-ort01-2");

    let junk = r#"echo '{"claudeAiOauth":{"accessToken":"x y","refreshToken":"","expiresAt":99999}}' > "$CLAUDE_CONFIG_DIR/.credentials.json""#;
    story.stand_in(&format!("echo x >> x.txt\n{junk}\n{RESULT}"));
    let id = spawn_claude(&server, &fixture, "T-2", &json!({}));
    server.ended(&id);
    assert_eq!(story.refresh(), "sk-ant-ort01-2");
}
