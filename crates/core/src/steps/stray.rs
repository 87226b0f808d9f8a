//! Keeping a tree whose record is lost: salvaged as every other, from what the note beside it says.

use super::context::JobOwner;
use super::harvest_job;
use crate::domain::outcome::Failure;
use crate::orchestrator::Orchestrator;
use crate::ports::repositories::TreeRequest;

/// Receives what is in the tree into the server's bare repository; says what it was.
pub(crate) async fn keep_stray(o: &Orchestrator, tree: TreeRequest) -> Result<String, Failure> {
    let saved = harvest_job::salvage(o, &JobOwner::of_tree(&tree), &tree).await?;
    Ok(saved.map_or_else(|| "nothing was changed".to_owned(), |saved| saved.reference))
}
