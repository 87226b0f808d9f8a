//! A place for one real run: a repository, private directories, and the loop that the engine has between a process
//! and its dialogue.

use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Stdio};
use std::time::{Duration, Instant};

use mosaic_adapters::agent_claude::{ClaudeOptions, ClaudeRuntime};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::Outcome;
use mosaic_core::domain::spec::{AgentType, Budget};
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{AgentEvent, LaunchRequest, Opening, Runtime};
use mosaic_core::ports::sandbox::SandboxHandle;
use mosaic_testkit::fakes::sandbox::handle;
use mosaic_testkit::model_server::ModelServer;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// The key, which must be seen nowhere but in the request's own header.
pub(crate) const KEY: &str = "sk-test-canary-0123456789";
const DEADLINE: Duration = Duration::from_secs(60);

/// A place with a repository, private directories and a runtime that talks to a scripted model.
pub(crate) struct RealTestbed {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: ClaudeRuntime,
}

/// The result of one run.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) events: Vec<AgentEvent>,
    pub(crate) session: Option<String>,
    pub(crate) took: Duration,
    pub(crate) argv: Vec<String>,
}

pub(crate) fn claude() -> Option<PathBuf> {
    let path = std::env::var_os("MOSAIC_TEST_CLAUDE_BIN").map(PathBuf::from).filter(|path| path.is_file());
    let how = "set MOSAIC_TEST_CLAUDE_BIN to the claude program of @anthropic-ai/claude-code";
    mosaic_testkit::require::have("claude", path.is_some(), how).then_some(path).flatten()
}

pub(crate) fn git(tree: &Path, args: &[&str]) -> String {
    let output =
        StdCommand::new("git").args(args).current_dir(tree).env("HOME", tree).output().expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl RealTestbed {
    pub(crate) fn new(program: PathBuf, server: &ModelServer) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = dir.path().join("tree");
        for sub in ["tree", "home", "config", "tmp"] {
            std::fs::create_dir(dir.path().join(sub)).expect("made");
        }
        git(&tree, &["init", "-q", "-b", "main"]);
        git(&tree, &["config", "user.name", "Agent"]);
        git(&tree, &["config", "user.email", "agent@example.invalid"]);
        git(&tree, &["commit", "-q", "--allow-empty", "-m", "start"]);
        let runtime = ClaudeRuntime::new(ClaudeOptions {
            program: Some(program),
            path_env: std::env::var("PATH").unwrap_or_default(),
            api_key: Some(KEY.into()),
            upstream: Some(server.url()),
            ..ClaudeOptions::default()
        });
        Self { dir, runtime }
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    pub(crate) fn request(&self, prompt: &str, resume: Option<String>) -> LaunchRequest {
        let at = |sub: &str| self.dir.path().join(sub);
        let env = [
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "dumb".into()),
        ];
        let mut env: Vec<_> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        env.push(("HOME".into(), at("home").display().to_string()));
        env.push(("TMPDIR".into(), at("tmp").display().to_string()));
        LaunchRequest {
            agent: AgentId(uuid::Uuid::new_v4()),
            task: "T-1".parse().expect("valid"),
            agent_type: AgentType::Worker,
            prompt: prompt.into(),
            system: "Canary rule: the word is heliotrope.".into(),
            tree: self.tree(),
            sandbox: SandboxHandle { env, ..handle(at("home"), at("config")) },
            model: None,
            budget: Budget::default(),
            resume,
            new_session: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// Runs a prompt to its end, as the engine does: lines to the dialogue, replies back, end by deadline.
    pub(crate) async fn run(&self, prompt: &str, resume: Option<String>) -> Ran {
        let request = self.request(prompt, resume);
        self.drive(&request, |_| false).await
    }

    /// Runs a request to its end; interrupts it once an event matches.
    pub(crate) async fn drive(
        &self,
        request: &LaunchRequest,
        interrupt_at: impl Fn(&AgentEvent) -> bool,
    ) -> Ran {
        let turn = self.turn(request, interrupt_at);
        tokio::time::timeout(DEADLINE, turn).await.expect("the run ends before its deadline")
    }

    async fn turn(&self, request: &LaunchRequest, interrupt_at: impl Fn(&AgentEvent) -> bool) -> Ran {
        let begin = Instant::now();
        let plan = self.runtime.plan(request).await.expect("a plan");
        let mut dialogue = self.runtime.dialogue(&Opening {
            prompt: request.prompt.clone(),
            session: plan.session.clone(),
            lent: None,
        });
        let mut child = tokio::process::Command::new(&plan.command[0])
            .args(&plan.command[1..])
            .env_clear()
            .envs(request.sandbox.env.iter().chain(&plan.env).map(|(name, value)| (name, value)))
            .current_dir(&request.tree)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("claude starts");
        let mut stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let errors = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.map(|_| text).unwrap_or_default()
        });
        let mut events = Vec::new();
        let mut to_write = dialogue.start();
        let mut line = Vec::new();
        loop {
            for text in to_write.drain(..) {
                stdin
                    .as_mut()
                    .expect("open while there are replies")
                    .write_all(text.as_bytes())
                    .await
                    .expect("written");
            }
            line.clear();
            if stdout.read_until(b'\n', &mut line).await.expect("readable") == 0 {
                break;
            }
            let reaction = dialogue.line(line.strip_suffix(b"\n").unwrap_or(&line));
            to_write = reaction.replies;
            if reaction.events.iter().any(&interrupt_at) {
                to_write.extend(dialogue.interrupt());
            }
            events.extend(reaction.events);
            if reaction.turn_over {
                stdin = None;
            }
            if reaction.give_up {
                child.start_kill().expect("it still runs");
            }
        }
        let status = child.wait().await.expect("waited");
        let exit = Exit {
            code: status.code(),
            signal: std::os::unix::process::ExitStatusExt::signal(&status),
            stderr_tail: errors.await.expect("joined"),
            ..Exit::default()
        };
        let outcome = dialogue.outcome(&exit);
        Ran { outcome, events, session: dialogue.session(), took: begin.elapsed(), argv: plan.command }
    }
}
