//! The launch: flags, environment, credentials.

use mosaic_adapters::agent_claude::{ClaudeOptions, ClaudeRuntime};
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::domain::spec::Budget;
use mosaic_core::limits;
use mosaic_core::ports::runtime::{AgentEvent, Opening, Runtime};
use serde_json::json;

use super::world::{KEY, dialogue, options, request, tell};

#[test]
fn the_key_is_masked_and_long_text_cut() {
    let mut dialogue = dialogue();
    let text = format!("key {KEY} {}", "x".repeat(2 * limits::ENTRY_BYTES));
    let line = json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": text}]}]}});
    let events = tell(&mut *dialogue, &line).events;
    let [AgentEvent::ToolResult { text, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(text.starts_with("key [masked] x") && text.len() <= limits::ENTRY_BYTES);
    let raw = dialogue.line(format!("panic: {KEY}").as_bytes()).events;
    assert_eq!(raw, [AgentEvent::Output { text: "panic: [masked]".into() }]);
}

#[tokio::test]
async fn the_plan_has_the_flags_and_no_key_in_its_arguments() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime =
        ClaudeRuntime::new(ClaudeOptions { upstream: Some("http://127.0.0.1:9".into()), ..options() });
    let mut request = request(dir.path().into());
    request.budget = Budget { usd: Some(1.5), turns: Some(7) };
    request.model = Some("opus".into());
    let plan = runtime.plan(&request).await.expect("a plan");
    let line = plan.command.join(" ");
    for part in [
        "-p",
        "--setting-sources user",
        "--strict-mcp-config",
        "--permission-mode bypassPermissions",
        "--model opus",
        "--max-turns 7",
        "--max-budget-usd 1.5",
        "--session-id 5e55e55e-0000-4000-8000-000000000001",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(!line.contains(KEY));
    let has = |name: &str, value: &str| plan.env.contains(&(name.to_owned(), value.to_owned()));
    assert!(has("ANTHROPIC_API_KEY", KEY) && has("ANTHROPIC_BASE_URL", "http://127.0.0.1:9"));
    assert!(has("CLAUDE_CONFIG_DIR", &dir.path().display().to_string()));
    assert_eq!(plan.session.as_deref(), Some(request.new_session.as_str()));

    request.resume = Some("old".into());
    let lost = runtime.plan(&request).await.expect("a plan");
    assert!(!lost.command.contains(&"--resume".to_owned()), "its record is gone: {:?}", lost.command);
    assert_eq!(lost.session.as_deref(), Some(request.new_session.as_str()));
    std::fs::create_dir_all(dir.path().join("projects/-tree/old.jsonl")).expect("made");
    let odd = runtime.plan(&request).await.expect("a plan");
    assert!(!odd.command.contains(&"--resume".to_owned()), "that is no record");
    std::fs::create_dir_all(dir.path().join("projects/-other")).expect("made");
    std::fs::write(dir.path().join("projects/-other/old.jsonl"), "{}").expect("written");
    let again = runtime.plan(&request).await.expect("a plan");
    assert!(
        again.command.join(" ").contains("--resume old")
            && !again.command.contains(&"--session-id".to_owned())
    );
    assert_eq!(again.session.as_deref(), Some("old"));
    request.model = Some("--dangerous".into());
    assert_eq!(runtime.plan(&request).await.expect_err("refused").kind, FailureKind::BadInput);
}

#[tokio::test]
async fn without_key_or_login_nothing_is_launched() {
    let dir = tempfile::tempdir().expect("a directory");
    let without = ClaudeOptions { api_key: None, ..options() };
    let request = request(dir.path().join("config"));
    let failure = ClaudeRuntime::new(without.clone()).plan(&request).await.expect_err("no key");
    assert_eq!(failure.kind, FailureKind::Auth);
    assert!(failure.message.contains("CLAUDE_API_KEY") && failure.message.contains("MOSAIC_CLAUDE_LOGIN"));

    let with_login = ClaudeRuntime::new(ClaudeOptions { login_dir: Some(dir.path().into()), ..without });
    assert_eq!(with_login.plan(&request).await.expect_err("no login file").kind, FailureKind::Auth);
    std::fs::write(dir.path().join(".credentials.json"), r#"{"a":{"accessToken":"token-canary-123"}}"#)
        .expect("written");
    std::fs::create_dir(dir.path().join("elsewhere")).expect("made");
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join("config")).expect("planted");
    with_login.plan(&request).await.expect_err("a planted link is not followed");
    assert_eq!(std::fs::read_dir(dir.path().join("elsewhere")).expect("listed").count(), 0);
    std::fs::remove_file(dir.path().join("config")).expect("removed");
    std::fs::create_dir(dir.path().join("config")).expect("made");
    let plan = with_login.plan(&request).await.expect("a plan");
    assert!(!plan.env.iter().any(|(name, _)| name == "ANTHROPIC_API_KEY"));
    let passed_on = dir.path().join("config/.credentials.json");
    assert!(std::fs::read_to_string(&passed_on).expect("passed on").contains("token-canary-123"));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&passed_on).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let shown = with_login.dialogue(&Opening::default()).line(b"token-canary-123").events;
    assert_eq!(shown, [AgentEvent::Output { text: "[masked]".into() }]);
}

#[tokio::test]
async fn a_missing_program_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let nowhere =
        ClaudeRuntime::new(ClaudeOptions { program: None, path_env: "/nonexistent".into(), ..options() });
    assert!(nowhere.probe().await.expect_err("missing").to_string().contains("MOSAIC_CLAUDE_BIN"));
    let failure = nowhere.plan(&request(dir.path().into())).await.expect_err("missing");
    assert!(!failure.kind.is_retryable() && failure.message.contains("MOSAIC_CLAUDE_BIN"));
}
