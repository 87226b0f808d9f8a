//! `mosaic serve`, and the same server inside another command. Starting and stopping are each one sequence that can
//! be read from top to bottom.

use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mosaic_core::Orchestrator;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::engine::{self, Stop};
use mosaic_core::ports::store::StoreError;
use mosaic_server::{Auth as ServerAuth, ServerOptions};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;

use crate::cli::ServeArgs;
use crate::config::{Auth, Config, Trust};
use crate::exit::Exit;
use crate::logging;
use crate::problem::Problem;
use crate::session::say;
use crate::wire::{self, Wired, Wishes};

/// Ports tried after a busy default one.
const MORE_PORTS: u16 = 20;
/// Longest wait for background deletions at the end.
const DELETIONS: Duration = Duration::from_secs(5);

/// What a running server writes into its data directory, so that the command line finds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerFile {
    /// Where it answers.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Since when.
    pub(crate) started_at: String,
    /// The program's version.
    pub(crate) version: String,
    /// It serves one `mosaic run` and ends with it: it can be asked and told to kill, but takes nothing new.
    #[serde(default)]
    pub(crate) run: bool,
}

impl ServerFile {
    /// Returns where the file is.
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("server.json")
    }

    /// Reads the file, when there is one that can be read.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(data_dir)).ok()?).ok()
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let path = Self::path(data_dir);
        let text = serde_json::to_vec_pretty(self).context("the server file cannot be made")?;
        let next = path.with_extension("json.new");
        std::fs::write(&next, text)
            .and_then(|()| std::fs::rename(&next, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Another server has the data directory.
    #[error("{0}")]
    InUse(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// A server that listens, before its engine runs.
struct Listening {
    wired: Wired,
    listener: TcpListener,
    options: ServerOptions,
    data_dir: PathBuf,
    url: String,
    token: Option<String>,
}

/// Opens the store, wires, binds and announces. `explicit_port` forbids taking another one.
async fn listen(config: &Config, wishes: &Wishes, explicit_port: bool) -> Result<Listening, StartError> {
    let wired = wire::wire(config, wishes).map_err(|e| in_use(config, e))?;
    let listener = bind(config, explicit_port).await?;
    let address = listener.local_addr().context("the listening address cannot be read")?;
    let url = url(address);
    let token = match config.auth {
        Auth::Token => Some(token(&config.data_dir)?),
        Auth::Off => None,
    };
    let started_at = wired.orchestrator.now();
    let options = ServerOptions {
        auth: token.as_deref().map_or(ServerAuth::Off, ServerAuth::token),
        allowed_hosts: config.allowed_hosts.clone(),
        version: env!("CARGO_PKG_VERSION"),
        started_at,
        public_url: None,
    };
    announce(&config.data_dir, &url, started_at)?;
    Ok(Listening { wired, listener, options, data_dir: config.data_dir.clone(), url, token })
}

/// Tells apart that another server has the data directory; then says where that one is.
fn in_use(config: &Config, error: anyhow::Error) -> StartError {
    match (error.downcast::<StoreError>(), ServerFile::read(&config.data_dir)) {
        (Ok(StoreError::InUse(_)), Some(server)) => StartError::InUse(format!(
            "already running: {} (pid {}, since {}); nothing was started",
            server.url, server.pid, server.started_at
        )),
        (Ok(StoreError::InUse(why)), None) => StartError::InUse(why),
        (Ok(e), _) => StartError::Other(anyhow::Error::new(e).context("the store cannot be opened")),
        (Err(e), _) => StartError::Other(e),
    }
}

async fn bind(config: &Config, explicit_port: bool) -> anyhow::Result<TcpListener> {
    let more = if explicit_port || config.port == 0 { 0 } else { MORE_PORTS };
    let last = config.port.saturating_add(more);
    for port in config.port..=last {
        match TcpListener::bind((config.bind, port)).await {
            Ok(listener) => {
                if port != config.port {
                    eprintln!("note  port {} is used by another program; using {port}", config.port);
                }
                return Ok(listener);
            }
            Err(e) if e.kind() == ErrorKind::AddrInUse && port < last => {}
            Err(e) => {
                let text = format!(
                    "cannot listen on {}:{port}; choose another with ORCHESTRATOR_PORT or --port",
                    config.bind
                );
                return Err(anyhow::Error::new(e).context(text));
            }
        }
    }
    unreachable!("the last port returns either way")
}

fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Reads the token of the data directory, made at the first start: 256 random bits, readable by the owner only.
pub(crate) fn token(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join("token");
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => {
            tighten(&path)
                .with_context(|| format!("the token file {} cannot be made private", path.display()))?;
            return Ok(text.trim().to_owned());
        }
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => {
            return Err(
                anyhow::Error::new(e).context(format!("the token file {} cannot be read", path.display()))
            );
        }
    }
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{text}")
    };
    write().with_context(|| format!("the token file {} cannot be written", path.display()))?;
    Ok(text)
}

/// Takes away what others than the owner may do with a file.
fn tighten(path: &Path) -> std::io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    tracing::warn!(file = %path.display(), "others could read the token; if anybody may have, remove the file and start again");
    std::fs::set_permissions(path, Permissions::from_mode(0o600))
}

