//! Claude Code, driven by stream-json in both directions. The program gets a configuration directory of its own and
//! only the operator's settings (`--setting-sources user`): a repository's `.claude/settings.json` could otherwise send
//! the model key elsewhere or run hooks before anyone looked at it.

mod dialogue;
mod limit_dates;
mod limit_words;
mod lines;
mod login;
mod masking;
mod outcome;
mod private_files;
mod program_error;
mod push_guard;
mod spending;
mod turns;
mod zones;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
pub use login::LoginError;
use login::{BroughtBack, Exchanged, Login};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::limits;
use mosaic_core::ports::runtime::{
    Dialogue, LaunchPlan, LaunchRequest, Opening, Probe, ProbeError, Runtime, RuntimeCapabilities,
};
use parking_lot::Mutex;
use program_error::ProgramError;

use crate::private_place::PrivatePlace;
use crate::secret_scan::KnownSecrets;

pub(crate) use dialogue::{ClaudeDialogue, interrupt_line};
pub(crate) use masking::Secrets;

/// Tools an agent has: what is needed for work in a tree, and nothing that reaches other agents.
const TOOLS: &str = "Bash,Edit,Read,Write,Glob,Grep,Skill";
/// File in the private directory that `--append-system-prompt-file` names; as an argument it could be too long.
const SYSTEM_FILE: &str = "mosaic-system.md";
/// Instruction to an agent about its background commands: the server waits for them.
const BACKGROUND: &str = "\n\nYour work is taken over once your turn is over and no background command of yours runs any more. Before \
    you end your last turn, stop every server or watcher that you started in the background.\n";

/// Advice to the operator about a missing login.
const LOG_IN: &str = "set CLAUDE_API_KEY, or log in with the claude program and set MOSAIC_CLAUDE_LOGIN so that the login is passed on";

/// The operator's configuration of the runtime.
#[derive(Clone, Default)]
pub struct ClaudeOptions {
    /// Path of the program (`MOSAIC_CLAUDE_BIN`); else `claude` is looked up in `path_env`.
    pub program: Option<PathBuf>,
    /// The `PATH` to look in.
    pub path_env: String,
    /// The key (`CLAUDE_API_KEY`), handed to the program in its environment, never in its arguments.
    pub api_key: Option<String>,
    /// The operator's Claude configuration directory whose login is passed on (`MOSAIC_CLAUDE_LOGIN`).
    pub login_dir: Option<PathBuf>,
    /// Where model calls go (`MOSAIC_MODEL_UPSTREAM`); the program's own default when `None`.
    pub upstream: Option<String>,
    /// The model of agents that ask for none; the program's own default when `None`.
    pub default_model: Option<String>,
    /// Learns the key, and the tokens of every login that is passed on.
    pub known: Option<Arc<KnownSecrets>>,
}

impl std::fmt::Debug for ClaudeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaudeOptions")
            .field("program", &self.program)
            .field("api_key", &self.api_key.is_some())
            .field("login_dir", &self.login_dir)
            .field("upstream", &self.upstream)
            .field("default_model", &self.default_model)
            .finish_non_exhaustive()
    }
}

/// The `claude` runtime.
#[derive(Debug, Clone)]
pub struct ClaudeRuntime {
    options: ClaudeOptions,
    /// Secrets that must never be shown: the key, and every token that an agent was lent or brought back.
    secrets: Secrets,
    /// Marks of the logins that agents have now, where that is another than the one they began with.
    lent: Arc<Mutex<HashMap<AgentId, String>>>,
    /// Mark of the account of the login that is passed on.
    account: Arc<Mutex<Option<String>>>,
}

impl ClaudeRuntime {
    /// Makes the runtime; nothing is looked up yet.
    pub fn new(options: ClaudeOptions) -> Self {
        let secrets = Secrets::telling(options.known.clone());
        Self { options, secrets, lent: Arc::default(), account: Arc::default() }
    }

