//! Exit codes of the program, and the one place that maps outcomes and errors to them. Scripts rely on the
//! numbers: new ones are added, none is ever changed or used again.

use std::process::ExitCode;

use mosaic_api::{EndReason, Status, StatusView};

use crate::problem::{ApiProblem, Problem};

/// Exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Something failed that has no code of its own.
    Error = 1,
    /// The command line or the configuration is wrong, or an id is ambiguous.
    Usage = 2,
    /// There is no such agent, task or file.
    NotFound = 3,
    /// Not allowed, or a login is needed.
    NotAllowed = 4,
    /// No server answers.
    Unreachable = 5,
    /// The state does not allow it: a duplicate, an agent that has ended, a directory in use.
    Conflict = 6,
    /// A part failed.
    Partly = 7,
    /// The time for waiting ran out.
    WaitTimeout = 8,
    /// The agent failed.
    AgentFailed = 10,
    /// The gates did not pass.
    GatesNotPassed = 11,
    /// The agent was killed.
    AgentKilled = 12,
    /// A budget was reached.
    BudgetReached = 13,
    /// Interrupted from the keyboard.
    Interrupted = 130,
}

/// The table of exit codes as the help shows it.
pub(crate) const HELP: &str = "\
Exit codes:
  0 ok            4 not allowed, login    8 timed out waiting    12 agent killed
  1 error         5 no server             10 agent failed        13 budget reached
  2 usage         6 conflict              11 gates not passed    130 interrupted
  3 not found     7 partly failed";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Maps an error.
    pub(crate) fn of_problem(problem: &Problem) -> Self {
        match problem {
            Problem::Usage { .. } | Problem::Config(_) => Self::Usage,
            Problem::NotFound { .. } => Self::NotFound,
            Problem::NotAllowed { .. } => Self::NotAllowed,
            Problem::Unreachable { .. } => Self::Unreachable,
            Problem::Conflict { .. } => Self::Conflict,
            Problem::WaitTimeout { .. } => Self::WaitTimeout,
            Problem::Api(api) => Self::of_answer(api),
            Problem::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Self::Ok,
            Problem::Output(_) | Problem::Other(_) => Self::Error,
        }
    }

    /// Maps an error answer of the server.
    fn of_answer(api: &ApiProblem) -> Self {
        match api.status {
            400 | 413 | 415 | 422 => Self::Usage,
            401 | 403 | 421 => Self::NotAllowed,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            _ => Self::Error,
        }
    }

    /// Maps how an agent ended. An agent that has not ended is `Ok`.
    pub(crate) fn of_agent(agent: &StatusView) -> Self {
        match agent.status {
            Status::Killed => Self::AgentKilled,
            Status::Failed => match agent.end_reason {
                Some(
                    EndReason::GatesFailed
                    | EndReason::GatesUndefined
                    | EndReason::Secret
                    | EndReason::FilteredPaths,
                ) => Self::GatesNotPassed,
                Some(EndReason::Budget) => Self::BudgetReached,
                _ => Self::AgentFailed,
            },
            _ => Self::Ok,
        }
    }

    /// Returns the worse of two outcomes of several agents: any failure outweighs `Ok`, the first failure stays.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Ok { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(status: &str, reason: Option<&str>) -> Exit {
        let agent = crate::samples::agent(json!({"status": status, "endReason": reason}));
        Exit::of_agent(&agent.status)
    }

    #[test]
    fn agents_end_with_their_codes() {
        assert_eq!(of("completed", Some("done")), Exit::Ok);
        assert_eq!(of("failed", Some("agent_error")), Exit::AgentFailed);
        assert_eq!(of("failed", Some("gates_failed")), Exit::GatesNotPassed);
        assert_eq!(of("failed", Some("budget")), Exit::BudgetReached);
        assert_eq!(of("killed", Some("operator")), Exit::AgentKilled);
        assert_eq!(of("running", None), Exit::Ok);
    }

    #[test]
    fn answers_map_to_codes() {
        let of =
            |status| Exit::of_problem(&Problem::Api(ApiProblem { status, ..ApiProblem::default() })) as u8;
        let got: Vec<u8> = [400, 401, 403, 404, 409, 410, 422, 429, 500, 503].into_iter().map(of).collect();
        assert_eq!(got, [2, 4, 4, 3, 6, 3, 2, 1, 1, 1]);
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_end() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(Exit::of_problem(&Problem::Output(pipe)), Exit::Ok);
    }
}
