//! A runtime whose program says what the test lets it say.

use async_trait::async_trait;
use mosaic_core::domain::outcome::{Failure, FailureKind, Outcome};
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{
    AgentEvent, Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Reaction, Runtime,
    RuntimeCapabilities,
};

use super::knobs::Broken;
use super::world::Part;

/// A conversation that begins with its prompt.
struct FakeDialogue {
    prompt: String,
}

impl Dialogue for FakeDialogue {
    fn start(&mut self) -> Vec<String> {
        vec![format!("{}\n", self.prompt)]
    }
    fn line(&mut self, line: &[u8]) -> Reaction {
        let text = String::from_utf8_lossy(line).into_owned();
        Reaction { events: vec![AgentEvent::Text { text }], ..Reaction::default() }
    }
    fn interrupt(&mut self) -> Option<String> {
        Some("interrupt\n".to_owned())
    }
    fn nudge(&mut self, text: &str) -> Option<String> {
        Some(format!("nudge: {text}\n"))
    }
    fn session(&self) -> Option<String> {
        None
    }
    fn outcome(&mut self, exit: &Exit) -> Outcome {
        match exit.code {
            Some(0) => Outcome::Completed { text: "done".to_owned() },
            _ => Outcome::Failed(Failure::new(FailureKind::Crash, "the program was stopped")),
        }
    }
}

#[async_trait]
impl Runtime for Part {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities {
            reports_cost: true,
            resumes: false,
            takes_messages: true,
            skills_directory: Some(".claude/skills"),
            instruction_files: &["AGENTS.md", "CLAUDE.md"],
            native_names: &[],
        }
    }
    async fn probe(&self) -> Result<Probe, ProbeError> {
        self.0
            .knobs
            .works(self.1.as_str(), Broken::Program)
            .map_err(|failure| ProbeError::new(failure.message))?;
        Ok(Probe { program: "fake".to_owned(), version: None })
    }
    async fn plan(&self, _: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Program)?;
        let command = vec!["fake".to_owned()];
        Ok(LaunchPlan { command, env: Vec::new(), stdin: None, interrupt: None, session: None, lent: None })
    }
    fn dialogue(&self, opening: &Opening) -> Box<dyn Dialogue> {
        Box::new(FakeDialogue { prompt: opening.prompt.clone() })
    }
}
