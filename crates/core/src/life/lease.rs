//! Step 2, lease: a free slot takes the best entry under a lease with an epoch.

use crate::orchestrator::Orchestrator;
use crate::ports::store::{Lease, Versioned};

/// Takes the best entry, when there is one and the store answers.
pub(crate) async fn take(o: &Orchestrator) -> Option<(Lease, Versioned)> {
    match o.ports.store.lease(&o.settings.node, o.now()).await {
        Ok(taken) => taken,
        Err(e) => {
            tracing::warn!(error = %e, "queue could not be read; looking again in a moment");
            None
        }
    }
}
