//! Runtimes: how a kind of agent is started and understood. A driver does no I/O: it says what to run, and a
//! [`Dialogue`] turns the lines that come out into events and replies. So recorded streams test it whole.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::processes::Exit;
use super::sandbox::SandboxHandle;
use crate::domain::ids::{AgentId, TaskId};
use crate::domain::outcome::{Failure, Outcome};
use crate::domain::spec::{AgentType, Budget};
use crate::domain::spent::Spent;

/// Inputs for the start of an agent's program.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The agent.
    pub agent: AgentId,
    /// The task.
    pub task: TaskId,
    /// Purpose of the agent.
    pub agent_type: AgentType,
    /// Prompt of the turn that begins now.
    pub prompt: String,
    /// Addition to the runtime's system prompt: the repository's instructions to agents and our own.
    pub system: String,
    /// The agent's tree, its working directory.
    pub tree: PathBuf,
    /// Its place in the sandbox.
    pub sandbox: SandboxHandle,
    /// The model asked for.
    pub model: Option<String>,
    /// Caps on spending: what is left for this run.
    pub budget: Budget,
    /// The session to resume, when it survives.
    pub resume: Option<String>,
    /// A fresh id for a new session, for runtimes that let us choose.
    pub new_session: String,
}

/// Command that is to be run, with its environment and its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// Program and arguments, as it is to run inside the sandbox.
    pub command: Vec<String>,
    /// Environment added to the sandbox's.
    pub env: Vec<(String, String)>,
    /// Standard input for runtimes without a dialogue; `None` keeps it open and begins with [`Dialogue::start`].
    pub stdin: Option<String>,
    /// Text that is written to the program first when it must stop.
    pub interrupt: Option<String>,
    /// The session this run will have, when known beforehand.
    pub session: Option<String>,
    /// Mark of the credential that the run was lent, for [`Runtime::tend`]. It is no secret.
    pub lent: Option<String>,
}

/// Beginning of a conversation: enough to take part in it again after the server was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// Prompt that the agent was given.
    pub prompt: String,
    /// The session, when known beforehand; see [`LaunchPlan::session`].
    pub session: Option<String>,
    /// See [`LaunchPlan::lent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<String>,
}

/// Event of an agent's run, for the transcript and for supervision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum AgentEvent {
    /// A session began or went on.
    Started {
        /// The session's id.
        session: Option<String>,
        /// The model.
        model: Option<String>,
        /// The agent program's version.
        version: Option<String>,
    },
    /// The agent said something.
    Text {
        /// The agent's text.
        text: String,
    },
    /// The agent thought aloud.
    Thinking {
        /// The thought.
        text: String,
    },
    /// The agent used a tool.
    Tool {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// One line for people, such as the command or the file.
        title: String,
    },
    /// A tool answered.
    ToolResult {
        /// The call's id.
        id: String,
        /// True when the tool succeeded.
        ok: bool,
        /// Result of the tool, cut.
        text: String,
    },
    /// The agent was denied something.
    Denied {
        /// The tool's name.
        tool: String,
        /// Why.
        reason: String,
    },
    /// The model service is being asked again.
    ApiRetry {
        /// The HTTP status that caused it.
        status: Option<u16>,
        /// Which try this was, from 1; on the wire `try`, because a transcript line has an `attempt` of its own.
        #[serde(rename = "try")]
        attempt: u32,
    },
    /// Tokens and cost since the last such event; cost unknown is `None`, never 0.
    Usage {
        /// Tokens read.
        input_tokens: u64,
        /// Tokens written.
        output_tokens: u64,
        /// US dollars as the runtime reports them.
        cost_usd: Option<f64>,
    },
    /// Plain output of a program without a protocol.
    Output {
        /// One line.
        text: String,
    },
    /// Something a person may want to know.
    Notice {
        /// What.
        text: String,
    },
}

/// Consequences of a line of output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reaction {
    /// Events that the line reports.
    pub events: Vec<AgentEvent>,
    /// Lines to write to the agent, each with its own line break.
    pub replies: Vec<String>,
    /// The last turn is over: close standard input, and end the process if it lives on for
    /// [`crate::limits::AFTER_RESULT`].
    pub turn_over: bool,
    /// Stop the process now: it cannot succeed any more.
    pub give_up: bool,
}

