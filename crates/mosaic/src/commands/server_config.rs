//! The whole configuration, for the commands that start a server.

use std::ffi::OsString;

use crate::cli::ServeArgs;
use crate::config::{Config, unknown_names};
use crate::problem::Problem;
use crate::session::{Session, say};

/// Reads the whole configuration: flags over variables. Warns about variables that
/// nothing reads.
pub(super) fn server_config(session: &Session, flags: &ServeArgs) -> Result<Config, Problem> {
    config_under(session, &|name| match name {
        "ORCHESTRATOR_PORT" => flags.port.map(|n| n.to_string()),
        "MOSAIC_BIND" => flags.bind.clone(),
        "MOSAIC_SLOTS" => flags.slots.map(|n| n.to_string()),
        _ => None,
    })
}

/// Reads the whole configuration under the flags of a command, which are found by the name of their variable.
pub(super) fn config_under(
    session: &Session,
    flag: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problem> {
    let config = Config::from_env(&|name| overlay(session, flag, name))?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for warning in unknown_names(names).into_iter().chain(config.unread_warnings()) {
        say(&format!("warning: {warning}"));
    }
    Ok(config)
}

/// Looks up a variable under flags.
fn overlay(session: &Session, flag: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<OsString> {
    match flag(name.strip_suffix("_FILE").unwrap_or(name)) {
        // A flag stands over the variable's file too.
        Some(_) if name.ends_with("_FILE") => None,
        Some(value) => Some(value.into()),
        None => session.env(name),
    }
}
