//! Where the commands of one judgement are at home. The agent had its own home and temporary directory to itself and
//! may have left settings there that turn a gate's programs off (`~/.cargo/config.toml`, `~/.npmrc`, `~/.gitconfig`),
//! so a judgement never sees them: it gets new, empty ones that did not exist while the agent ran.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::JudgeRequest;
use uuid::Uuid;

/// Makes a home and a temporary directory for a judgement and puts them into its confinement. Returns the directory
/// that holds both. It lies beside the checkout and starts with its name, so it goes away with it.
pub(super) fn move_in(request: &mut JudgeRequest) -> Result<PathBuf, Failure> {
    let place = beside(&request.checkout);
    let (home, tmp) = (place.join("home"), place.join("tmp"));
    for directory in [&place, &home, &tmp] {
        make(directory).map_err(|e| failure(directory, &e))?;
    }
    let env = &mut request.confinement.env;
    env.retain(|(name, _)| name != "HOME" && name != "TMPDIR");
    for (name, path) in [("HOME", &home), ("TMPDIR", &tmp)] {
        env.push((name.to_owned(), path.to_string_lossy().into_owned()));
    }
    request.confinement.home = home;
    Ok(place)
}

fn beside(checkout: &Path) -> PathBuf {
    let mut name = checkout.file_name().unwrap_or_default().to_owned();
    name.push(format!("-own-{}", Uuid::new_v4().simple()));
    checkout.with_file_name(name)
}

/// Makes a directory for its owner only. One that exists is refused: somebody else made it.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(directory)
}

fn failure(directory: &Path, error: &io::Error) -> Failure {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { FailureKind::Disk } else { FailureKind::Internal };
    Failure::new(kind, format!("cannot make the directory {} for the gates: {error}", directory.display()))
}
