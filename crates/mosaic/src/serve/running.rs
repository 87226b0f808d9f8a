//! A server from the first step of its start to the last of its end; each is one sequence that can be read from top to bottom.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use mosaic_adapters::data_dir::keep_private;
use mosaic_core::domain::access::AgentAccess;
use mosaic_core::domain::audit::Action;
use mosaic_core::engine;
use mosaic_core::fleet::membership::About;
use mosaic_core::ports::fleet::JoinError as FleetError;
use mosaic_core::ports::store::StoreError;
use mosaic_core::stop::Stop;
use mosaic_server::{ConnectionLimits, PeerKey, ServerOptions};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinError;

use super::access;
use super::access::control_path;
use super::files::{ServerFile, announce, instance, place_of_instance};
use super::history;
use super::signals::harmless_signals;
use crate::config::Config;
use crate::log_output::say;
use crate::logging;
use crate::wire::{self, Overrides, Wired};

/// Ports tried after a busy default one.
const MORE_PORTS: u16 = 20;
/// Longest wait for background deletions at the end.
const DELETIONS: Duration = Duration::from_secs(5);
/// Longest wait of a drain that an operator ordered: in practice, until everything that runs has ended.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

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
pub(super) struct Listening {
    pub(super) wired: Wired,
    pub(super) listener: TcpListener,
    /// None when it cannot be made here; the port is all there is then.
    pub(super) control: Option<UnixListener>,
    pub(super) options: ServerOptions,
    pub(super) data_dir: PathBuf,
    pub(super) url: String,
    pub(super) token: Option<String>,
    /// Line for people on what stands between agents and this machine.
    pub(super) sandbox: String,
}

/// Opens the store, wires, binds and announces. `explicit_port` forbids taking another one.
pub(super) async fn listen(
    config: &Config,
    overrides: &Overrides,
    explicit_port: bool,
) -> Result<Listening, StartError> {
    // Before any secret is read: agents of an earlier server may be running already, as the same user.
    access::close_memory();
    // A file that reaches a size limit is an error of that write, not the end of the server or of `run`.
    let _handled = harmless_signals();
    let open_files = access::more_descriptors();
    for warning in
        keep_private(&config.data_dir, config.node.as_str()).map_err(|e| StartError::Other(e.into()))?
    {
        tracing::warn!("{warning}");
    }
    let overrides = &Overrides { open_files, ..overrides.clone() };
    let wired = wire::wire(config, overrides).await.map_err(|e| in_use(config, e))?;
    // A sandbox that cannot be used is the operator's to mend: without it no agent may run.
    let sandbox =
        wired.orchestrator.ports().sandbox.probe().await.context("agents cannot be run here")?.summary;
    let listener = bind(config, explicit_port, "ORCHESTRATOR_PORT").await?;
    // Before anything is recorded: records carry the store's time where it is shared.
    if let Err(e) = wired.orchestrator.clocks().measure().await {
        tracing::warn!(error = %e, "the store's time is not known yet; asking again");
    }
    let address = listener.local_addr().context("the listening address cannot be read")?;
    let url = url(address);
    let peer_key = wired.orchestrator.ports().fleet.peer_secret().await;
    let peer_key = peer_key.context("the key that nodes show each other cannot be read from the store")?;
    let tokens = access::Tokens::find(config, peer_key.as_deref())?;
    let token = tokens.first().map(str::to_owned);
    let secret = access::agent_secret(&config.data_dir)?;
    wire::known::learn(&wired.known, "agent-secret", secret.expose());
    for token in tokens.each() {
        wire::known::learn(&wired.known, "API token", token.as_bytes());
    }
    logging::hide(&wired.known);
    let recorded = history::started(&wired.orchestrator, config, token.as_deref(), &secret).await;
    recorded.context("the start cannot be recorded in the audit log")?;
    wired.orchestrator.grant_access(AgentAccess { url: url.clone(), secret });
    join(&wired, config, &url).await?;
    let control = match access::control(&config.data_dir) {
        Ok(control) => Some(control),
        Err(e) => {
            tracing::warn!(error = %e, "there is no control socket; orders to stop come over the port only");
            None
        }
    };
    let started_at = wired.orchestrator.now();
    if let Some(key) = &peer_key {
        wire::known::learn(&wired.known, "key of the nodes", key.as_bytes());
    }
    let options = ServerOptions {
        auth: tokens.auth(),
        allowed_hosts: config.allowed_hosts.clone(),
        port: address.port(),
        version: env!("CARGO_PKG_VERSION"),
        started_at,
        public_url: None,
        peer_key: peer_key.map(PeerKey::new),
    };
    // Last, because commands call this address from now on. The backlog of the listener keeps their connections until
    // `run` takes them.
    announce(&config.data_dir, &url, started_at, token.is_some())?;
    let data_dir = config.data_dir.clone();
    Ok(Listening { wired, listener, control, options, data_dir, url, token, sandbox })
}

/// Makes this server one of its fleet, before it takes or answers anything. While the store does not answer the engine
/// goes on trying; a name that is taken is for the operator.
async fn join(wired: &Wired, config: &Config, url: &str) -> anyhow::Result<()> {
    let o = &wired.orchestrator;
    let instance = if o.is_fleet() { instance(&config.data_dir)? } else { String::new() };
    let directory = place_of_instance(&config.data_dir);
    let boot = Some(mosaic_adapters::process::boot_id()).filter(|boot| !boot.is_empty());
    // Others cannot reach what only this machine can, unless the operator says how.
    let reached = !config.bind.is_loopback() && !config.bind.is_unspecified();
    let url = config.node_url.clone().or_else(|| reached.then(|| url.to_owned()));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let labels = config.node_labels.clone();
    o.introduce(About { instance, directory, boot, url, version, labels });
    match o.join().await {
        Ok(()) => Ok(()),
        Err(
            e @ (FleetError::NameTaken { .. }
            | FleetError::StoreNewer { .. }
            | FleetError::OthersOlder { .. }),
        ) => Err(e).context("this node cannot join the fleet"),
        Err(e) => {
            tracing::warn!(error = %e, "the fleet cannot be joined yet; nothing is taken until it can");
            Ok(())
        }
    }
}

