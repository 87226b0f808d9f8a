//! One entry of the audit log: an action, its caller, and what came of it.

use std::fmt;

use super::super::ids::Timestamp;
use super::super::outcome::cut;
use crate::limits;

macro_rules! actions {
    ($($name:ident = $word:literal,)*) => {
        /// Kind of an audit entry. The words on disk may be more than these: a newer version may have written them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words in `as_str` say what each one means")]
        pub enum Action {
            $($name,)*
        }

        impl Action {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the word on disk and on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

actions! {
    Kill = "kill",
    KillAll = "kill-all",
    KillswitchEngage = "killswitch-engage",
    KillswitchRelease = "killswitch-release",
    Freeze = "freeze",
    Thaw = "thaw",
    AttentionAnswer = "attention-answer",
    QueuePause = "queue-pause",
    QueueResume = "queue-resume",
    QueueRemove = "queue-remove",
    QueueExport = "queue-export",
    QueueImport = "queue-import",
    Retry = "retry",
    SecretAllow = "secret-allow",
    Restore = "restore",
    Discard = "discard",
    Force = "force",
    Prune = "prune",
    Remove = "rm",
    Retention = "retention",
    TreeRemoved = "tree-removed",
    Trust = "trust",
    Config = "config",
    Token = "token",
    ServerStart = "server-start",
    ServerStop = "server-stop",
    Drain = "drain",
    NodeCordon = "node-cordon",
    NodeUncordon = "node-uncordon",
    NodeDrain = "node-drain",
    NodeRemove = "node-rm",
    NodeLost = "node-lost",
    Recovery = "recovery",
    AuditHealed = "audit-healed",
    AuditBroken = "audit-broken",
    AuditTrimmed = "audit-trimmed",
    AuditLost = "audit-lost",
}

/// Name of the actor when the orchestrator acts by itself.
pub const MOSAIC: &str = "mosaic";

/// An audit entry: who did what to whom, why, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Actor: `operator`, `operator/NAME`, `agent/ID`, `cli/NAME`, `anyone` or [`MOSAIC`].
    pub actor: String,
    /// Action, one of the words of [`Action`].
    pub action: String,
    /// To whom or what: an agent's id, a task, a setting.
    pub subject: Option<String>,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Result of the action.
    pub result: Option<String>,
    /// The request that asked for it.
    pub request: Option<String>,
}

impl AuditEntry {
    /// Makes an audit entry with nothing but actor and action.
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

/// Bounds one text of an audit entry.
fn field(text: &str) -> String {
    cut(text.to_owned(), limits::AUDIT_FIELD_BYTES)
}