    /// Returns the program's path.
    fn program(&self) -> Result<PathBuf, ProgramError> {
        if let Some(program) = &self.options.program {
            let found = is_program(program).then(|| program.clone());
            return found.ok_or_else(|| ProgramError::NotRunnable(program.clone()));
        }
        let mut places = std::env::split_paths(&self.options.path_env).map(|dir| dir.join("claude"));
        places.find(|path| path.is_absolute() && is_program(path)).ok_or(ProgramError::NotInPath)
    }

    /// Returns where the login to pass on is. `Ok(None)` when the key is used instead.
    fn login(&self) -> Result<Option<Login>, Failure> {
        if self.options.api_key.as_deref().is_some_and(|key| !key.trim().is_empty()) {
            return Ok(None);
        }
        match &self.options.login_dir {
            Some(dir) => Ok(Some(Login::new(dir.clone()))),
            None => Err(Failure::new(
                FailureKind::Auth,
                format!("there is no key for the model service; {LOG_IN}"),
            )),
        }
    }

    /// Learns what must not be shown again: the key, or the tokens of the login that is passed on.
    fn learn_secrets(&self) {
        match self.login() {
            Ok(None) => self.secrets.learn(self.options.api_key.iter().map(|key| key.trim().to_owned())),
            Ok(Some(login)) => self.secrets.learn(private_files::tokens(&login.read().unwrap_or_default())),
            Err(_) => {}
        }
    }

