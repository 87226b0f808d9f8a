//! Lists of job directories, read from the data directory: the jobs of an agent, and the agents that have unended ones.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::limits;

use crate::bounded_file;

use super::layout::{self, JobDir};

/// Lists the job directories below `runs`, none when it does not exist. The agent can write there: what is no directory
/// with a job's name is no job, and neither is anything when `runs` itself is something else. At most
/// [`limits::JOB_ENTRIES`] entries are looked at; whatever runs beyond them is found without its records.
pub(crate) fn jobs(runs: &Path) -> io::Result<Vec<JobDir>> {
    let listed = match bounded_file::names(runs, limits::JOB_ENTRIES) {
        Err(e) if bounded_file::is_wrong_kind(&e) => return Ok(Vec::new()),
        listed => listed?,
    };
    let is_job = |name: &OsString| name.to_str().is_some_and(|name| name.parse::<Word>().is_ok());
    let paths = listed.names.into_iter().filter(is_job).map(|name| runs.join(name));
    Ok(paths.filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir())).map(JobDir::at).collect())
}

/// Lists the agent's jobs that have not ended cleanly.
pub(super) fn unended(data: &Path, agent: AgentId) -> io::Result<Vec<JobDir>> {
    let mut jobs = jobs(&layout::runs(data, agent))?;
    jobs.retain(|dir| !dir.has_ended());
    Ok(jobs)
}

/// Lists the agents that have jobs which have not ended cleanly.
pub(super) fn unfinished(data: &Path) -> io::Result<Vec<AgentId>> {
    let (agents, _) = bounded_file::agents(&data.join("agents"))?;
    // An agent whose jobs cannot be listed may have some; it keeps nobody from the others.
    // An error here counts as unfinished work, since the caller stops what is listed: to stop an agent that
    // has nothing costs a look, to leave one out may leave it running.
    let may_run = |agent: &AgentId| unended(data, *agent).map_or(true, |jobs| !jobs.is_empty());
    Ok(agents.into_iter().filter(may_run).collect())
}
