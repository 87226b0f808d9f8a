//! The gatekeeper: of this machine, or a coordinator's; and what a coordinator itself needs besides an orchestrator's ports.

use std::path::Path;
use std::sync::Arc;

use mosaic_adapters::bundles_files::FileBundles;
use mosaic_adapters::clock_system::{SystemChance, SystemClock};
use mosaic_adapters::gates_coordinator::{CoordinatorGatekeeper, CoordinatorOptions, probe};
use mosaic_adapters::gates_local::{GateCache, GateOptions, LocalGatekeeper, Toolchain};
use mosaic_core::ports::bundles::Bundles;
use mosaic_core::ports::gatekeeper::{Gatekeeper, GatekeeperHealth};

use crate::config::{Config, Secret};

/// Makes the gatekeeper that the configuration asks for.
pub(super) fn gatekeeper(
    config: &Config,
    options: GateOptions,
    (cache, tools): (Arc<GateCache>, Toolchain),
) -> Arc<dyn Gatekeeper> {
    let (clock, transcripts, scanner) =
        (options.clock.clone(), options.transcripts.clone(), options.scanner.clone());
    let local: Arc<dyn Gatekeeper> = Arc::new(LocalGatekeeper::new(options).with_cache(cache, tools));
    let Some(url) = config.coordinator.url.clone() else { return local };
    if config.coordinator.is_exposed() {
        tracing::warn!(
            coordinator = %url,
            "verdicts come over plain http from another machine: whoever is on that network can change them"
        );
    }
    Arc::new(CoordinatorGatekeeper::new(CoordinatorOptions {
        url,
        token: token(config),
        deadline: config.coordinator.timeout,
        strict_needs_all: !config.allow_incomplete_strict,
        local,
        clock,
        chance: Arc::new(SystemChance),
        transcripts,
        scanner,
    }))
}

fn token(config: &Config) -> Option<String> {
    config.coordinator.token.as_ref().map(|token| Secret::expose(token).to_owned())
}

/// Asks the configured coordinator whether it is there; nothing when gates are judged here.
pub(crate) async fn look(config: &Config) -> Option<GatekeeperHealth> {
    let url = config.coordinator.url.as_ref()?;
    Some(probe(url, token(config), &SystemClock).await)
}

/// Makes the place of the bundles that a coordinator receives.
pub(crate) fn bundles(data: &Path) -> Arc<dyn Bundles> {
    Arc::new(FileBundles::new(data.join("bundles")))
}
