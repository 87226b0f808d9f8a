//! Faults of a harvest or a salvage. They are shown in the report, which crosses the wall as text; a caller inside tells them
//! apart by kind where it continues in another way.

use std::io;
use std::process::ExitStatus;

use mosaic_core::limits;

/// A step of a harvest or a salvage that went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum HarvestError {
    /// git could not be started, or its end not be awaited.
    #[error("git could not be run: {0}")]
    NotRun(#[source] io::Error),
    /// git failed and explained it.
    #[error("git {verb} failed: {said}")]
    Failed {
        /// Verb of the call.
        verb: &'static str,
        /// The beginning of its complaints.
        said: String,
    },
    /// git failed; its explanation is in the log of the harvest.
    #[error("git {call} ended with {status}")]
    Ended {
        /// The call, as far as it tells which one it was.
        call: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// git succeeded without the answer that it was asked for.
    #[error("git {0}")]
    NoAnswer(String),
    /// A file or a directory could not be read or written.
    #[error("{doing}: {source}")]
    Io {
        /// The step.
        doing: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The description of the tree could not be written down.
    #[error("describing the tree: {0}")]
    Description(#[from] serde_json::Error),
    /// The description of the tree is larger than the server reads.
    #[error("the description of the tree is too long")]
    LongDescription,
    /// The tree has more files than are looked at.
    #[error("there are more than {} files", limits::WALKER_FILES)]
    TooManyFiles,
    /// The tree is not the directory that was made.
    #[error("{0}; something was put in its place, and nothing of it is taken")]
    Replaced(String),
    /// A commit of the agent's links to a repository that only lies in its tree.
    #[error("they link to the repository in {0}, which nobody else has")]
    StrayLink(String),
    /// HEAD of the tree leads to no commit.
    #[error("{0}")]
    NoHead(String),
    /// The commit that a rebase goes onto is unknown.
    #[error("a rebase is under way, and the commit that it goes onto cannot be read")]
    RebaseOnto,
    /// The part of a rebase that is not applied yet is unknown.
    #[error(
        "a rebase is under way, and what it has not applied yet cannot be told ({0}): look again once it is over"
    )]
    RebaseRest(#[source] Box<HarvestError>),
}

/// Makes the fault of a step that reads or writes files.
pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> HarvestError + Copy {
    move |source| HarvestError::Io { doing, source }
}

pub(super) fn walking(source: io::Error) -> HarvestError {
    HarvestError::Io { doing: "walking the tree", source }
}
