//! Which agents of a data directory are on this machine, asked without a server: by their records, and by what the
//! system says about processes whose records are gone.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::ProcessError;

use crate::disk;

use super::process_table::ProcessTable;
use super::server::ShimProcesses;
use super::{cgroup, job_list};

impl ShimProcesses {
    /// Lists the agents of this data directory that have something alive here, or jobs that have not ended cleanly:
    /// everybody whom a kill of all must stop. Needs no server.
    pub async fn present(&self) -> Result<Vec<AgentId>, ProcessError> {
        let data = self.options.data_dir.clone();
        let cgroups = self.cgroups().map(Path::to_owned);
        Ok(disk::run(move || present(&data, cgroups.as_deref())).await??)
    }
}

fn present(data: &Path, cgroups: Option<&Path>) -> io::Result<Vec<AgentId>> {
    let mut found: BTreeSet<AgentId> = job_list::unfinished(data)?.into_iter().collect();
    // Other data directories have agents too: only those with a directory in this one are ours.
    let ours = |agent: &AgentId| data.join("agents").join(agent.to_string()).is_dir();
    // The records name agents whose shims may have been killed, the table names processes whose records are
    // gone. Each finds what the other one cannot.
    let table = ProcessTable::take();
    let known = cgroups.map(|parent| cgroup::agents(parent, data)).unwrap_or_default();
    found.extend(table.agents(data).chain(known).filter(ours));
    Ok(found.into_iter().collect())
}
