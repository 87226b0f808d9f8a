//! State that every verb needs, and the ways to run a script.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::ports::store::StoreError;
use redis::Value;
use tokio::sync::watch;

use super::args::Args;
use super::connection::Link;
use super::keys::{Key, Names};
use super::options::{TimeSource, ValkeyOptions};
use super::records;
use super::scripts::Script;
use super::set_clock::SetClock;

/// State that every verb needs.
pub(super) struct Inner {
    pub(super) link: Arc<Link>,
    pub(super) names: Names,
    pub(super) begin: [String; 2],
    pub(super) options: ValkeyOptions,
    pub(super) newest: watch::Sender<u64>,
    pub(super) set_clock: SetClock,
    /// Where the next look for records to archive goes on.
    pub(super) moved_up_to: AtomicU64,
}

impl Inner {
    pub(super) fn key(&self, key: Key<'_>) -> String {
        self.names.of(key)
    }

    /// Runs a script. What it wrote survives a failover once this has returned.
    pub(super) async fn run(&self, script: &'static Script, args: Args) -> Result<Value, StoreError> {
        if script.is_kept() {
            return self.link.eval_durably(script, &self.begin, args.done()).await;
        }
        self.run_lightly(script, args).await
    }

    /// Runs a script that may be forgotten by a failover, with all that follows.
    pub(super) async fn run_lightly(&self, script: &'static Script, args: Args) -> Result<Value, StoreError> {
        self.link.eval(script, &self.begin, args.done()).await
    }

    /// Returns the arguments with which every script begins that logs.
    pub(super) fn logging(&self) -> Args {
        Args::default().number(self.options.log_entries)
    }

    /// Puts facts behind these arguments.
    pub(super) fn with_facts(&self, args: Args, facts: &[LogRecord]) -> Result<Args, StoreError> {
        let mut args = args.number(facts.len() as u64);
        for fact in facts {
            for part in records::fact_args(fact, &self.options.source)? {
                args = args.long(part);
            }
        }
        Ok(args)
    }

    /// Returns the argument for the time by which a script decides what is due.
    pub(super) fn deciding(&self, caller: Timestamp) -> Args {
        match self.options.time {
            TimeSource::Server => Args::default().text(""),
            TimeSource::Caller => Args::default().number(records::millis(caller)),
        }
    }

    pub(super) fn term_ms(&self) -> u64 {
        u64::try_from(self.options.term.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Tells the waiting callers that facts up to this number can be read.
    pub(super) fn announce(&self, newest: u64) {
        self.newest.send_if_modified(|seen| {
            let grows = newest > *seen;
            *seen = newest.max(*seen);
            grows
        });
    }
}
