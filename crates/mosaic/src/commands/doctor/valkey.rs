//! Findings of `doctor` about the configured Valkey server.

use super::finding::{Finding, Level, finding, fine};
use crate::config::Config;
use crate::sanitize;

/// Looks at the server; nothing when none was named.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    if !config.valkey.chosen() {
        return Vec::new();
    }
    let left = crate::wire::store::left_behind(config).map(|text| {
        let what = "these tasks are not run";
        finding(
            Level::Warn,
            "Store",
            "D-QUEUE-3",
            sanitize::line(&text),
            what,
            "mosaic queue export --embedded FILE",
        )
    });
    let looked = crate::serve::blocking(crate::wire::store::look(config));
    let mut found: Vec<Finding> = match looked {
        Ok(found) => found.into_iter().map(read).collect(),
        Err(e) => vec![finding(
            Level::Fail,
            "Store",
            "D-VALKEY-1",
            sanitize::line(&e.to_string()),
            "the server does not start",
            "start it, or unset VALKEY_HOST and VALKEY_PORT for the embedded store",
        )],
    };
    found.extend(left);
    found
}

fn read(seen: crate::wire::store::StoreObservation) -> Finding {
    use crate::wire::store::StoreObservation;
    match seen {
        StoreObservation::Fine(text) => fine("Store", text),
        StoreObservation::Remark(text) => {
            finding(Level::Note, "Store", "D-VALKEY-3", text, "what was not seen is not promised", "")
        }
        StoreObservation::Risk { what, consequence, fix, accepted } => {
            let level = if accepted { Level::Warn } else { Level::Fail };
            finding(level, "Store", "D-VALKEY-2", what, consequence, fix)
        }
        StoreObservation::Rights { what, fix } => finding(
            Level::Fail,
            "Store",
            "D-VALKEY-5",
            what,
            "what needs them fails, and work stops there",
            fix,
        ),
        StoreObservation::WrongClock(text) => finding(
            Level::Fail,
            "Store",
            "D-CLOCK-1",
            format!("this machine's clock is {text}"),
            "this node takes no work",
            "timedatectl set-ntp true",
        ),
        StoreObservation::Impossible(text) => {
            finding(Level::Fail, "Store", "D-VALKEY-4", text, "the server does not start", "mosaic config")
        }
    }
}
