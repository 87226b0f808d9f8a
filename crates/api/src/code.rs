//! Codes of error answers.

/// Code of an error answer: the closed list of words that a client can switch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table in `row` says what each one means")]
pub enum Code {
    InvalidJson,
    ValidationFailed,
    CursorMismatch,
    Unauthenticated,
    Forbidden,
    OriginNotAllowed,
    PolicyDenied,
    AgentNotFound,
    TaskNotFound,
    NodeNotFound,
    NodeActive,
    LogNotFound,
    AttentionNotFound,
    NothingToRestore,
    RouteNotFound,
    MethodNotAllowed,
    NotAcceptable,
    RequestTimeout,
    TaskActive,
    AgentActive,
    SalvagePending,
    UnmergedWork,
    DispatchStopped,
    AttentionClosed,
    Conflict,
    AgentPruned,
    PayloadTooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    HostNotAllowed,
    IdempotencyMismatch,
    Unsatisfiable,
    RepositoryUnreachable,
    BranchNotFound,
    QueueFull,
    StoreUnavailable,
    StoreNotSafe,
    ShuttingDown,
    DiskLow,
    Busy,
    AuditUnavailable,
    GitFailed,
    NodeUnreachable,
    RecordDamaged,
    Internal,
    BundleNeeded,
    ChecksFull,
    CheckUnavailable,
    CheckFailed,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 49] = [
        Self::InvalidJson,
        Self::ValidationFailed,
        Self::CursorMismatch,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::OriginNotAllowed,
        Self::PolicyDenied,
        Self::AgentNotFound,
        Self::TaskNotFound,
        Self::NodeNotFound,
        Self::NodeActive,
        Self::LogNotFound,
        Self::AttentionNotFound,
        Self::NothingToRestore,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::TaskActive,
        Self::AgentActive,
        Self::SalvagePending,
        Self::UnmergedWork,
        Self::DispatchStopped,
        Self::AttentionClosed,
        Self::Conflict,
        Self::AgentPruned,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::HostNotAllowed,
        Self::IdempotencyMismatch,
        Self::Unsatisfiable,
        Self::RepositoryUnreachable,
        Self::BranchNotFound,
        Self::QueueFull,
        Self::StoreUnavailable,
        Self::StoreNotSafe,
        Self::ShuttingDown,
        Self::DiskLow,
        Self::Busy,
        Self::AuditUnavailable,
        Self::GitFailed,
        Self::NodeUnreachable,
        Self::RecordDamaged,
        Self::Internal,
        Self::BundleNeeded,
        Self::ChecksFull,
        Self::CheckUnavailable,
        Self::CheckFailed,
    ];

    /// Returns word, status, title, and the seconds after which trying again makes sense (`None`: it does not).
    pub fn row(self) -> (&'static str, u16, &'static str, Option<u32>) {
        match self {
            Self::InvalidJson => ("invalid_json", 400, "Body is not valid JSON", None),
            Self::ValidationFailed => ("validation_failed", 400, "Request has faulty fields", None),
            Self::CursorMismatch => ("cursor_mismatch", 400, "Cursor belongs to other filters", None),
            Self::Unauthenticated => ("unauthenticated", 401, "A valid token is needed", None),
            Self::Forbidden => ("forbidden", 403, "Token does not allow this", None),
            Self::OriginNotAllowed => {
                ("origin_not_allowed", 403, "Requests from other sites are refused", None)
            }
            Self::PolicyDenied => ("policy_denied", 403, "Policy forbids this", None),
            Self::AgentNotFound => ("agent_not_found", 404, "No such agent", None),
            Self::TaskNotFound => ("task_not_found", 404, "No such task", None),
            Self::NodeNotFound => ("node_not_found", 404, "No such node", None),
            Self::NodeActive => ("node_active", 409, "Node is not gone", None),
            Self::LogNotFound => ("log_not_found", 404, "No such log", None),
            Self::AttentionNotFound => ("attention_not_found", 404, "No such decision", None),
            Self::NothingToRestore => ("nothing_to_restore", 404, "Nothing of it is kept", None),
            Self::RouteNotFound => ("route_not_found", 404, "No such route", None),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method is not allowed here", None),
            Self::NotAcceptable => ("not_acceptable", 406, "None of the accepted formats exists", None),
            Self::RequestTimeout => ("request_timeout", 408, "Body did not arrive in time", Some(1)),
            Self::TaskActive => ("task_active", 409, "Task already has an active agent", None),
            Self::AgentActive => ("agent_active", 409, "Agent has not ended yet", None),
            Self::SalvagePending => ("salvage_pending", 409, "Its work is not in the store yet", Some(30)),
            Self::UnmergedWork => ("unmerged_work", 409, "Work of the agent is kept nowhere else", None),
            Self::AgentPruned => ("agent_pruned", 410, "Agent was removed", None),
            Self::DispatchStopped => ("dispatch_stopped", 409, "The kill switch is engaged", None),
            Self::AttentionClosed => ("attention_closed", 409, "Decision is not open any more", None),
            Self::Conflict => ("conflict", 409, "It changed meanwhile", Some(1)),
            Self::PayloadTooLarge => ("payload_too_large", 413, "Body is too large", None),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", 415, "Body must be application/json", None)
            }
            Self::RangeNotSatisfiable => ("range_not_satisfiable", 416, "Range begins after the end", None),
            Self::HostNotAllowed => ("host_not_allowed", 421, "Host is not on the allow-list", None),
            Self::IdempotencyMismatch => {
                ("idempotency_mismatch", 422, "Idempotency key was used before", None)
            }
            Self::Unsatisfiable => ("unsatisfiable", 422, "Request cannot be satisfied here", None),
            Self::RepositoryUnreachable => {
                ("repository_unreachable", 422, "Repository cannot be reached", None)
            }
            Self::BranchNotFound => ("branch_not_found", 422, "Branch does not exist", None),
            Self::QueueFull => ("queue_full", 429, "Queue is full", Some(30)),
            Self::StoreUnavailable => ("store_unavailable", 503, "Store is unavailable", Some(5)),
            Self::StoreNotSafe => ("store_not_safe", 503, "Store could lose it", Some(5)),
            Self::ShuttingDown => ("shutting_down", 503, "Server is shutting down", Some(5)),
            Self::DiskLow => ("disk_low", 503, "Disk is nearly full", Some(60)),
            Self::Busy => ("busy", 503, "All connections are in use", Some(1)),
            Self::AuditUnavailable => ("audit_unavailable", 503, "Audit log is unavailable", Some(5)),
            Self::GitFailed => ("git_failed", 503, "Git could not answer", Some(5)),
            Self::NodeUnreachable => ("node_unreachable", 503, "Node cannot be reached", Some(30)),
            Self::RecordDamaged => ("record_damaged", 500, "Record is damaged", None),
            Self::Internal => ("internal", 500, "Something is wrong in the server", None),
            Self::BundleNeeded => ("bundle_needed", 409, "The commit must be sent as a bundle", None),
            Self::ChecksFull => ("checks_full", 429, "Enough checks wait already", Some(5)),
            Self::CheckUnavailable => ("check_unavailable", 503, "Check cannot be done now", Some(5)),
            Self::CheckFailed => ("check_failed", 500, "Check could not be done", None),
        }
    }

    /// Returns the word on the wire.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns the HTTP status.
    pub fn status(self) -> u16 {
        self.row().1
    }
}