/// Tells apart that another server has the data directory; then says where that one is.
pub(super) fn in_use(config: &Config, error: anyhow::Error) -> StartError {
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

/// Binds the configured address; `setting` names the port's setting in messages.
pub(super) async fn bind(config: &Config, explicit_port: bool, setting: &str) -> anyhow::Result<TcpListener> {
    let more = if explicit_port || config.port == 0 { 0 } else { MORE_PORTS };
    let last = config.port.saturating_add(more);
    for port in config.port..=last {
        match TcpListener::bind((config.bind, port)).await {
            Ok(listener) => {
                if port != config.port {
                    say(&format!("note  port {} is used by another program; using {port}", config.port));
                }
                return Ok(listener);
            }
            // Only a busy port is worth a try of the next one. Missing rights or a foreign address fail alike on every
            // port.
            Err(e) if e.kind() == ErrorKind::AddrInUse && port < last => {}
            Err(e) => {
                let text = format!(
                    "cannot listen on {}:{port}; choose another with {setting} or --port",
                    config.bind
                );
                return Err(anyhow::Error::new(e).context(text));
            }
        }
    }
    unreachable!("the last port returns either way")
}

/// Returns the address under which this machine reaches a listener.
pub(super) fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// The listening side as a task.
type Served = tokio::task::JoinHandle<std::io::Result<()>>;

/// Runs engine and HTTP until told to stop, then ends both in order: nothing new is taken, what runs gets its time
/// or is released, the API answers until then, deletions are waited for.
pub(super) async fn run(listening: Listening, stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
    let Listening { wired, listener, control, options, data_dir, .. } = listening;
    // Before anybody is answered: an engaged kill switch must refuse the first spawn, too.
    wired.orchestrator.know_orders().await;
    let router = mosaic_server::router(wired.orchestrator.clone(), options);
    let most = ConnectionLimits::of(access::descriptors(), wired.orchestrator.settings().slots);
    let (end_http, http_ends) = watch::channel(());
    // A dropped sender ends it as well.
    let ended = |mut ends: watch::Receiver<()>| async move { drop(ends.changed().await) };
    let stops = control.map(|control| {
        tokio::spawn(mosaic_server::serve_control(control, router.clone(), most, ended(http_ends.clone())))
    });
    let mut http = tokio::spawn(mosaic_server::serve(listener, router, most, ended(http_ends)));
    let (engine, served) = until_ended(&wired, &mut http, stop).await;
    engine.context("the engine broke")?;
    let left = wired.orchestrator.left().await;
    if left > 0 {
        logging::tell(&format!(
            "{left} agents run on under their supervisors; the next server takes them over: mosaic serve. To stop them: mosaic kill-all"
        ));
    }
    drop(end_http);
    if let Some(stops) = stops {
        stops.await.context("the control socket broke")?.context("the control socket failed")?;
    }
    let (served, by_itself) = match served {
        Some(served) => (served, true),
        None => (http.await, false),
    };
    served.context("the HTTP server broke")?.context("the HTTP server failed")?;
    anyhow::ensure!(!by_itself, "the HTTP server ended by itself; its agents were returned to the queue");
    if tokio::time::timeout(DELETIONS, wired.idle()).await.is_err() {
        tracing::info!("deletions go on at the next start");
    }
    let o = &wired.orchestrator;
    if let Err(e) = o.audit(o.system_entry(Action::ServerStop).subject(&o.settings().node)).await {
        tracing::error!(error = %e, "the stop could not be recorded in the audit log");
    }
    let removed = mosaic_adapters::disk::run(move || {
        // Whoever finds none there takes the port; one that nobody answers on is only slower.
        let _ = std::fs::remove_file(control_path(&data_dir));
        std::fs::remove_file(ServerFile::path(&data_dir))
    });
    match removed.await.and_then(|removed| removed) {
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
    wired.sweep();
    let mut engine = tokio::spawn(engine::run(wired.orchestrator.clone(), ordered));
    let (mut served, mut draining) = (None, false);
    loop {
        tokio::select! {
            ended = &mut engine => break (ended, served),
            // A join handle that has given its result must not be polled again: that panics.
            ended = &mut *http, if served.is_none() => {
                tracing::error!("the HTTP server ended by itself; stopping");
                order.send_replace(Stop::Now);
                served = Some(ended);
            }
            () = wired.orchestrator.drain_asked(), if !draining => {
                draining = true;
                // A drain that an operator asks for must not weaken a stop that a signal ordered before.
                if *order.borrow() == Stop::No {
                    order.send_replace(Stop::Drain(LONGEST_DRAIN));
                }
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
                    // A closed channel is ready at once each time, so another round of this loop would spin.
                    break ((&mut engine).await, served);
                }
            }
        }
    }
}

/// Longest wait for file work that is under way when the program ends: a disk may never answer.
pub(super) const LAST_FILES: Duration = Duration::from_secs(2);

/// Makes the async runtime.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot start")
}

/// Waits for a short piece of async work from a program without a runtime.
pub(crate) fn blocking<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // A disk that hangs keeps its thread, and what was found out about a kill must be said all the same.
    runtime.shutdown_timeout(LAST_FILES);
    done
}
