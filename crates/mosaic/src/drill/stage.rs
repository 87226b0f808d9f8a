//! The place of a drill: a directory, a repository and a server of its own, and the processes that carry its mark.
//! However a drill ends, [`Stage`] takes all of it away.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use mosaic_adapters::git::forget_repository;
use mosaic_api::{AgentType, Context, KillAll, Killed, OrderRequest, SpawnRequest, Spawned};

use super::shapes::{SUBCOMMAND, Shape, task};
use crate::client::{ApiAnswer, Client, escape};
use crate::config::{Config, Secret, Trust};
use crate::interrupt::Interrupts;
use crate::locate::ServerLocation;
use crate::problem::Problem;
use crate::sent::Sent;
use crate::serve::{LocalOptions, LocalServer, blocking, private_dir, start_local};
use crate::wire;

/// Longest wait for the agents of a drill to be up, and for anything else that comes by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at the processes during that wait.
const PERIOD: Duration = Duration::from_millis(20);
/// The grace of a drill's kills: its agents ignore every request anyway.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// A drill's place.
pub(super) struct Stage {
    place: PathBuf,
    mark: String,
    server: Option<LocalServer>,
    client: Option<Client>,
}

impl Stage {
    /// Makes the place and starts the server.
    pub(super) fn set(config: &Config, agents: usize, interrupts: &Interrupts) -> anyhow::Result<Self> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
        let mark = format!("mosaic-drill-{:016x}", u64::from_be_bytes(random));
        let place = std::env::temp_dir().join(&mark);
        private_dir(&place)?;
        // From here on whatever was made is deleted again.
        let mut stage = Self { place, mark, server: None, client: None };
        let remote = stage.remote();
        repository(&remote)?;
        let own = std::env::current_exe().context("the path of this program cannot be read")?;
        let mut drill = config.clone();
        drill.data_dir = stage.state();
        drill.runtime = "command".to_owned();
        drill.command = Some(format!("'{}' {SUBCOMMAND} {}", own.display(), stage.mark));
        (drill.slots, drill.kill_grace) = (agents, GRACE);
        drill.coordinator.url = None;
        let options = LocalOptions {
            allowed_repository: Some(remote),
            trust: Trust::Ask,
            trusted: None,
            gate_cache: None,
        };
        let server = start_local(&drill, options)?;
        let stop = server.stopper();
        interrupts.tell(move || {
            stop();
            true
        });
        let token = Some(server.token()).filter(|token| !token.is_empty());
        let token = token.map(|token| Secret::new(token.to_owned()));
        stage.client = Some(Client::new(&ServerLocation {
            url: server.url().to_owned(),
            token,
            explicit: true,
            port: None,
        }));
        stage.server = Some(server);
        Ok(stage)
    }

    fn state(&self) -> PathBuf {
        self.place.join("state")
    }

    fn remote(&self) -> PathBuf {
        self.place.join("remote.git")
    }

    fn client(&self) -> anyhow::Result<&Client> {
        self.client.as_ref().context("the drill's server did not start")
    }

    /// Hands a task to the server and returns the agent's id.
    pub(super) fn spawn(&self, shape: Shape, n: u64) -> anyhow::Result<String> {
        let context = Context {
            repository: self.remote().display().to_string(),
            branch: "main".to_owned(),
            work_items: vec!["drill".to_owned()],
            skills: Vec::new(),
            instructions: None,
        };
        let body = SpawnRequest {
            max_retries: Some(0),
            max_fix_rounds: Some(0),
            timeout_seconds: Some(60),
            ..SpawnRequest::new(task(shape, n), AgentType::Worker, context)
        };
        let answer = self.client()?.post("/agents/spawn", &body).and_then(ApiAnswer::read::<Spawned>);
        Ok(answer.map_err(told)?.agent_id.clone())
    }

    /// Kills one agent and returns the answer.
    pub(super) fn kill(&self, id: &str) -> anyhow::Result<Sent<Killed>> {
        let answer = self.client()?.post(&format!("/agents/{}/kill", escape(id)), &order());
        answer.and_then(ApiAnswer::read).map_err(told)
    }

    /// Throws the switch.
    pub(super) fn kill_all(&self) -> anyhow::Result<Sent<KillAll>> {
        self.client()?.post_stop("/agents/kill-all", &order()).map_err(told)
    }

    /// Waits until the agent's processes are there.
    pub(super) fn await_up(&self, shape: Shape, n: u64, interrupts: &Interrupts) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mark = self.mark_of(shape, n);
        while marked(&mark) < shape.seen {
            ensure!(!interrupts.caught(), "interrupted");
            ensure!(Instant::now() < deadline, "{} did not come up within {PATIENCE:?}", task(shape, n));
            std::thread::sleep(PERIOD);
        }
        Ok(())
    }

    /// Returns the mark of one agent's processes.
    pub(super) fn mark_of(&self, shape: Shape, n: u64) -> String {
        format!("{}-{}", self.mark, task(shape, n))
    }

    /// Returns the mark of all of them.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }
}

fn order() -> OrderRequest {
    OrderRequest { reason: Some("drill".to_owned()) }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Every supervisor of this place ends its job by itself now, whatever the server still does.
        let _ = std::fs::write(self.state().join("STOP"), "");
        drop(self.server.take());
        let left = blocking(wire::stop_left(&self.state()));
        if let Err(e) = left {
            crate::session::say(&format!("warning: what the drill left cannot be stopped: {e:#}"));
        }
        // What stays of an empty place is the system's to clean, as all of its temporary directory.
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// Makes a bare repository with one empty commit.
fn repository(remote: &Path) -> anyhow::Result<()> {
    private_dir(remote)?;
    git(remote, &["init", "--quiet", "--bare", "--initial-branch=main"])?;
    // An empty file that is hashed as a tree is the empty tree of git, so the commit needs no working tree.
    let tree = git(remote, &["hash-object", "-t", "tree", "-w", "/dev/null"])?;
    let commit = git(remote, &["commit-tree", "-m", "An empty tree", tree.trim()])?;
    git(remote, &["update-ref", "refs/heads/main", commit.trim()]).map(drop)
}

fn git(at: &Path, args: &[&str]) -> anyhow::Result<String> {
    let identity = ["-c", "user.name=Mosaic Drill", "-c", "user.email=drill@mosaic.invalid"];
    let mut command = Command::new("git");
    forget_repository(&mut command).current_dir(at).args(identity).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
    let output = command.output().context("git cannot be started; install git 2.38 or newer")?;
    if !output.status.success() {
        bail!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Counts the live processes with an argument that begins like this; they are asked, not our records.
pub(super) fn marked(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_marked = |path: PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|b| *b == 0);
        let program = words.next().unwrap_or_default();
        // The shell on its way to being one of them counts; the helpers of a namespace and the mark alone do not.
        let is_helper = program.ends_with(b"unshare") || words.clone().any(|word| word == b"--init");
        !is_helper && words.any(|word| word.starts_with(mark.as_bytes()) && is_whole(word, mark))
    };
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|entry| is_marked(entry.path()))
        .count()
}

/// Tells `drill-plain-1` from `drill-plain-10`.
fn is_whole(word: &[u8], mark: &str) -> bool {
    !word.get(mark.len()).is_some_and(u8::is_ascii_digit)
}

fn told(problem: Problem) -> anyhow::Error {
    match problem {
        Problem::Other(e) => e,
        other => anyhow::anyhow!("{other}"),
    }
}
