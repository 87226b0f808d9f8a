//! `mosaic serve`, and the same server inside another command (`local`).

mod access;
mod coordinator;
mod files;
mod history;
mod local;
mod running;
mod signals;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mosaic_core::stop::Stop;
use tokio::sync::watch;

use crate::cli::ServeArgs;
use crate::config::{Auth, Config};
use crate::exit::Exit;
use crate::log_output::say;
use crate::logging;
use crate::problem::Problem;
use crate::wire::Overrides;
pub(crate) use access::control_path;
pub(crate) use coordinator::coordinator;
pub(crate) use files::{ServerFile, private_dir, token};
pub(crate) use history::other_secrets;
pub(crate) use local::{LocalOptions, LocalServer, start_local};
pub(crate) use running::blocking;
use running::{LAST_FILES, Listening, StartError, listen, run, runtime};
use signals::{EndSignals, agents_end_with_us};

/// Serves in the foreground until a signal ends it.
pub(crate) fn serve(config: &Config, args: &ServeArgs) -> ExitCode {
    logging::start(config);
    let began = Instant::now();
    let explicit_port = args.port.is_some() || config.origins.contains_key("ORCHESTRATOR_PORT");
    let served = runtime().map_err(StartError::Other).and_then(|runtime| {
        let served = runtime.block_on(async {
            let signals = EndSignals::take().map_err(StartError::Other)?;
            let ((order, stop), (listens, is_listening)) = (watch::channel(Stop::No), watch::channel(false));
            // A task of its own: the start may keep this thread in a call to a disk.
            let ordered = tokio::spawn(signals.orders(order.clone(), config.drain, is_listening));
            let listening = listen(config, &Overrides::default(), explicit_port).await?;
            listens.send_replace(true);
            banner(config, &listening, began.elapsed());
            if let Some(place) = &listening.wired.set_aside {
                say(&format!(
                    "warning: the store was damaged and begins anew; the old one is in {}\n  work in trees and in the bare repositories is kept: mosaic doctor",
                    place.display()
                ));
            }
            // `order` lives as long as the server: a channel without a sender would mean that nobody can stop it any more.
            let served = tokio::select! {
                ended = run(listening, stop) => ended.map_err(StartError::Other),
                Ok(Err(e)) = ordered => Err(StartError::Other(e)),
            };
            drop(order);
            served
        });
        // Dropping the runtime would wait for its blocking threads, and one of them may hang in a system call to a
        // disk.
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

/// Says where the server is and what it does, on standard error: standard output is for data.
fn banner(config: &Config, listening: &Listening, took: Duration) {
    let Listening { url, sandbox, .. } = listening;
    let slots = if config.slots == 1 {
        "1 agent at once".to_owned()
    } else {
        format!("{} agents at once", config.slots)
    };
    let (nodes, store) = if config.valkey.chosen() {
        (format!("node {}", config.node), config.valkey.message())
    } else {
        ("one node".to_owned(), format!("embedded {}", config.data_dir.display()))
    };
    say(&format!("Mosaic {} · {nodes} · store: {store}\n", env!("CARGO_PKG_VERSION")));
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
    say(&format!("  Agents   {} · {slots} · {sandbox}", config.runtime));
    if agents_end_with_us() {
        say(&format!(
            "  Note     this is the first process of its container: agents end with it, after at most {} s (MOSAIC_DRAIN_MS)",
            config.drain.as_secs()
        ));
    }
    let nodes = if config.valkey.chosen() { "one of a fleet" } else { "single node" };
    say(&format!("  Ready    in {} ms · {nodes} · Ctrl-C stops; agents run on\n", took.as_millis()));
}
