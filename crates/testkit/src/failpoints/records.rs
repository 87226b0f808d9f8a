//! Failpoints around the store, the queue of external clients and the audit log.

use std::collections::{BTreeMap, BTreeSet};

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::audit::{AuditEntry, Head};
use mosaic_core::domain::ids::{AgentId, NodeId, TaskId, Timestamp};
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::domain::orders::StandingOrders;
use mosaic_core::domain::placement::Conditions;
use mosaic_core::ports::audit::{Audit, AuditError, Page, Verified, Wanted};
use mosaic_core::ports::external_queue::{ExternalChange, ExternalQueue};
use mosaic_core::ports::store::{
    Admission, Admitted, ArchiveError, Change, Counts, Damaged, EndedAfter, Lease, Moving, OrderChange,
    Pause, Query, Removal, Store, StoreError, Versioned,
};
use tokio::sync::watch;

pub(super) use super::wrap::Breakable;
use super::wrap::wrap;

wrap! { Store as "store" {
    own ["store.advance"] {
        async fn advance(&self, lease: &Lease, change: Change) -> Result<u64, StoreError> {
            let phase = change.agent.phase().as_str();
            let written = self.plan.ask("store.advance", true, || self.inner.advance(lease, change.clone())).await;
            // It is noted after the call, so that the write itself still counts to the phase that it ends.
            self.plan.note_phase(phase);
            written
        }
    }
    last admit(admission: Admission) -> Result<Admitted, StoreError>;
    first lease_within(node: &NodeId, now: Timestamp, conditions: &Conditions) -> Result<Option<(Lease, Versioned)>, StoreError>;
    last take_over(agent: AgentId, node: &NodeId) -> Result<(Lease, Versioned), StoreError>;
    first amend(changes: Vec<(u64, Change)>) -> Result<Vec<Result<u64, StoreError>>, StoreError>;
    last get(agent: AgentId) -> Result<Versioned, StoreError>;
    last list(query: Query) -> Result<Vec<Versioned>, StoreError>;
    last waiting(offset: u64, limit: usize, now: Timestamp) -> Result<Vec<Versioned>, StoreError>;
    last position(agent: AgentId) -> Result<Option<u64>, StoreError>;
    last leased() -> Result<Vec<Versioned>, StoreError>;
    last leased_of(repositories: &BTreeSet<String>) -> Result<BTreeMap<String, usize>, StoreError>;
    last of_task(task: &TaskId) -> Result<Vec<Versioned>, StoreError>;
    last counts(now: Timestamp) -> Result<Counts, StoreError>;
    last next_due() -> Result<Option<Timestamp>, StoreError>;
    last set_pause(pause: Option<Pause>, fact: LogRecord) -> Result<(), StoreError>;
    last pause() -> Result<Option<Pause>, StoreError>;
    last set_orders(change: OrderChange, facts: Vec<LogRecord>) -> Result<StandingOrders, StoreError>;
    last orders() -> Result<StandingOrders, StoreError>;
    last remove(removal: Removal) -> Result<(), StoreError>;
    last settled(before: Timestamp, after: EndedAfter, limit: usize) -> Result<Vec<Versioned>, StoreError>;
    last prune_events(before: Timestamp, most: usize) -> Result<u64, StoreError>;
    last log(facts: Vec<LogRecord>) -> Result<(), StoreError>;
    last entries(after: u64, limit: usize) -> Result<Vec<Entry>, StoreError>;
    plain newest() -> watch::Receiver<u64>;
    last check() -> Result<(), StoreError>;
    last glance(agent: AgentId) -> Result<Versioned, StoreError>;
    last whole(records: Vec<Versioned>) -> Result<Vec<Versioned>, StoreError>;
    last archive_bytes() -> Result<u64, StoreError>;
    last archived(agents: &[AgentId]) -> Result<Vec<Versioned>, StoreError>;
    last archived_before(before: Timestamp) -> Result<u64, StoreError>;
    last archived_elsewhere(before: Timestamp) -> Result<BTreeMap<NodeId, Result<u64, ArchiveError>>, StoreError>;
    last movable(node: &NodeId, before: Timestamp, unplaced: bool, limit: usize) -> Result<Vec<Moving>, StoreError>;
    last archive(records: &[Moving]) -> Result<(), StoreError>;
    first shorten(records: &[Moving], node: &NodeId) -> Result<Vec<Result<(), StoreError>>, StoreError>;
    last damaged() -> Result<Vec<Damaged>, StoreError>;
} }

wrap! { ExternalQueue as "external_queue" {
    last external_changes(limit: usize) -> Result<Vec<ExternalChange>, StoreError>;
    last restore_data(agent: &Agent, job: &str, fact: LogRecord) -> Result<bool, StoreError>;
    last refuse(job: &str, why: &str, at: Timestamp) -> Result<bool, StoreError>;
    plain changes() -> watch::Receiver<u64>;
} }

wrap! { Audit as "audit" {
    first append(entry: AuditEntry) -> Result<Head, AuditError>;
    sure note(entry: AuditEntry) -> ();
    last read(wanted: Wanted) -> Result<Page, AuditError>;
    last verify() -> Result<Verified, AuditError>;
    plain head() -> Head;
} }
