//! Control groups that are left when nobody knows their job any more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits::EMPTY_GROUP;

use super::cgroup::{self, Cgroup};
use super::fence::Fence;

/// Length of an agent's id in the name of a group, which is followed by a dash and the job.
const ID: usize = 36;

/// Lists the agents of this data directory that have groups below this one. Empty groups that are old are removed on the way, whosoever they
/// are: no job is about to enter one.
pub(super) fn agents(parent: &Path, fences: Option<&Path>, data: &Path) -> Vec<AgentId> {
    remove_old_fences(fences);
    let mut found = BTreeSet::new();
    let ours: BTreeSet<AgentId> = cgroup::agents(parent, data).into_iter().collect();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(agent) = name.to_str().and_then(|name| name.get(..ID)?.parse().ok()) else { continue };
        let group = Cgroup::at(&entry.path());
        let age =
            entry.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
        let old = age.is_ok_and(|age| age > EMPTY_GROUP);
        if !(old && group.is_empty() && group.remove().is_ok()) && ours.contains(&agent) {
            found.insert(agent);
        }
    }
    found.into_iter().collect()
}

/// Removes fences that nobody is about to enter; one with something inside stays by itself.
fn remove_old_fences(parent: Option<&Path>) {
    for entry in parent.and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten() {
        let age =
            entry.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > EMPTY_GROUP) {
            // Control files are no directories, and what holds somebody is busy.
            let _ = Fence::at(&entry.path()).remove();
        }
    }
}

/// Removes the groups of an agent whose jobs have ended, those that no job directory names any more.
pub(super) fn remove(parent: &Path, data: &Path, agent: AgentId) {
    for group in cgroup::of_agent(parent, data, agent).into_iter().filter(Cgroup::is_empty) {
        if let Err(e) = group.remove() {
            tracing::debug!(agent.id = %agent, error = %e, "an empty control group could not be removed");
        }
    }
}