    /// Makes the values that agents will be given known, before the first one is started, and looks whose login it is.
    ///
    /// # Errors
    /// When there is a login to pass on that cannot be read.
    pub fn learn(&self) -> Result<(), LoginError> {
        self.learn_secrets();
        if let Ok(Some(login)) = self.login() {
            match login.account() {
                Ok(account) => *self.account.lock() = Some(account),
                // What is not there keeps nothing secret.
                Err(LoginError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Learns again, where whoever needs a login that cannot be read says so by itself.
    fn learn_again(&self) {
        if let Err(e) = self.learn() {
            tracing::debug!(error = %e, "the login that is passed on could not be looked at");
        }
    }

    /// Returns what stands for the login's account, as it was known last.
    fn known_account(&self) -> Option<String> {
        self.account.lock().clone()
    }

    /// Lends the login to a run; returns its mark.
    async fn lend(&self, login: Login, agent: AgentId, config: &Path) -> Result<String, Failure> {
        let (config, lent) = (config.to_owned(), self.mark_of(agent));
        let read = tokio::task::spawn_blocking(move || login.lend(&config, lent.as_deref())).await;
        let read = read
            .map_err(|e| Failure::new(FailureKind::Internal, format!("the login could not be lent: {e}")))?;
        let bytes = read.map_err(|e| Failure::new(FailureKind::Auth, format!("{e}; {LOG_IN}")))?;
        let mark = login::mark(&bytes);
        self.remember(agent, mark.clone());
        // It may be another login than the last time.
        self.learn_again();
        self.secrets.learn(private_files::tokens(&bytes));
        Ok(mark)
    }

    fn mark_of(&self, agent: AgentId) -> Option<String> {
        self.lent.lock().get(&agent).cloned()
    }

    fn remember(&self, agent: AgentId, mark: String) {
        let mut lent = self.lent.lock();
        // Ended agents are not told of here; of very many any may be forgotten: its mark is in its record too.
        if lent.len() >= limits::KNOWN_TOKENS && !lent.contains_key(&agent) {
            lent.clear();
        }
        lent.insert(agent, mark);
    }

    /// The environment on top of the confinement's.
    fn env(&self, request: &LaunchRequest, has_login: bool) -> Vec<(String, String)> {
        let mut env =
            vec![("CLAUDE_CONFIG_DIR".to_owned(), request.sandbox.config_inside.display().to_string())];
        let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
        // No traffic but the model's; no update under a running fleet; our own deadlines instead of long retries.
        set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        set("DISABLE_TELEMETRY", "1");
        set("DISABLE_ERROR_REPORTING", "1");
        set("DISABLE_AUTOUPDATER", "1");
        set("CLAUDE_CODE_MAX_RETRIES", "3");
        // It says when it is idle: a result that another turn follows at once is told from the last one.
        set("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1");
        if rustix::process::getuid().is_root() {
            // Without it the program refuses bypassPermissions as root.
            set("IS_SANDBOX", "1");
        }
        if let Some(upstream) = &self.options.upstream {
            set("ANTHROPIC_BASE_URL", upstream);
        }
        if let (Some(key), false) = (&self.options.api_key, has_login) {
            set("ANTHROPIC_API_KEY", key.trim());
        }
        env
    }

    fn command(&self, program: &Path, request: &LaunchRequest) -> Result<Vec<String>, Failure> {
        let mut command = vec![program.display().to_string()];
        let mut add = |words: &[&str]| command.extend(words.iter().map(|word| (*word).to_owned()));
        add(&["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]);
        // Nobody is there to ask: all is allowed, and what is asked all the same is answered by the dialogue.
        add(&["--permission-mode", "bypassPermissions", "--permission-prompt-tool", "stdio"]);
        // The repository's own settings, hooks and tool servers stay unread.
        add(&["--setting-sources", "user", "--strict-mcp-config", "--tools", TOOLS]);
        let system = request.sandbox.config_inside.join(SYSTEM_FILE);
        add(&["--append-system-prompt-file", &system.display().to_string()]);
        match resumable(request) {
            Some(session) => add(&["--resume", plain("session", session)?]),
            None => add(&["--session-id", plain("session", &request.new_session)?]),
        }
        if let Some(model) = request.model.as_ref().or(self.options.default_model.as_ref()) {
            add(&["--model", plain("model", model)?]);
        }
        if let Some(turns) = request.budget.turns {
            add(&["--max-turns", &turns.to_string()]);
        }
        if let Some(usd) = request.budget.usd {
            add(&["--max-budget-usd", &usd.to_string()]);
        }
        Ok(command)
    }
}

#[async_trait]
impl Runtime for ClaudeRuntime {
    fn name(&self) -> &'static str {
        "claude"
    }

    fn capabilities(&self) -> RuntimeCapabilities {
        RuntimeCapabilities {
            reports_cost: true,
            resumes: true,
            takes_messages: true,
            skills_directory: Some(".claude/skills"),
            instruction_files: &["AGENTS.md", "CLAUDE.md"],
            native_names: &[".claude", "CLAUDE.md", "CLAUDE.local.md", ".mcp.json"],
        }
    }

    fn credential(&self) -> Option<String> {
        let options = &self.options;
        let what = match (self.login().ok()?, &options.api_key) {
            (Some(_), _) => format!("login {}", self.known_account()?),
            (None, Some(key)) => format!("key {}", key.trim()),
            _ => return None,
        };
        let upstream = options.upstream.as_deref().unwrap_or_default();
        Some(format!("claude:{}", &login::mark(format!("{what} {upstream}").as_bytes())[..16]))
    }

    async fn look_at_credential(&self) {
        self.learn_again();
    }

    async fn probe(&self) -> Result<Probe, ProbeError> {
        let program = self.program().map_err(ProbeError::new)?;
        let mut command = tokio::process::Command::new(&program);
        command
            .arg("--version")
            .env_clear()
            .env("PATH", &self.options.path_env)
            .env("DISABLE_AUTOUPDATER", "1");
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = match tokio::time::timeout(limits::PROBE, command.output()).await {
            Err(_) => return Err(ProbeError::new(ProgramError::Silent(program))),
            Ok(Err(cause)) => return Err(ProbeError::new(ProgramError::NotStarted { program, cause })),
            Ok(Ok(output)) => output,
        };
        if !output.status.success() {
            return Err(ProbeError::new(ProgramError::Failed { program, status: output.status }));
        }
        let version = String::from_utf8_lossy(&output.stdout).split_whitespace().next().map(str::to_owned);
        Ok(Probe { program: program.display().to_string(), version })
    }

    async fn plan(&self, request: &LaunchRequest) -> Result<LaunchPlan, Failure> {
        let login = self.login()?;
        let has_login = login.is_some();
        if let Some(login) = &login {
            // Before anything is written: without one there is nothing to start.
            login.read().map_err(|e| Failure::new(FailureKind::Auth, format!("{e}; {LOG_IN}")))?;
        }
        let program = self.program().map_err(|e| Failure::new(FailureKind::ProgramMissing, e.to_string()))?;
        let command = self.command(&program, request)?;
        let config = &request.sandbox.config;
        let files = [
            ("settings.json", b"{}\n".to_vec()),
            (".claude.json", br#"{"hasCompletedOnboarding":true}"#.to_vec()),
            (SYSTEM_FILE, format!("{}{BACKGROUND}", request.system).into_bytes()),
        ];
        let failed = |error: std::io::Error| {
            let message = format!("cannot write into the agent's directory {}: {error}", config.display());
            Failure::new(FailureKind::Internal, message)
        };
        // The agent can write there between runs: a link it planted would lead our bytes, a login among them, anywhere.
        let place = PrivatePlace::open(config).map_err(failed)?;
        for (name, bytes) in files {
            place.replace(name, &bytes).map_err(failed)?;
        }
        let lent = match login {
            Some(login) => Some(self.lend(login, request.agent, config).await?),
            None => None,
        };
        let session = resumable(request).unwrap_or(&request.new_session).to_owned();
        Ok(LaunchPlan {
            command,
            env: self.env(request, has_login),
            stdin: None,
            interrupt: Some(interrupt_line()),
            session: Some(session),
            lent,
        })
    }

    async fn tend(
        &self,
        agent: AgentId,
        config: &Path,
        lent: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let Ok(Some(login)) = self.login() else { return Ok(None) };
        // What this process lent last is newer than the mark in the run's record, which is from its start and all that
        // a later server knows.
        let (place, lent) = (config.to_owned(), self.mark_of(agent).or(lent.map(str::to_owned)));
        let exchanged = tokio::task::spawn_blocking(move || login.exchange(&place, lent.as_deref())).await;
        let failed = |why: String| Failure::new(FailureKind::Internal, why);
        match exchanged.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))? {
            Exchanged::Nothing => Ok(None),
            Exchanged::BroughtBack(BroughtBack { login, theirs }) => {
                self.secrets.learn(private_files::tokens(&login));
                self.remember(agent, login::mark(&theirs));
                Ok(Some(
                    "the program renewed the login that it was lent; the renewed one was brought back"
                        .to_owned(),
                ))
            }
            Exchanged::Lent(login) => {
                self.secrets.learn(private_files::tokens(&login));
                self.remember(agent, login::mark(&login));
                Ok(Some("the login was renewed elsewhere; the program was lent the renewed one".to_owned()))
            }
        }
    }

    fn dialogue(&self, opening: &Opening) -> Box<dyn Dialogue> {
        self.learn_secrets();
        Box::new(ClaudeDialogue::new(opening.prompt.clone(), opening.session.clone(), self.secrets.clone()))
    }
}

/// Returns the session to resume when its record is still there; the program ends with an error over one that is not.
/// It keeps records as `projects/<directory of the tree>/<session>.jsonl`.
fn resumable(request: &LaunchRequest) -> Option<&str> {
    let session = request.resume.as_deref().filter(|session| !session.contains('/'))?;
    let file = format!("{session}.jsonl");
    let mut projects = std::fs::read_dir(request.sandbox.config.join("projects")).ok()?.flatten();
    let kept = |project: std::fs::DirEntry| {
        project.path().join(&file).symlink_metadata().is_ok_and(|found| found.is_file())
    };
    projects.any(kept).then_some(session)
}

/// Refuses a value that the program would read as an option.
fn plain<'a>(what: &str, value: &'a str) -> Result<&'a str, Failure> {
    if value.is_empty() || value.starts_with('-') || value.contains('\0') {
        return Err(Failure::new(
            FailureKind::BadInput,
            format!("{what} {value:?} is not a name the claude program takes"),
        ));
    }
    Ok(value)
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}
