//! The `.git` of a checkout that is judged. Each gate finds it as it was made, with the judged commit as HEAD, whatever an
//! earlier gate did to it: a gate that commits, stages or configures something must not change what the next one sees.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::private_place::PrivatePlace;
use crate::trash::Trash;

/// Name of the git directory in a checkout.
const NAME: &str = ".git";

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
        trash.discard(&checkout.join(NAME))?;
        PrivatePlace::open(&checkout.canonicalize()?)?.make(OsStr::new(NAME))?.copy(copy)
    }
}
