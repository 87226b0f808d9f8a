//! Every bound of the orchestrator with its reason. A queue, a wait or a buffer that is not bounded here is a
//! fault; the tidy test looks for numbers of this kind elsewhere.

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