/// Work that a conversation waits for although a turn has its result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pending {
    /// Nothing: either a turn is under way, or the last one is over.
    #[default]
    Nothing,
    /// Another turn is about to begin by itself, within [`crate::limits::FOLLOW_UP`].
    Turn,
    /// Background tasks are under way, whose ends begin other turns; their descriptions.
    Tasks(Vec<String>),
}

/// One conversation with a running agent. Fed with lines, asked for the outcome at the end.
pub trait Dialogue: Send {
    /// Returns what is written to the process as it starts.
    fn start(&mut self) -> Vec<String>;

    /// Takes one line of output without its line break. Unknown and malformed lines are never an error.
    fn line(&mut self, line: &[u8]) -> Reaction;

    /// Returns what to write to interrupt the turn, when the protocol has a way.
    fn interrupt(&mut self) -> Option<String>;

    /// Returns what to write so that the agent gets this message while it works, when the protocol has a way.
    fn nudge(&mut self, text: &str) -> Option<String> {
        let _ = text;
        None
    }

    /// Returns what the conversation waits for after a result. Standard input stays open as long as it is something.
    fn pending(&self) -> Pending {
        Pending::Nothing
    }

    /// Returns what a person should know of the turns that were no failures. Asked once, at the end.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns what the run has used up so far, as far as its lines tell: what results say, and an estimate of what came
    /// after the last one.
    fn spent(&self) -> Spent {
        Spent::default()
    }

    /// Returns the session's id as far as it is known.
    fn session(&self) -> Option<String>;

    /// Says how the turn went, now that the process has ended.
    fn outcome(&mut self, exit: &Exit) -> Outcome;
}

/// Availability of a runtime on this node: its program and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Where its program is.
    pub program: String,
    /// Its version, when it says one.
    pub version: Option<String>,
}

/// Abilities and customs of a runtime. What they say is a promise: `mosaic_testkit::runtime_suite` checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeCapabilities {
    /// It reports what a run cost, so that a cap in US dollars can be kept.
    pub reports_cost: bool,
    /// It resumes a session of an earlier run.
    pub resumes: bool,
    /// Messages reach its program while it works; see [`Dialogue::nudge`].
    pub takes_messages: bool,
    /// Directory of a repository that holds skills, each in a directory of its own with a `SKILL.md`.
    pub skills_directory: Option<&'static str>,
    /// Files of a repository with instructions to agents, which become part of the system prompt, in this order.
    pub instruction_files: &'static [&'static str],
    /// Names in a repository that its program gives a meaning by itself, unless it is told not to.
    pub native_names: &'static [&'static str],
}

/// The reason why a runtime cannot be used here, with what to do about it. Each runtime has its own reasons.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct ProbeError(Box<dyn std::error::Error + Send + Sync>);

impl ProbeError {
    /// Takes a runtime's own error, or a message.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// A kind of agent.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Returns its name, which a spawn request can ask for.
    fn name(&self) -> &'static str;

    /// Returns its abilities. They never change.
    fn capabilities(&self) -> RuntimeCapabilities;

    /// Looks whether it can be used here. Errors with what to do about it. Takes at most a few seconds.
    async fn probe(&self) -> Result<Probe, ProbeError>;

    /// Says what to run and places the files the run needs into the sandbox's private directories. Fails
    /// before anything starts when it cannot work, for instance without credentials.
    async fn plan(&self, request: &LaunchRequest) -> Result<LaunchPlan, Failure>;

    /// Returns what stands for the credential that its runs use now, with its own name: agents with the same one share the
    /// model service's limits. No secret. `None` when there is nothing of that kind.
    fn credential(&self) -> Option<String> {
        None
    }

    /// Looks again which credential its runs use now, for [`Runtime::credential`]: an operator may have put another login in
    /// the place of the one before.
    async fn look_at_credential(&self) {}

    /// Looks after what a run was lent, such as a login that its program renews by itself: what is newer is brought back,
    /// or lent to the run. Called again and again while it runs, at its end, and for what an earlier server left. `config`
    /// is the agent's private configuration directory, `lent` what the plan said when that is known. Returns what a person
    /// should know, when something changed. Idempotent.
    async fn tend(
        &self,
        agent: AgentId,
        config: &Path,
        lent: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let _ = (agent, config, lent);
        Ok(None)
    }

    /// Returns the conversation that begins so. Fed with the same lines, it comes to the same events and replies: that
    /// is how a later server catches up with a program that outlived an earlier one.
    fn dialogue(&self, opening: &Opening) -> Box<dyn Dialogue>;
}
