//! The server inside another command: the same sequence on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use mosaic_core::Orchestrator;
use mosaic_core::stop::Stop;
use tokio::sync::watch;

use super::running::{listen, run, runtime};
use crate::config::valkey::ValkeyConfig;
use crate::config::{Config, Trust};
use crate::logging;
use crate::session::say;
use crate::wire::Overrides;

/// Options of a server inside another command.
#[derive(Debug, Clone)]
pub(crate) struct LocalOptions {
    /// The one local repository that is allowed.
    pub(crate) allowed_repository: Option<PathBuf>,
    /// Whose gate commands are run; in `Ask` those whose digest was approved.
    pub(crate) trust: Trust,
    /// The file of approved digests, when it is not the data directory's own.
    pub(crate) trusted: Option<PathBuf>,
    /// The directory of setups and verdicts, when it is not the data directory's own.
    pub(crate) gate_cache: Option<PathBuf>,
}

/// A server inside this process. Dropping it releases everything at once.
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
    let LocalOptions { allowed_repository, trust, trusted, gate_cache } = options;
    let overrides = Overrides { allowed_repository, trusted, gate_cache, open_files: None };
    let mut config = config.clone();
    // The configured port may be the one of a server that runs beside this command.
    (config.port, config.trust) = (0, Some(trust));
    // Its own store, whatever is named: what it runs is on this machine, and nobody else may take it.
    config.valkey = ValkeyConfig::default();
    let (order, stop) = watch::channel(Stop::No);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let body = move || {
        runtime()?.block_on(async {
            match listen(&config, &overrides, false).await {
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
    // The sender is dropped with the thread, so a server that panics before it listens ends this wait as well.
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
