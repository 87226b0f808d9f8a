//! Reading additions.

use mosaic_core::domain::ids::CommitId;
use mosaic_core::ports::repositories::{Added, Commits};
use tokio::sync::mpsc;

use super::World;

impl World {
    pub(crate) async fn additions(&self, base: &CommitId, head: &CommitId) -> Vec<Added> {
        let (into, mut from) = mpsc::channel(4);
        let read = async {
            let mut all = Vec::new();
            while let Some(added) = from.recv().await {
                all.push(added);
            }
            all
        };
        let (done, all) = tokio::join!(self.git.additions(&self.url, base, head, into), read);
        done.expect("additions are read");
        all
    }
}
