//! The HTTP API as types: requests, answers, error codes and the words of closed lists. The server serialises them, clients
//! deserialise them. A client tolerates fields that it does not know, and reads a word that it does not know as `Unknown`.
//!
//! Times are RFC 3339 in UTC, ids are UUIDs, both as text. With the feature `schema` every type has an OpenAPI schema.

mod agents;
mod attention;
mod audit;
mod code;
mod diff;
pub mod events;
mod fleet;
mod gate_history;
mod gates;
mod health;
#[cfg(feature = "schema")]
mod openapi;
mod orders;
mod page;
mod problem;
mod quality;
mod queue;
mod removal;
mod requests;
mod resources;
mod sse;
mod state;
mod transcript;
mod transfer;
mod words;

pub use agents::{
    AgentList, AgentView, Attention, Backoff, Budget, Context, Detail, Failure, Frozen, KeptRef, KeptWork,
    Links, Publication, Restored, Salvaged, Spawned, Spent, StatusView,
};
pub use attention::{AnswerRequest, AttentionAnswered, AttentionList, OpenAttention};
pub use audit::{AuditEntry, AuditHead, AuditPage, AuditVerified, BrokenChain};
pub use code::Code;
pub use diff::{Diff, DiffFile, DiffHunk};
pub use events::{Event, EventData, EventEnvelope, EventReset, EventSnapshot};
pub use fleet::{Breaker, Cordon, LostNode, Node, NodeList, NodeRemoved, NodeRuntime, NodeSlots};
pub use gate_history::{FlakyTest, GateHistory, GateHistoryList, GateOutput, GateOutputEnd, GateRun};
pub use gates::{
    AgentGates, FilteredPath, Finding, GateDefinition, GatePlan, GateReport, GateResult, LineCoverage,
    Quarantined, ReportSpec, SecretFinding, SetupDefinition, TestCounts,
};
pub use health::{Check, Health, Hello, Readiness};
#[cfg(feature = "schema")]
pub use openapi::{Operation, coordinator_document, document};
pub use orders::{
    AgentReceipt, KillAll, KillReceipt, KillSwitch, Killed, LastKillAll, SalvageFate, SwitchEngaged,
    SwitchReleased, Unconfirmed,
};
pub use page::Page;
pub use problem::{FieldError, ProblemBody, ReceivedFieldError, ReceivedProblem};
pub use quality::{BundleNeeded, BundleReceived, CheckAnswer, CheckDetails, CheckRequest, CheckResult};
pub use queue::{Counts, Dispatch, Pause, Queue, QueueEntry, TaskAgents, TaskRemoved};
pub use removal::{Pruned, Removed, Unmerged, UnmergedCommit};
pub use requests::{AllowedSecret, OrderRequest, PruneRequest, RestoreRequest, RetryRequest, SpawnRequest};
pub use resources::{Resources, Sample};
pub use sse::{SseBlock, SseEvent, SseReader};
pub use state::{Admission, Clock, DrainStarted, NodeCount, NodeState, Quota};
pub use transcript::{TranscriptEnd, TranscriptEntry, TranscriptEvent, TranscriptKind, TranscriptPage};
pub use transfer::{
    ArchiveRequest, ArchivedRecords, Arrival, ExportRequest, ImportRequest, Imported, Released,
    TransferEntry, UnfinishedWork,
};
pub use words::{
    AgentType, AttentionAnswer, AttentionKind, BackoffKind, BreakerPart, ChangeKind, EndReason, FailureKind,
    GateFault, GateOutcome, GateProfile, Isolation, LeaseFate, Phase, PublicationState, Recorded,
    SalvageState, StallStage, Status, StopCause, TextEncoding, TreeFate, Verdict, WorkState,
};
