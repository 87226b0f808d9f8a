//! `mosaic coordinator`: its flags over its settings, then the coordinator itself.

use std::process::ExitCode;

use super::server_config::config_under;
use crate::cli::CoordinatorArgs;
use crate::problem::Problem;
use crate::session::Session;

/// Runs the command.
pub(super) fn run(session: &Session, args: &CoordinatorArgs) -> Result<ExitCode, Problem> {
    let flag = |name: &str| match name {
        "MOSAIC_COORDINATOR_PORT" => args.port.map(|n| n.to_string()),
        "MOSAIC_COORDINATOR_BIND" => args.bind.clone(),
        "MOSAIC_COORDINATOR_SLOTS" => args.slots.map(|n| n.to_string()),
        _ => None,
    };
    let config = config_under(session, &flag)?;
    let explicit_port = args.port.is_some() || config.origins.contains_key("MOSAIC_COORDINATOR_PORT");
    Ok(crate::serve::coordinator(&config, explicit_port))
}
