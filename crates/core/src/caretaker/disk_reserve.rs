//! Room that is set aside while there is plenty, so that on a full disk decisions can still be written: an agent that
//! filled it can be settled, and what an operator orders can be done.

use super::parts::Caretaker;
use super::report::CareReport;
use crate::limits;

/// Sets room aside when there is more than enough.
pub(super) async fn pass(c: &Caretaker, report: &mut CareReport) {
    let floor = c.retention.disk_floor;
    let bytes = floor / limits::RESERVE_PART;
    let Ok(free) = c.host.free_bytes().await else { return };
    // Taken from plenty only: a reserve that pushed the disk below its floor would stop all new work by itself.
    if bytes == 0 || free < floor.saturating_add(bytes) {
        return;
    }
    if let Err(e) = c.host.hold_reserve(bytes).await {
        report.problem(e.to_string());
    }
}
