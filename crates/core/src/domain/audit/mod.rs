//! The audit log as values: what was done by whom, and a chain of records in which every one carries the hash of the
//! one before it, so that no single edit goes unseen. Reading and writing files is the adapter's.

mod chain;

use std::fmt;

use super::ids::Timestamp;
use super::outcome::cut;
use crate::limits;

pub use chain::{Broken, Hash, Head, HeadFile, Record, Walk, verify};

/// What kind of deed it was. The words on disk may be more than these: a newer version may have written them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words in `as_str` say what each one means")]
pub enum Action {
    Kill,
    KillAll,
    KillswitchEngage,
    KillswitchRelease,
    Freeze,
    Thaw,
    QueuePause,
    QueueResume,
    QueueRemove,
    QueueExport,
    QueueImport,
    Retry,
    SecretAllow,
    Restore,
    Discard,
    Force,
    Prune,
    Remove,
    Retention,
    TreeRemoved,
    Trust,
    Config,
    Token,
    ServerStart,
    ServerStop,
    Drain,
    NodeCordon,
    NodeUncordon,
    NodeDrain,
    Recovery,
    AuditHealed,
    AuditBroken,
    AuditTrimmed,
    AuditLost,
}

impl Action {
    /// Returns the word on disk and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretAllow => "secret-allow",
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::KillswitchEngage => "killswitch-engage",
            Self::KillswitchRelease => "killswitch-release",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::QueuePause => "queue-pause",
            Self::QueueResume => "queue-resume",
            Self::QueueRemove => "queue-remove",
            Self::QueueExport => "queue-export",
            Self::QueueImport => "queue-import",
            Self::Retry => "retry",
            Self::Restore => "restore",
            Self::Discard => "discard",
            Self::Force => "force",
            Self::Prune => "prune",
            Self::Remove => "rm",
            Self::Retention => "retention",
            Self::TreeRemoved => "tree-removed",
            Self::Trust => "trust",
            Self::Config => "config",
            Self::Token => "token",
            Self::ServerStart => "server-start",
            Self::ServerStop => "server-stop",
            Self::Drain => "drain",
            Self::NodeCordon => "node-cordon",
            Self::NodeUncordon => "node-uncordon",
            Self::NodeDrain => "node-drain",
            Self::Recovery => "recovery",
            Self::AuditHealed => "audit-healed",
            Self::AuditBroken => "audit-broken",
            Self::AuditTrimmed => "audit-trimmed",
            Self::AuditLost => "audit-lost",
        }
    }
}

/// Who acts when the orchestrator does so by itself.
pub const MOSAIC: &str = "mosaic";

/// One deed: who did what to whom, why, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// Who: `operator`, `operator/NAME`, `agent/ID`, `cli/NAME`, `anyone` or [`MOSAIC`].
    pub actor: String,
    /// What, one of the words of [`Action`].
    pub action: String,
    /// To whom or what: an agent's id, a task, a setting.
    pub subject: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// What came of it.
    pub result: Option<String>,
    /// The request that asked for it.
    pub request: Option<String>,
}

impl Deed {
    /// Makes a deed with nothing but actor and action.
    pub fn new(action: Action, actor: &str, at: Timestamp) -> Self {
        let (actor, action) = (field(actor), action.as_str().to_owned());
        Self { at, actor, action, subject: None, reason: None, result: None, request: None }
    }

    /// Says to whom or what it was done.
    pub fn subject(mut self, text: impl fmt::Display) -> Self {
        self.subject = Some(field(&text.to_string()));
        self
    }

    /// Says why, when a reason was given.
    pub fn reason(mut self, text: Option<&str>) -> Self {
        self.reason = text.map(field);
        self
    }

    /// Says what came of it.
    pub fn result(mut self, text: impl fmt::Display) -> Self {
        self.result = Some(field(&text.to_string()));
        self
    }

    /// Names the request that asked for it.
    pub fn request(mut self, id: &str) -> Self {
        self.request = Some(field(id));
        self
    }
}

/// Bounds one text of a deed.
fn field(text: &str) -> String {
    cut(text.to_owned(), limits::AUDIT_FIELD_BYTES)
}
