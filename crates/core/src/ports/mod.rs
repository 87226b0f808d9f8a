//! Interfaces of the core to the world, one trait per thing that differs between backends. A trait's documentation
//! is its contract; the conformance suites in `mosaic-testkit` check it for every backend.

pub mod archive;
pub mod audit;
pub mod bundles;
pub mod clock;
pub mod external_queue;
pub mod fleet;
pub mod gatekeeper;
pub mod host;
pub mod orders;
pub mod processes;
pub mod repositories;
pub mod runtime;
pub mod sandbox;
pub mod scanner;
pub mod store;
pub mod transcripts;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::audit::Audit;
use self::clock::{Chance, Clock};
use self::external_queue::ExternalQueue;
use self::fleet::Fleet;
use self::gatekeeper::Gatekeeper;
use self::host::Host;
use self::orders::OrderFiles;
use self::processes::Processes;
use self::repositories::{Commits, Intake, KeptWork, Publisher, Trees};
use self::runtime::Runtime;
use self::sandbox::Sandbox;
use self::scanner::SecretScanner;
use self::store::Store;
use self::transcripts::Transcripts;

/// Ports to everything that the orchestrator needs from outside.
pub struct Ports {
    /// Records, queue, leases, events.
    pub store: Arc<dyn Store>,
    /// The queue as external clients share it.
    pub external_queue: Arc<dyn ExternalQueue>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids and dice.
    pub chance: Arc<dyn Chance>,
    /// Working trees on this machine.
    pub trees: Arc<dyn Trees>,
    /// Work of agents on its way in.
    pub intake: Arc<dyn Intake>,
    /// Commits, to be read.
    pub commits: Arc<dyn Commits>,
    /// Remotes.
    pub publisher: Arc<dyn Publisher>,
    /// Work of agents that is kept.
    pub kept_work: Arc<dyn KeptWork>,
    /// Confinement.
    pub sandbox: Arc<dyn Sandbox>,
    /// Jobs.
    pub processes: Arc<dyn Processes>,
    /// Kinds of agents by name.
    pub runtimes: BTreeMap<String, Arc<dyn Runtime>>,
    /// Gates.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// Secret scan.
    pub scanner: Arc<dyn SecretScanner>,
    /// Transcripts.
    pub transcripts: Arc<dyn Transcripts>,
    /// This machine.
    pub host: Arc<dyn Host>,
    /// The audit log.
    pub audit: Arc<dyn Audit>,
    /// The state directory's copy of the standing orders.
    pub orders: Arc<dyn OrderFiles>,
    /// The other nodes.
    pub fleet: Arc<dyn Fleet>,
}
