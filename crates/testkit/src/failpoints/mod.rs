//! Failpoints: every port of the product wrapped, so that each call is a *step* that can be broken before or after it
//! happens. They stand between core and adapters, never inside either: production types do not know of them.
//!
//! One macro call per port lists its methods; a method that a port gains does not compile until it stands there, so no
//! step is forgotten; one with a body of its own in the trait must be listed with care, as the compiler does not ask for it. [`Plan`] says which step breaks; without one every wrapper only counts.

mod fault;
mod files;
mod jobs;
mod judging;
mod plan;
mod records;
mod trees;
mod wrap;

use std::sync::Arc;

use mosaic_core::ports::Ports;
use mosaic_core::ports::processes::Processes;
use mosaic_core::ports::store::Store;

pub use plan::{Broken, Can, Failpoint, Mode, Plan, PlanError, When};

/// Puts failpoints around the processes.
pub fn processes(plan: &Arc<Plan>, inner: Arc<dyn Processes>) -> Arc<dyn Processes> {
    Arc::new(jobs::Breakable { plan: Arc::clone(plan), inner })
}

/// Puts failpoints around the store.
pub fn store(plan: &Arc<Plan>, inner: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(records::Breakable { plan: Arc::clone(plan), inner })
}

/// Puts failpoints around every other port that does something to the world. Clock, chance, host and scanner stay as
/// they are: they only answer.
pub fn ports(plan: &Arc<Plan>, ports: Ports) -> Ports {
    let plan = || Arc::clone(plan);
    let runtimes = ports.runtimes.into_iter();
    let runtimes = runtimes.map(|(name, inner)| {
        let runtime: Arc<dyn mosaic_core::ports::runtime::Runtime> =
            Arc::new(judging::Breakable { plan: plan(), inner });
        (name, runtime)
    });
    Ports {
        store: store(&plan(), ports.store),
        external_queue: Arc::new(records::Breakable { plan: plan(), inner: ports.external_queue }),
        trees: Arc::new(trees::Breakable { plan: plan(), inner: ports.trees }),
        intake: Arc::new(trees::Breakable { plan: plan(), inner: ports.intake }),
        commits: Arc::new(trees::Breakable { plan: plan(), inner: ports.commits }),
        publisher: Arc::new(trees::Breakable { plan: plan(), inner: ports.publisher }),
        kept_work: Arc::new(trees::Breakable { plan: plan(), inner: ports.kept_work }),
        sandbox: Arc::new(files::Breakable { plan: plan(), inner: ports.sandbox }),
        runtimes: runtimes.collect(),
        gatekeeper: Arc::new(judging::Breakable { plan: plan(), inner: ports.gatekeeper }),
        transcripts: Arc::new(files::Breakable { plan: plan(), inner: ports.transcripts }),
        audit: Arc::new(records::Breakable { plan: plan(), inner: ports.audit }),
        orders: Arc::new(files::Breakable { plan: plan(), inner: ports.orders }),
        clock: ports.clock,
        chance: ports.chance,
        processes: ports.processes,
        scanner: ports.scanner,
        host: ports.host,
        fleet: ports.fleet,
    }
}

/// Returns the name of every step that there is.
pub fn steps() -> Vec<&'static str> {
    use mosaic_core::ports::audit::Audit;
    use mosaic_core::ports::external_queue::ExternalQueue;
    use mosaic_core::ports::gatekeeper::Gatekeeper;
    use mosaic_core::ports::orders::OrderFiles;
    use mosaic_core::ports::repositories::{Commits, Intake, KeptWork, Publisher, Trees};
    use mosaic_core::ports::runtime::Runtime;
    use mosaic_core::ports::sandbox::Sandbox;
    use mosaic_core::ports::transcripts::Transcripts;
    use wrap::Breakable;

    [
        Breakable::<dyn Store>::STEPS,
        Breakable::<dyn ExternalQueue>::STEPS,
        Breakable::<dyn Audit>::STEPS,
        Breakable::<dyn Processes>::STEPS,
        Breakable::<dyn Trees>::STEPS,
        Breakable::<dyn Intake>::STEPS,
        Breakable::<dyn Commits>::STEPS,
        Breakable::<dyn Publisher>::STEPS,
        Breakable::<dyn KeptWork>::STEPS,
        Breakable::<dyn Sandbox>::STEPS,
        Breakable::<dyn Gatekeeper>::STEPS,
        Breakable::<dyn Runtime>::STEPS,
        Breakable::<dyn Transcripts>::STEPS,
        Breakable::<dyn OrderFiles>::STEPS,
    ]
    .concat()
}
