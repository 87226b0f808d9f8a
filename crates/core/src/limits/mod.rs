//! Every bound of the orchestrator with its reason. A queue, a wait or a buffer that has no bound is a
//! fault; a bound that only one file of an adapter uses may stand at its top, with its reason.

mod agents;
mod audit;
mod dispatch;
mod fleet;
mod gates;
mod git;
mod http;
mod orders;
mod processes;
mod requests;
mod retention;
mod secrets;
mod shared_store;
mod store;

pub use agents::*;
pub use audit::*;
pub use dispatch::*;
pub use fleet::*;
pub use gates::*;
pub use git::*;
pub use http::*;
pub use orders::*;
pub use processes::*;
pub use requests::*;
pub use retention::*;
pub use secrets::*;
pub use shared_store::*;
pub use store::*;
