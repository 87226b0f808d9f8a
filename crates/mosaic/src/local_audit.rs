//! Audit entries of actions that this program takes by itself, without a server. They stand in a chain of their own in
//! addition to the server's; the next server takes them over into its own.

use std::path::Path;
use std::time::Duration;

use mosaic_adapters::audit_file::record_locally;
use mosaic_adapters::disk::within;
use mosaic_core::domain::audit::{Action, AuditEntry};
use mosaic_core::domain::ids::Timestamp;

use crate::session::{Session, say};

/// Longest wait for the log: what was done is said afterwards, whatever the disk does.
const RECORDED: Duration = Duration::from_secs(5);

/// Starts an audit entry of the person at this command line, now.
pub(crate) fn local_entry(action: Action) -> AuditEntry {
    let actor = crate::client::user().map_or_else(|| "cli".to_owned(), |name| format!("cli/{name}"));
    AuditEntry::new(action, &actor, Timestamp::from(std::time::SystemTime::now()))
}

/// Records actions in a data directory, after they were done: a stop never waits for it and never fails with it. Says so
/// on standard error when they could not be recorded.
pub(crate) fn record(session: &Session, data_dir: &Path, entries: Vec<AuditEntry>) {
    let node = match crate::config::node(&|name| session.env(name)) {
        Ok(node) => node,
        Err(e) => return say(&format!("warning: what was done could not be recorded in the audit log: {e}")),
    };
    // Nothing is let go here: retention is the server's.
    let data_dir = data_dir.to_owned();
    let recorded = within(RECORDED, move || record_locally(&data_dir, &node, Duration::MAX, entries));
    let why = match recorded {
        Some(Ok(_)) => return,
        Some(Err(e)) => e.to_string(),
        None => format!("the disk did not answer within {} s", RECORDED.as_secs()),
    };
    say(&format!("warning: what was done could not be recorded in the audit log: {why}"));
}
