//! The one place where a git process is made. Every variable and setting that could make git run something, ask
//! somebody or reach elsewhere is fixed here; every child has a deadline, a process group of its own and bounded
//! output, and is killed with its whole group when it is late or nobody waits for it any more.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mosaic_core::domain::repository::{RepositoryUrl, Transport};
use mosaic_core::limits;
use mosaic_core::ports::fleet::Hold;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::time::Instant;

use super::credentials::{CredentialFile, Credentials};
use super::errors::GitError;
use super::errors::{self, Secrets};
use super::hardening::{SETTINGS, VARIABLES};
use super::options::GitOptions;
use super::{bare_repository, lock_holders, private_files, push_watchdog, resolve};
use crate::bounded_file;

/// Longest time that a fuse may take to end what it runs.
const FUSE_BURNS: Duration = Duration::from_secs(5);

/// The standard input of a child process.
pub(super) enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(std::fs::File),
}

/// The result of a child process that has ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Free of secrets, at most [`limits::ERROR_BYTES`], control characters removed.
    pub(crate) stderr: String,
    /// The output was longer than asked for.
    pub(crate) cut: bool,
}

impl Finished {
    pub(super) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Makes a failure of a child that did not succeed. `what` is what was being done.
    pub(super) fn success(self, what: &str) -> Result<Self, GitError> {
        // A child whose output was cut dies of the closed pipe, so that its status says nothing. The caller decides what half
        // an answer is worth.
        if self.status.success() || self.cut {
            return Ok(self);
        }
        Err(errors::local(what, self.status, &self.stderr))
    }
}

/// Makes hardened git calls.
pub(super) struct GitProgram {
    /// Looked up once: a child whose program must be searched in a path of its own cannot be started the cheap way.
    program: PathBuf,
    /// This program.
    self_exe: PathBuf,
    home: PathBuf,
    scratch: PathBuf,
    path: OsString,
    ssh: String,
    env: Vec<(String, String)>,
    credentials: Credentials,
    /// Addresses of this machine may be called.
    allow_local: bool,
    network: Duration,
    local: Duration,
    /// This process, for the environment of its children.
    owner: String,
    turns: Turns,
}

/// One turn for every git directory in use: its children share it, who must be alone with it has it all.
type Turns = Arc<Mutex<HashMap<PathBuf, Arc<RwLock<()>>>>>;

fn turn(turns: &Turns, git_dir: &Path) -> Arc<RwLock<()>> {
    let mut turns = turns.lock();
    // Nobody uses what is only in this map.
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    Arc::clone(turns.entry(git_dir.to_owned()).or_default())
}

