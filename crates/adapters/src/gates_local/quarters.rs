//! Where the commands of one judgement are at home. The agent had its own home and temporary directory to itself and
//! may have left settings there that turn a gate's programs off (`~/.cargo/config.toml`, `~/.npmrc`, `~/.gitconfig`),
//! so a judgement never sees them: it gets new ones that did not exist while the agent ran, with nothing in them but an
//! author for commits.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::JudgeRequest;
use uuid::Uuid;

use super::GateOptions;

/// Private directories of one judgement.
pub(super) struct Quarters {
    /// Holds the home. It lies beside the checkout and starts with its name, so it goes away with it.
    pub(super) own: PathBuf,
    /// Temporary files.
    tmp: PathBuf,
}

impl Quarters {
    /// Takes them away again, with the checkout. What stays is cleaned up with the agent.
    pub(super) fn leave(&self, options: &GateOptions, request: &JudgeRequest) {
        let gone = [
            (&request.checkout, options.trash.discard(&request.checkout)),
            (&self.own, options.trash.discard(&self.own)),
            (&self.tmp, options.short.discard(&self.tmp)),
        ];
        for (path, gone) in gone {
            if let Err(e) = gone {
                tracing::warn!(agent.id = %request.agent, path = %path.display(), error = %e, "what a judgement used stays until its agent is cleaned up");
            }
        }
    }
}

/// Makes a home and a temporary directory for a judgement and puts them into its confinement.
pub(super) fn move_in(options: &GateOptions, request: &mut JudgeRequest) -> Result<Quarters, Failure> {
    let own = beside(&request.checkout);
    let home = own.join("home");
    for directory in [&own, &home] {
        make(directory).map_err(|e| failure(directory, &e))?;
    }
    if let Some(identity) = &options.identity {
        identity.write(&home).map_err(|e| failure(&home, &e))?;
    }
    let tmp = options.short.fresh(request.agent).map_err(|e| failure(&own, &e))?;
    let env = &mut request.confinement.env;
    env.retain(|(name, _)| name != "HOME" && name != "TMPDIR");
    for (name, path) in [("HOME", &home), ("TMPDIR", &tmp)] {
        env.push((name.to_owned(), path.to_string_lossy().into_owned()));
    }
    request.confinement.home = home;
    Ok(Quarters { own, tmp })
}

fn beside(checkout: &Path) -> PathBuf {
    let mut name = checkout.file_name().unwrap_or_default().to_owned();
    name.push(format!("-own-{}", &Uuid::new_v4().simple().to_string()[..8]));
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