/// Makes a directory that only its owner may enter, with those above it. One that exists stays as it is.
pub(crate) fn private_dir(path: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("the directory {} cannot be made", path.display()))
}

fn announce(data_dir: &Path, url: &str, at: Timestamp) -> anyhow::Result<()> {
    let file = ServerFile {
        url: url.to_owned(),
        pid: std::process::id(),
        started_at: at.to_rfc3339(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run: false,
    };
    file.write(data_dir)
}

/// The listening side as a task.
type Served = tokio::task::JoinHandle<std::io::Result<()>>;

/// Runs engine and HTTP until told to stop, then ends both in order: nothing new is taken, what runs gets its time
/// or is given back, the API answers until then, deletions are waited for.
async fn run(listening: Listening, stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
    let Listening { wired, listener, options, data_dir, .. } = listening;
    let router = mosaic_server::router(wired.orchestrator.clone(), options);
    let (end_http, http_ends) = oneshot::channel::<()>();
    let mut http = tokio::spawn(mosaic_server::serve(listener, router, async {
        // A dropped sender ends it as well.
        let _ = http_ends.await;
    }));
    let (engine, served) = until_ended(&wired, &mut http, stop).await;
    engine.context("the engine broke")?;
    let _ = end_http.send(());
    let (served, by_itself) = match served {
        Some(served) => (served, true),
        None => (http.await, false),
    };
    served.context("the HTTP server broke")?.context("the HTTP server failed")?;
    anyhow::ensure!(!by_itself, "the HTTP server ended by itself; its agents were given back to the queue");
    if tokio::time::timeout(DELETIONS, wired.idle()).await.is_err() {
        tracing::info!("deletions go on at the next start");
    }
    match std::fs::remove_file(ServerFile::path(&data_dir)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e).context("the server file cannot be removed"),
        _ => Ok(()),
    }
}

/// Waits for the engine's end. When its API ends before it, the engine is stopped: nobody could see or stop what
/// runs. Also returns how the API ended, when it did.
async fn until_ended(
    wired: &Wired,
    http: &mut Served,
    mut stop: watch::Receiver<Stop>,
) -> (Result<(), JoinError>, Option<Result<std::io::Result<()>, JoinError>>) {
    // The engine has a switch of its own, which also turns when nobody could reach it any more.
    let (order, ordered) = watch::channel(*stop.borrow_and_update());
    let engine = async {
        tokio::join!(tokio::spawn(engine::run(wired.orchestrator.clone(), ordered)), wired.sweep()).0
    };
    tokio::pin!(engine);
    let mut served = None;
    loop {
        tokio::select! {
            ended = &mut engine => break (ended, served),
            ended = &mut *http, if served.is_none() => {
                tracing::error!("the HTTP server ended by itself; stopping");
                order.send_replace(Stop::Now);
                served = Some(ended);
            }
            changed = stop.changed() => {
                // Whoever gave orders is gone: nobody could ever end this.
                let next = if changed.is_ok() { *stop.borrow_and_update() } else { Stop::Now };
                if next != Stop::No {
                    wired.orchestrator.refuse_new();
                }
                if served.is_none() {
                    order.send_replace(next);
                }
                if changed.is_err() {
                    break ((&mut engine).await, served);
                }
            }
        }
    }
}

/// Turns the first SIGTERM or SIGINT into a drain and the second into an end at once.
async fn signals(stop: watch::Sender<Stop>, drain: Duration) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut int = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut count = 0;
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        count += 1;
        if count == 1 {
            tracing::info!(
                seconds = drain.as_secs_f64(),
                "stopping: nothing new is taken, running agents get their time; again to stop at once"
            );
            stop.send_replace(Stop::Drain(drain));
        } else {
            stop.send_replace(Stop::Now);
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot start")
}

/// Waits for a short piece of async work from a program without a runtime.
pub(crate) fn blocking<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(work)
}

