//! Environment variables by which the processes of a job are recognised when no record and no supervisor names them.

/// The variable by which an agent's processes can be recognised when their supervisor is gone.
pub(super) const AGENT_VARIABLE: &str = "MOSAIC_AGENT_ID";

/// The variable that says whose data directory they belong to: another node on the same machine may run the same agent.
pub(super) const JOB_VARIABLE: &str = "MOSAIC_JOB";

/// Both: neither is a command's to know that must not learn whose it is.
pub(crate) const JOB_VARIABLES: [&str; 2] = [AGENT_VARIABLE, JOB_VARIABLE];
