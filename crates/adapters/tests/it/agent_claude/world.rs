//! A dialogue with Claude Code without the program: recorded streams, hand-made lines, exits.

use std::path::PathBuf;

use mosaic_adapters::agent_claude::{ClaudeOptions, ClaudeRuntime};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{Failure, Outcome};
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, Dialogue, LaunchRequest, Opening, Reaction, Runtime};
use mosaic_testkit::fakes::sandbox::handle;
use serde_json::Value;

pub(super) const KEY: &str = "sk-test-canary-0123456789";

pub(super) fn options() -> ClaudeOptions {
    ClaudeOptions { program: Some("/bin/sh".into()), api_key: Some(KEY.into()), ..ClaudeOptions::default() }
}

pub(super) fn request(config: PathBuf) -> LaunchRequest {
    LaunchRequest {
        agent: AgentId(uuid::Uuid::new_v4()),
        task: "T-1".parse().expect("valid"),
        agent_type: AgentType::Worker,
        prompt: "Do it.\nNow.".into(),
        system: "rules".into(),
        tree: "/tree".into(),
        sandbox: handle("/agent/home", config),
        model: None,
        budget: Budget::default(),
        resume: None,
        new_session: "5e55e55e-0000-4000-8000-000000000001".into(),
    }
}

pub(super) fn dialogue() -> Box<dyn Dialogue> {
    let session = Some("5e55e55e-0000-4000-8000-000000000001".to_owned());
    ClaudeRuntime::new(options()).dialogue(&Opening {
        prompt: "Do it.\nNow.".to_owned(),
        session,
        lent: None,
    })
}

pub(super) fn exit(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

pub(super) fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Completed { text } => panic!("completed with {text:?}"),
    }
}

pub(super) fn tell(dialogue: &mut dyn Dialogue, line: &Value) -> Reaction {
    dialogue.line(line.to_string().as_bytes())
}

/// Feeds a recorded stream until the dialogue gives up; returns the dialogue, its events, and whether it gave up.
pub(super) fn replay(name: &str) -> (Box<dyn Dialogue>, Vec<AgentEvent>, bool) {
    let path = format!("{}/tests/data/streams/claude_2.1.330_{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("the recording is there");
    let mut dialogue = dialogue();
    let mut events = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let reaction = dialogue.line(line);
        events.extend(reaction.events);
        if reaction.give_up {
            return (dialogue, events, true);
        }
    }
    (dialogue, events, false)
}