impl GitProgram {
    pub(super) fn new(options: &GitOptions) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let program = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|file| file.is_file());
        Self {
            program: program.unwrap_or_else(|| "git".into()),
            self_exe: options.self_exe.clone(),
            home: options.data_dir.join("git/home"),
            scratch: options.data_dir.join("git/credentials"),
            path,
            ssh: options.ssh_program.clone(),
            env: options.network_env.clone(),
            credentials: options.credentials.clone(),
            allow_local: options.allow_local,
            network: options.network_deadline,
            local: options.local_deadline,
            owner: lock_holders::this_process(),
            turns: Turns::default(),
        }
    }

    /// Returns the program and the `PATH` that it runs with, for the harvest inside an agent's confinement.
    pub(super) fn program(&self) -> (PathBuf, String) {
        (self.program.clone(), self.path.to_string_lossy().into_owned())
    }

    /// Returns the path of a file in the directory where calls are run.
    pub(super) fn place_at_home(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Waits until no git of ours works on this git directory and keeps new ones from starting there.
    pub(super) async fn alone(&self, git_dir: &Path) -> OwnedRwLockWriteGuard<()> {
        turn(&self.turns, git_dir).write_owned().await
    }

    /// Makes the directories that calls need, private to this user.
    pub(super) fn prepare(&self) -> std::io::Result<()> {
        for dir in [&self.home, &self.scratch] {
            bounded_file::put_aside_unless_directory(dir)?;
            private_files::private_dir(dir)?;
        }
        Ok(())
    }

    /// A call that stays on this machine and in this git directory.
    pub(super) fn local(&self, git_dir: &Path) -> Call {
        let mut call = self.base(Command::new(&self.program), git_dir, self.local);
        // A promisor pack or a submodule in the repository could otherwise make a local call fetch by itself.
        call.env("GIT_ALLOW_PROTOCOL", "");
        call
    }

    /// A call that talks to this remote and to no other.
    pub(super) fn network(&self, git_dir: &Path, url: &RepositoryUrl) -> Result<Call, GitError> {
        self.outbound(Command::new(&self.program), git_dir, url)
    }

    /// The same for a call that must be dead before the right to make it is over, whatever becomes of this process; see
    /// [`crate::git::push_watchdog`].
    pub(super) fn network_held(
        &self,
        git_dir: &Path,
        url: &RepositoryUrl,
        hold: &Hold,
    ) -> Result<Call, GitError> {
        let Some(until) = hold.until() else { return self.network(git_dir, url) };
        let mut command = Command::new(&self.self_exe);
        command.arg(push_watchdog::FUSE).arg(until.as_millis().to_string()).arg(&self.program);
        let mut call = self.outbound(command, git_dir, url)?;
        // Killing the watchdog first would orphan the git below it, which would push on without anybody who knows the lease.
        // The closed pipe makes the watchdog end both, git first.
        call.command.kill_on_drop(false);
        call.hold = Some(hold.clone());
        Ok(call)
    }

    fn outbound(&self, command: Command, git_dir: &Path, url: &RepositoryUrl) -> Result<Call, GitError> {
        let mut call = self.base(command, git_dir, self.network);
        call.remote = true;
        // A name that resolves to this machine or its link would reach services that trust whatever comes from there. Where
        // the operator allows local repositories there is nothing to protect.
        let host = url.host().filter(|_| !self.allow_local);
        call.outside = host.map(|host| Outside { host: host.to_owned(), port: url.http_port() });
        call.command.envs(self.env.iter().map(|(k, v)| (k, v)));
        match url.transport() {
            Transport::Local => call.env("GIT_ALLOW_PROTOCOL", "file"),
            Transport::Ssh => {
                call.env("GIT_ALLOW_PROTOCOL", "ssh");
                call.env("GIT_SSH_COMMAND", self.credentials.ssh_command(&self.ssh));
                call.env("GIT_SSH_VARIANT", "ssh");
                if let Some(socket) = &self.credentials.ssh_auth_sock {
                    call.env("SSH_AUTH_SOCK", socket);
                }
            }
            Transport::Https | Transport::LoopbackHttp => {
                let https = url.transport() == Transport::Https;
                call.env("GIT_ALLOW_PROTOCOL", if https { "https" } else { "http" });
                if let Some(file) = self.credentials.file_for(url, &self.scratch)? {
                    // A token in the address or an argument would stand in the process table and in git's messages.
                    call.config("credential.helper", &file.helper());
                    call.secrets = file.secrets();
                    call.credential = Some(file);
                } else {
                    for (key, helper) in self.credentials.operator_helpers() {
                        call.config(&key, &helper);
                    }
                }
            }
        }
        Ok(call)
    }

    fn base(&self, mut command: Command, git_dir: &Path, deadline: Duration) -> Call {
        bare_repository::remove_pipes(git_dir);
        // Nothing is kept in it: where it is gone, it is made again. A failure shows when git is started.
        let _ = private_files::private_dir(&self.home);
        // The environment of the server has its secrets and perhaps variables such as GIT_DIR, which are stronger than any
        // setting; the working directory is one in which no repository can be found by searching upwards.
        command.env_clear().current_dir(&self.home).process_group(0).kill_on_drop(true);
        let mut call = Call {
            command,
            deadline,
            hold: None,
            remote: false,
            outside: None,
            credential: None,
            secrets: Secrets::default(),
            configs: 0,
            turn: turn(&self.turns, git_dir),
        };
        call.env("PATH", &self.path);
        call.env("HOME", &self.home);
        call.env("XDG_CONFIG_HOME", &self.home);
        for (name, value) in VARIABLES {
            call.env(name, value);
        }
        call.env("GIT_DIR", git_dir);
        call.env(lock_holders::STORE, git_dir);
        call.env(lock_holders::OWNER, &self.owner);
        for setting in SETTINGS {
            let (key, value) = setting.split_once('=').expect("every setting has an equals sign");
            call.config(key, value);
        }
        call
    }
}

