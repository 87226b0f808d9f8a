//! The log: a readable sentence with dotted fields on standard error, as text on a terminal and as JSON lines
//! otherwise. Agents' output never goes here, and the server's own secrets are replaced by their names, whatever error text
//! brought them.

mod queue;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mosaic_adapters::secret_scan::KnownSecrets;
use tracing::level_filters::LevelFilter;

use crate::config::{Config, LogFormat};
use crate::log_output;
use queue::Queue;

/// Longest wait for the last lines of a program.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Starts the log at the configured level. A second call changes nothing.
pub(crate) fn start(config: &Config) {
    start_at(config, config.log.parse().unwrap_or(LevelFilter::INFO));
}

/// Starts the log for a command that shows results itself: only what went wrong.
pub(crate) fn start_quiet(config: &Config) {
    let asked = config.origins.contains_key("MOSAIC_LOG");
    start_at(
        config,
        if asked { config.log.parse().unwrap_or(LevelFilter::WARN) } else { LevelFilter::ERROR },
    );
}

fn start_at(config: &Config, level: LevelFilter) {
    let terminal = std::io::stderr().is_terminal();
    let json = match config.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    log_output::set_json(json);
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(|| Hiding);
    // Fails only when a log was started before, which then goes on.
    let _ = if json { log.json().try_init() } else { log.with_ansi(terminal).try_init() };
}

/// The values that are replaced. The first server of this process says which.
static KNOWN: OnceLock<Arc<KnownSecrets>> = OnceLock::new();

/// Replaces these values in every line from now on.
pub(crate) fn hide(known: &Arc<KnownSecrets>) {
    let _ = KNOWN.set(Arc::clone(known));
}

static LINES: Queue = Queue::new();

/// Says something for people on standard error, in its turn among the lines of the log, and is not held up by it.
pub(crate) fn tell(text: &str) {
    LINES.push(format!("{text}\n").into_bytes());
}

/// Waits until everything that was said is written, as long as standard error works. For the end of the program.
pub(crate) fn finish() {
    LINES.finish(LAST_LINES);
}

/// Standard error without known values. Every event comes in one call.
struct Hiding;

impl Write for Hiding {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Never an error: who is told of one prints it to standard error, and panics where that is what failed.
        LINES.push(hidden(KNOWN.get().map(AsRef::as_ref), bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hidden(known: Option<&KnownSecrets>, bytes: &[u8]) -> Vec<u8> {
    match (known, std::str::from_utf8(bytes)) {
        (Some(known), Ok(text)) => known.mask(text).into_bytes(),
        _ => bytes.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_names_a_secret_and_does_not_show_it() {
        let known = KnownSecrets::default();
        let value = ["canary-", "4f9Tz", "81Qw-x"].concat();
        known.register("MOSAIC_GIT_TOKEN", value.as_bytes()).unwrap();
        let line = format!("{{\"message\":\"remote said: {value}\"}}\n");
        let shown = String::from_utf8(hidden(Some(&known), line.as_bytes())).unwrap();
        assert_eq!(shown, "{\"message\":\"remote said: [MOSAIC_GIT_TOKEN]\"}\n");
        assert_eq!(hidden(None, b"x"), b"x");
    }
}
