//! The `.git` of a checkout that is judged. Each gate finds it as it was made, with the judged commit as HEAD, whatever an
//! earlier gate did to it: a gate that commits, stages or configures something must not change what the next one sees.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::domain::outcome::{Failure, FailureKind};
use thiserror::Error;

use crate::private_place::PrivatePlace;
use crate::trash::Trash;

/// Name of the git directory in a checkout.
const NAME: &str = ".git";

/// A git directory that a later gate would not find as the first one did.
#[derive(Debug, Error)]
pub(super) enum GitDirError {
    /// It could not be copied before the first gate.
    #[error("the git directory of what is judged cannot be kept: {0}")]
    Keep(#[source] io::Error),
    /// It could not be put back after a gate.
    #[error("the checkout's .git cannot be restored after an earlier gate: {0}")]
    Restore(#[source] io::Error),
}

impl From<GitDirError> for Failure {
    fn from(error: GitDirError) -> Self {
        // Before the first gate nothing is judged yet, so that the attempt fails and not a gate.
        Self::new(FailureKind::Internal, error.to_string())
    }
}

/// Returns the error of work whose thread panicked.
pub(super) fn broke() -> io::Error {
    io::Error::other("the thread that worked on it broke")
}

/// A copy of the git directory from before the first gate.
#[derive(Default)]
pub(super) struct Pristine(Option<PathBuf>);

impl Pristine {
    /// Keeps a copy beside the judgement's home. A checkout without a git directory has none.
    pub(super) fn keep(checkout: &Path, own: &Path) -> io::Result<Self> {
        let from = checkout.join(NAME);
        if !from.is_dir() {
            return Ok(Self(None));
        }
        PrivatePlace::open(&own.canonicalize()?)?.make(OsStr::new("git"))?.copy(&from)?;
        Ok(Self(Some(own.join("git"))))
    }

    /// Puts the copy in the place of whatever is there now.
    pub(super) fn restore(&self, checkout: &Path, trash: &Trash) -> io::Result<()> {
        let Some(copy) = &self.0 else { return Ok(()) };
        // Replaced as a whole and not repaired: a gate can change settings, hooks, the index and refs, and each of them
        // changes what the next one sees.
        trash.discard(&checkout.join(NAME))?;
        PrivatePlace::open(&checkout.canonicalize()?)?.make(OsStr::new(NAME))?.copy(copy)
    }
}
