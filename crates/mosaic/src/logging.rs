//! The log: a readable sentence with dotted fields on standard error, as text on a terminal and as JSON lines
//! otherwise. Agents' output never goes here.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use crate::config::{Config, LogFormat};

/// Starts the log at the configured level. A second call changes nothing.
pub(crate) fn start(config: &Config) {
    start_at(config, config.log.parse().unwrap_or(LevelFilter::INFO));
}

/// Starts the log for a command that shows results itself: only what went wrong.
pub(crate) fn start_quiet(config: &Config) {
    let asked = config.origins.contains_key("MOSAIC_LOG");
    start_at(config, if asked { config.log.parse().unwrap_or(LevelFilter::WARN) } else { LevelFilter::ERROR });
}

fn start_at(config: &Config, level: LevelFilter) {
    let terminal = std::io::stderr().is_terminal();
    let json = match config.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    // Fails only when a log was started before, which then goes on.
    let _ = if json { log.json().try_init() } else { log.with_ansi(terminal).try_init() };
}
