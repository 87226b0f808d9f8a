//! The domain as the API shows it: each file turns a part of the domain into types of `mosaic-api`. Times are RFC 3339
//! there and numbers in the store, so no record goes out as it is.

mod agents;
mod gates;
mod kept;
mod nodes;
mod orders;
mod shown;
mod words;

pub(crate) use agents::{agent_path, archive_fault, brief, full, links, status, warnings, with_kept};
pub use gates::shown_gates;
pub(crate) use nodes::{breakers, node};
pub(crate) use shown::Shown;