/// The host that must not turn out to be this machine.
struct Outside {
    host: String,
    /// Its port, where git is told the address to call; ssh knows a host by its key instead.
    port: Option<u16>,
}

/// One git call being put together.
pub(super) struct Call {
    command: Command,
    deadline: Duration,
    /// Until when its fuse lets it go on, when it has one.
    hold: Option<Hold>,
    remote: bool,
    outside: Option<Outside>,
    credential: Option<CredentialFile>,
    secrets: Secrets,
    configs: usize,
    turn: Arc<RwLock<()>>,
}

impl Call {
    pub(super) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.command.env(name, value);
    }

    /// Adds a setting by the environment, where it is as strong as `-c` and not seen in the process table.
    pub(super) fn config(&mut self, key: &str, value: &str) {
        self.command.env(format!("GIT_CONFIG_KEY_{}", self.configs), key);
        self.command.env(format!("GIT_CONFIG_VALUE_{}", self.configs), value);
        self.configs += 1;
        self.command.env("GIT_CONFIG_COUNT", self.configs.to_string());
    }

    pub(super) fn work_tree(mut self, tree: &Path, index: Option<&Path>) -> Self {
        self.env("GIT_WORK_TREE", tree);
        self.command.current_dir(tree);
        if let Some(index) = index {
            self.env("GIT_INDEX_FILE", index);
        }
        self
    }

    /// Lets the call see the objects of its bare repository, and of its refs only what the view has.
    pub(super) fn through(mut self, (dir, objects): (&Path, &Path)) -> Self {
        self.env("GIT_DIR", dir);
        self.env("GIT_OBJECT_DIRECTORY", objects);
        self
    }

    /// Gives the call another deadline.
    pub(super) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs to the end and keeps at most `most` bytes of the output.
    pub(super) async fn run(self, input: Input, most: usize) -> Result<Finished, GitError> {
        let (mut finished, (stdout, cut)) = self.stream(input, |out| read_bounded(out, most)).await?;
        finished.stdout = stdout;
        finished.cut = cut;
        Ok(finished)
    }

    /// Runs to the end while `consume` reads the output. When it returns early the child is told by a closed pipe.
    pub(super) async fn stream<T, F>(
        mut self,
        input: Input,
        consume: impl FnOnce(ChildStdout) -> F,
    ) -> Result<(Finished, T), GitError>
    where
        F: Future<Output = std::io::Result<T>>,
    {
        let (stdin, bytes) = match input {
            Input::Nothing => (Stdio::null(), None),
            Input::Bytes(bytes) => (Stdio::piped(), Some(bytes)),
            Input::File(file) => (Stdio::from(file), None),
        };
        let stdin = if self.hold.is_some() { Stdio::piped() } else { stdin };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(Outside { host, port }) = self.outside.take() {
            let addresses = resolve::outside(&host).await?;
            // git would resolve the name a second time, and an attacker's name server may answer that one with an address of
            // this machine. So it is told the address that was checked.
            if let Some(pin) = port.and_then(|port| resolve::pin(&host, port, &addresses)) {
                self.config("http.curloptResolve", &pin);
            }
        }
        // Held until the child has ended; who must be alone has a deadline, so this wait has one too.
        let _turn = Arc::clone(&self.turn).read_owned().await;
        let mut child = self.command.spawn().map_err(GitError::NotStarted)?;
        let fuse = self.hold.clone().zip(child.stdin.take_if(|_| self.hold.is_some()));
        // What is under a fuse is ended by it: by itself, or when the pipe to it closes.
        let mut group = if fuse.is_some() { Group(None) } else { Group::of(&child) };
        let out = child.stdout.take().expect("stdout was piped above");
        let err = child.stderr.take().expect("stderr was piped above");
        let feed = feed(child.stdin.take(), bytes);
        let until = Instant::now() + self.deadline;
        // All three at once: git blocks as soon as one pipe is full, and each of them may fill first.
        let work =
            async { tokio::join!(consume(out), read_bounded_and_drain(err, limits::ERROR_BYTES), feed) };
        // Until the child was seen to end: a fuse whose pipe closes burns.
        let mut put_off = Box::pin(put_off(fuse));
        let ended = tokio::select! {
            ended = tokio::time::timeout_at(until, async { (work.await, child.wait().await) }) => ended,
            never = &mut put_off => match never {},
        };
        drop(put_off);
        let Ok(((read, stderr, ()), status)) = ended else {
            return Err(self.late(child, group).await);
        };
        let status = status.map_err(|e| errors::io("waiting for git", e))?;
        // From here on the number of the group may belong to somebody else.
        group.disarm();
        let stderr = self.secrets.clean(&String::from_utf8_lossy(&stderr));
        let read = read.map_err(|e| errors::io("reading git's output", e))?;
        Ok((Finished { status, stdout: Vec::new(), stderr, cut: false }, read))
    }

    async fn late(&self, mut child: Child, mut group: Group) -> GitError {
        if self.hold.is_some() {
            // Its pipe is closed by now, and it needs a moment to bury what it ran.
            let _ = tokio::time::timeout(FUSE_BURNS, child.wait()).await;
            group = Group::of(&child);
        }
        group.kill();
        // A killed child is gone at once unless the kernel holds it; dropping it then leaves reaping to tokio.
        let _ = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
        group.disarm();
        GitError::Late { is_remote: self.remote, seconds: self.deadline.as_secs_f32() }
    }
}

