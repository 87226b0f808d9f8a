//! A runtime whose program says what the test lets it say.

use async_trait::async_trait;
use mosaic_core::domain::outcome::{Failure, FailureKind, Outcome};
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{
    AgentEvent, Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, Reaction, Runtime,
};

use super::knobs::Broken;
use super::world::Part;

struct FakeDialogue;

impl Dialogue for FakeDialogue {
    fn start(&mut self) -> Vec<String> {
        Vec::new()
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
    async fn probe(&self) -> Result<Probe, String> {
        self.0.knobs.works(self.1.as_str(), Broken::Program).map_err(|failure| failure.message)?;
        Ok(Probe { program: "fake".to_owned(), version: None })
    }
    async fn plan(&self, _: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Program)?;
        let command = vec!["fake".to_owned()];
        Ok(LaunchPlan { command, env: Vec::new(), stdin: None, interrupt: None, session: None, lent: None })
    }
    fn dialogue(&self, _: &Opening) -> Box<dyn Dialogue> {
        Box::new(FakeDialogue)
    }
}
