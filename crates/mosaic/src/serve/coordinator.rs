//! `mosaic coordinator`: the gates of this machine for other orchestrators, from the first step of its start to the last of its end.
//! Its state lies below the data directory, so that a server may use the same one.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mosaic_adapters::data_dir::keep_private;
use mosaic_core::coordinator::{Coordinator, CoordinatorSettings};
use mosaic_core::stop::Stop;
use mosaic_server::{ConnectionLimits, ServerOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::access;
use super::files::{ServerFile, announce, private_dir};
use super::running::{LAST_FILES, StartError, bind, in_use, runtime, url};
use super::signals::{EndSignals, harmless_signals};
use crate::config::coordinator::CoordinatorConfig;
use crate::config::valkey::ValkeyConfig;
use crate::config::{Auth, Config};
use crate::exit::Exit;
use crate::log_output::say;
use crate::logging;
use crate::problem::Problem;
use crate::wire::{self, Overrides, Wired};

/// Directory of a coordinator's state below the data directory.
const BELOW: &str = "coordinator";

/// A coordinator that listens.
struct Listening {
    wired: Wired,
    coordinator: Arc<Coordinator>,
    listener: TcpListener,
    options: ServerOptions,
    url: String,
}

/// Judges for others in the foreground until a signal ends it. `explicit_port` forbids taking another one.
pub(crate) fn coordinator(config: &Config, explicit_port: bool) -> ExitCode {
    logging::start(config);
    let own = own_config(config);
    let served = runtime().map_err(StartError::Other).and_then(|runtime| {
        let served = runtime.block_on(serve(&own, explicit_port));
        runtime.shutdown_timeout(LAST_FILES);
        served
    });
    let problem = match served {
        Ok(()) => {
            logging::finish();
            return Exit::Ok.into();
        }
        Err(StartError::InUse(text)) => Problem::Conflict {
            what: text,
            hint: Some("use it as it is, or stop it with SIGTERM first".to_owned()),
        },
        Err(StartError::Other(e)) => Problem::from(e),
    };
    logging::tell(problem.render().trim_end());
    logging::finish();
    Exit::of_problem(&problem).into()
}

/// Returns the configuration of the coordinator's own parts: its place, address and token, a store of its own, and local gates.
fn own_config(config: &Config) -> Config {
    let CoordinatorConfig { port, bind, auth, token, slots, .. } = config.coordinator.clone();
    let mut own = config.clone();
    own.data_dir = config.data_dir.join(BELOW);
    (own.port, own.bind, own.auth, own.token) = (port, bind, auth, token);
    own.slots = slots.unwrap_or(config.slots);
    own.valkey = ValkeyConfig::default();
    // One that judges through another one would only be a detour, and two that name each other a circle.
    own.coordinator.url = None;
    own
}

async fn serve(config: &Config, explicit_port: bool) -> Result<(), StartError> {
    let signals = EndSignals::take().map_err(StartError::Other)?;
    let ((order, stop), (listens, is_listening)) = (watch::channel(Stop::No), watch::channel(false));
    let ordered = tokio::spawn(signals.orders(order.clone(), config.drain, is_listening));
    let listening = listen(config, explicit_port).await?;
    listens.send_replace(true);
    banner(config, &listening.url);
    let served = tokio::select! {
        ended = run(config, listening, stop) => ended.map_err(StartError::Other),
        Ok(Err(e)) = ordered => Err(StartError::Other(e)),
    };
    drop(order);
    served
}

async fn listen(config: &Config, explicit_port: bool) -> Result<Listening, StartError> {
    access::close_memory();
    let _handled = harmless_signals();
    let open_files = access::more_descriptors();
    if config.coordinator.has_short_token() {
        let why = "MOSAIC_COORDINATOR_TOKEN is too short to be the token of a coordinator: give it 16 bytes or more";
        return Err(StartError::Other(anyhow::anyhow!(why)));
    }
    private_dir(&config.data_dir)?;
    for warning in
        keep_private(&config.data_dir, config.node.as_str()).map_err(|e| StartError::Other(e.into()))?
    {
        tracing::warn!("{warning}");
    }
    // Gates that a coordinator left running when it was killed: nobody waits for them any more.
    let left = wire::stop_left(&config.data_dir).await.map_err(|e| in_use(config, e))?;
    if left > 0 {
        tracing::info!(left, "checks of an earlier coordinator were ended");
    }
    let wired = wire::wire(config, &Overrides { open_files, ..Overrides::default() }).await;
    let wired = wired.map_err(|e| in_use(config, e))?;
    wired.orchestrator.ports().sandbox.probe().await.context("gates cannot be run here")?;
    wired.sweep();
    let listener = bind(config, explicit_port, "MOSAIC_COORDINATOR_PORT").await?;
    let address = listener.local_addr().context("the listening address cannot be read")?;
    let url = url(address);
    let tokens = access::Tokens::find(config, None)?;
    for token in tokens.each() {
        wire::known::learn(&wired.known, "token of the coordinator", token.as_bytes());
    }
    logging::hide(&wired.known);
    let settings = CoordinatorSettings {
        slots: config.slots,
        queue: config.coordinator.queue,
        longest: config.coordinator.timeout,
    };
    let bundles = wire::gates::bundles(&config.data_dir);
    let coordinator = Coordinator::new(Arc::clone(&wired.orchestrator), bundles, settings);
    coordinator.clear().await;
    let started_at = wired.orchestrator.now();
    let options = ServerOptions {
        auth: tokens.auth(),
        allowed_hosts: config.allowed_hosts.clone(),
        port: address.port(),
        version: env!("CARGO_PKG_VERSION"),
        started_at,
        public_url: None,
        peer_key: None,
    };
    announce(&config.data_dir, &url, started_at, tokens.first().is_some())?;
    Ok(Listening { wired, coordinator, listener, options, url })
}

fn banner(config: &Config, url: &str) {
    say(&format!("Mosaic {} · coordinator · {}\n", env!("CARGO_PKG_VERSION"), config.data_dir.display()));
    say(&format!("  Checks   {url}/api/quality/check"));
    match config.auth {
        Auth::Token => say(&format!("  Token    {}", config.data_dir.join("token").display())),
        Auth::Off => {
            say("  Token    OFF: every program on this machine may ask (MOSAIC_COORDINATOR_AUTH=off)");
        }
    }
    say(&format!("  At once  {} checks, {} may wait\n", config.slots, config.coordinator.queue));
}

/// Answers until told to stop. Then nothing new is taken, checks that run get their time, the rest is called off and answered, and
/// nothing of it runs on.
async fn run(config: &Config, listening: Listening, mut stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
    let Listening { wired, coordinator, listener, options, .. } = listening;
    let router =
        mosaic_server::coordinator_router(Arc::clone(&coordinator), Arc::clone(&wired.orchestrator), options);
    let most = ConnectionLimits::of(access::descriptors(), config.slots + config.coordinator.queue);
    let (end_http, mut http_ends) = watch::channel(());
    let ended = async move { drop(http_ends.changed().await) };
    let mut http = tokio::spawn(mosaic_server::serve(listener, router, most, ended));
    let by_itself = tokio::select! {
        served = &mut http => Some(served),
        () = coordinator.tend() => None,
        _ = stop.wait_for(|order| *order != Stop::No) => None,
    };
    coordinator.refuse_new();
    if by_itself.is_none() {
        drain(config.drain, &coordinator, &mut stop).await;
    }
    coordinator.end().await;
    drop(end_http);
    let is_fault = by_itself.is_some();
    let served = match by_itself {
        Some(served) => served,
        None => http.await,
    };
    served.context("the HTTP server broke")?.context("the HTTP server failed")?;
    anyhow::ensure!(!is_fault, "the HTTP server ended by itself");
    wired.idle().await;
    forget(&config.data_dir)
}

/// Waits for what runs, up to its time or a second order.
async fn drain(most: Duration, coordinator: &Coordinator, stop: &mut watch::Receiver<Stop>) {
    tokio::select! {
        () = coordinator.idle() => {}
        () = tokio::time::sleep(most) => {}
        _ = stop.changed() => {}
    }
}

fn forget(data_dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(ServerFile::path(data_dir)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).context("the server file cannot be removed")
        }
        _ => Ok(()),
    }
}
