//! The scripted demo agent. It does real work (files, commands, commits) from a script in the repository, and speaks
//! Claude Code's lines while it does, so that `mosaic demo` shows everything as it is except the model. It works in
//! no repository but those that `mosaic demo` made.

mod act;
mod script;
mod speech;

use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use async_trait::async_trait;
use mosaic_core::domain::ids::slug;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::runtime::{
    Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Runtime, RuntimeCapabilities,
};

use crate::agent_claude::{ClaudeDialogue, Secrets, interrupt_line};
pub use act::{DemoArgumentError, DemoRun, converse};
pub use script::{DemoScript, DemoStep, MARKER, MARKER_TEXT, script_path};

/// The hidden subcommand under which the program runs [`demo_agent_main`].
pub const SUBCOMMAND: &str = "demo-agent";

/// The `demo` runtime.
#[derive(Debug, Clone)]
pub struct DemoRuntime {
    self_exe: PathBuf,
}

impl DemoRuntime {
    /// Makes the runtime; `self_exe` is our own program, which has the subcommand [`SUBCOMMAND`].
    pub fn new(self_exe: PathBuf) -> Self {
        Self { self_exe }
    }
}

#[async_trait]
impl Runtime for DemoRuntime {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities {
            reports_cost: true,
            resumes: true,
            takes_messages: true,
            skills_directory: Some(".claude/skills"),
            instruction_files: &["AGENTS.md", "CLAUDE.md"],
            native_names: &[],
        }
    }

    async fn probe(&self) -> Result<Probe, ProbeError> {
        let version = Some(env!("CARGO_PKG_VERSION").to_owned());
        Ok(Probe { program: self.self_exe.display().to_string(), version })
    }

    async fn plan(&self, request: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        if !script::is_demo_repository(&request.tree) {
            return Err(Failure::new(FailureKind::BadInput, script::refusal()));
        }
        let state = request.sandbox.config_inside.display().to_string();
        let story = slug(request.task.as_str());
        let mut command = vec![self.self_exe.display().to_string(), SUBCOMMAND.to_owned()];
        command.extend(["--story".to_owned(), story, "--state".to_owned(), state]);
        let session = request.resume.clone().unwrap_or_else(|| request.new_session.clone());
        let word = if request.resume.is_some() { "--resume" } else { "--session-id" };
        command.extend([word.to_owned(), session.clone()]);
        let interrupt = Some(interrupt_line());
        Ok(LaunchPlan {
            command,
            env: Vec::new(),
            stdin: None,
            interrupt,
            session: Some(session),
            lent: None,
        })
    }

    fn dialogue(&self, opening: &Opening) -> Box<dyn Dialogue> {
        Box::new(ClaudeDialogue::new(opening.prompt.clone(), opening.session.clone(), Secrets::default()))
    }
}

/// Runs the demo agent over standard input and output in the current directory. `args` are the words after
/// [`SUBCOMMAND`]. SIGTERM ends it as it ends any program.
pub fn demo_agent_main(args: Vec<String>) -> ExitCode {
    let tree = match std::env::current_dir() {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("demo agent: there is no working directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    match DemoRun::from_args(&args, tree) {
        Ok(run) => ExitCode::from(converse(&run, BufReader::new(std::io::stdin()), std::io::stdout())),
        Err(why) => {
            eprintln!("demo agent: {why}");
            ExitCode::from(2)
        }
    }
}