/// Serves in the foreground until a signal ends it.
pub(crate) fn serve(config: &Config, args: &ServeArgs) -> ExitCode {
    logging::start(config);
    let began = Instant::now();
    let explicit_port = args.port.is_some() || config.origins.contains_key("ORCHESTRATOR_PORT");
    let served = runtime().map_err(StartError::Other).and_then(|runtime| {
        runtime.block_on(async {
            let listening = listen(config, &Wishes::default(), explicit_port).await?;
            banner(config, &listening.url, began.elapsed());
            let (order, stop) = watch::channel(Stop::No);
            tokio::select! {
                ended = run(listening, stop) => ended.map_err(StartError::Other),
                Err(e) = signals(order, config.drain) => Err(StartError::Other(e)),
            }
        })
    });
    let problem = match served {
        Ok(()) => return Exit::Ok.into(),
        Err(StartError::InUse(text)) => Problem::Conflict {
            what: text,
            hint: Some("use it as it is, or stop it with SIGTERM first".to_owned()),
        },
        Err(StartError::Other(e)) => Problem::from(e),
    };
    say(problem.render().trim_end());
    Exit::of_problem(&problem).into()
}

/// Says where the server is and what it does, on standard error: standard output is for data.
fn banner(config: &Config, url: &str, took: Duration) {
    let slots = if config.slots == 1 {
        "1 agent at once".to_owned()
    } else {
        format!("{} agents at once", config.slots)
    };
    say(&format!(
        "Mosaic {} · one node · store: embedded {}\n",
        env!("CARGO_PKG_VERSION"),
        config.data_dir.display()
    ));
    say(&format!("  API      {url}/v1"));
    match config.auth {
        Auth::Token => say(&format!(
            "  Token    {} (the command line reads it by itself)",
            config.data_dir.join("token").display()
        )),
        Auth::Off => {
            say("  Token    OFF: every program on this machine may give orders (ORCHESTRATOR_AUTH=off)")
        }
    }
    say(&format!("  Agents   {} · {slots} · no sandbox: agents run as this user", config.runtime));
    say(&format!("  Ready    in {} ms · single node · Ctrl-C stops\n", took.as_millis()));
}

/// How the server inside another command behaves.
#[derive(Debug, Clone)]
pub(crate) struct LocalOptions {
    /// The one local repository that is allowed.
    pub(crate) allowed_repository: Option<PathBuf>,
    /// Whose gate commands are run; in `Ask` those whose digest was approved.
    pub(crate) trust: Trust,
    /// The file of approved digests, when it is not the data directory's own.
    pub(crate) trusted: Option<PathBuf>,
}

/// A server inside this process. Dropping it gives everything back at once.
pub(crate) struct LocalServer {
    url: String,
    token: String,
    orchestrator: Arc<Orchestrator>,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Starts a server inside this process, on a free port.
pub(crate) fn start_local(config: &Config, options: LocalOptions) -> anyhow::Result<LocalServer> {
    logging::start_quiet(config);
    let wishes = Wishes { allowed_repository: options.allowed_repository, trusted: options.trusted };
    let mut config = config.clone();
    (config.port, config.trust) = (0, Some(options.trust));
    let (order, stop) = watch::channel(Stop::No);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        runtime()?.block_on(async {
            match listen(&config, &wishes, false).await {
                Ok(listening) => {
                    let orchestrator = Arc::clone(&listening.wired.orchestrator);
                    let told = tell.send(Ok((listening.url.clone(), listening.token.clone(), orchestrator)));
                    told.context("the command that wanted the server is gone")?;
                    run(listening, stop).await
                }
                Err(e) => tell.send(Err(e)).context("the command that wanted the server is gone"),
            }
        })
    };
    let thread = std::thread::Builder::new()
        .name("server".to_owned())
        .spawn(body)
        .context("the server's thread cannot start")?;
    let (url, token, orchestrator) = told.recv().context("the server ended before it listened")??;
    Ok(LocalServer { url, token: token.unwrap_or_default(), orchestrator, stop: order, thread: Some(thread) })
}

impl LocalServer {
    /// Returns where it answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the token its API wants; empty when it wants none.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Takes nothing new from now on; what was admitted goes on, its retries included.
    pub(crate) fn refuse_new(&self) {
        self.orchestrator.refuse_new();
    }

    /// Returns a function that ends it from anywhere: what runs is stopped with its work kept.
    pub(crate) fn stopper(&self) -> impl Fn() + Send + 'static {
        let stop = self.stop.clone();
        move || {
            stop.send_replace(Stop::Now);
        }
    }

    /// Ends it: what runs is stopped with its work kept.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(Stop::Now);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(e))) => {
                say(&format!("warning: the server inside this command did not end well: {e:#}"))
            }
            Some(Err(_)) => say("warning: the server inside this command broke"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = token(dir.path()).unwrap();
        let path = dir.path().join("token");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!((first.len(), mode()), (64, 0o600));
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!((token(dir.path()).unwrap(), mode()), (first, 0o600));
    }
}