/// Tells the fuse whenever the hold moves on. Dropping this closes the pipe to it.
async fn put_off(fuse: Option<(Hold, ChildStdin)>) -> Infallible {
    if let Some((mut hold, mut stdin)) = fuse {
        loop {
            hold.moved().await;
            let until = hold.until().map_or(u128::from(u64::MAX), |until| until.as_millis());
            if stdin.write_all(format!("{until}\n").as_bytes()).await.is_err() {
                break;
            }
        }
    }
    std::future::pending().await
}

async fn feed(stdin: Option<ChildStdin>, bytes: Option<Vec<u8>>) {
    if let (Some(mut stdin), Some(bytes)) = (stdin, bytes) {
        // A child that ends without reading everything says why on its own.
        let _ = stdin.write_all(&bytes).await;
        let _ = stdin.shutdown().await;
    }
}

async fn read_bounded(mut from: impl AsyncRead + Unpin, most: usize) -> std::io::Result<(Vec<u8>, bool)> {
    let mut all = Vec::new();
    // One byte more than is kept: only that tells a full answer from a cut one.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    (&mut from).take(limit).read_to_end(&mut all).await?;
    let cut = all.len() > most;
    all.truncate(most);
    Ok((all, cut))
}

async fn read_bounded_and_drain(mut from: impl AsyncRead + Unpin, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0u8; 4096];
    // The rest is read and dropped, because a child that cannot write its messages does not end.
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        let room = most.saturating_sub(all.len()).min(n);
        all.extend_from_slice(&chunk[..room]);
    }
    all
}

/// Kills the child's process group when dropped before the child was seen to end.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn kill(&mut self) {
        if let Some(pid) = self.0 {
            // It fails only when the group is already gone.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
