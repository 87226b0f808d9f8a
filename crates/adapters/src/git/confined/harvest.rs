//! The harvest, which runs *inside an agent's confinement* when the agent's turn is over (`mosaic harvest SPEC`): uncommitted
//! work becomes a commit on top of HEAD, and HEAD a bundle against the base in the outbox. Nothing that the agent set up runs
//! here, see `confined`: neither in this, nor in what takes its place for an agent that is ended before its turn is over
//! (`salvage`). The tree and its `.git` stay as they are. The job's time limit is the deadline of everything here.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

use mosaic_core::limits;

use super::error::HarvestError;
use super::look::Look;
use super::program::Git;
use super::{salvage, salvage_tips};
use crate::git::bundle_spec::{BUNDLE, Harvested, LeftReport, Purpose, REPORT, Report, Spec};
use crate::git::loose_refs::branches;
use crate::git::{locks, messages, private_files};

/// Runs a harvest: the one argument is the path of its spec. Blocks; needs no runtime. Exits with success when the
/// report says how it went, also when it went wrong in a way that the report could say.
pub fn harvest_main(args: &[String]) -> ExitCode {
    let [path] = args else {
        eprintln!("harvest takes one argument, the path of its spec");
        return ExitCode::from(2);
    };
    let spec =
        fs::read(path).and_then(|bytes| serde_json::from_slice::<Spec>(&bytes).map_err(io::Error::other));
    let spec = match spec {
        Ok(spec) => spec,
        Err(error) => {
            eprintln!("the harvest's spec could not be read: {error}");
            return ExitCode::from(2);
        }
    };
    // A failure is a report, too: without one the server could not tell a harvest that failed from one that was killed, and
    // would repeat it.
    let harvested = harvest(&spec).unwrap_or_else(|why| Harvested {
        report: Report::Failed { message: why.to_string() },
        left: LeftReport::default(),
    });
    if let Report::Failed { message } = &harvested.report {
        eprintln!("{message}");
    }
    let text = serde_json::to_vec(&harvested).expect("a report is always JSON");
    match private_files::write_atomic(&spec.outbox.join(REPORT), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the harvest's report could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn harvest(spec: &Spec) -> Result<Harvested, HarvestError> {
    if spec.purpose != Purpose::Snapshot {
        // Who comes after is not to wait for a dead git; what is no repository has no locks.
        let _ = locks::clear_dead(&spec.tree);
    }
    let mut look = Look::at(spec)?;
    let report = match spec.purpose {
        Purpose::Commit => commit(&mut look),
        Purpose::Snapshot => commit_and_bundle(&mut look),
        Purpose::Salvage => salvage::salvage(&look, true)
            .or_else(|why| {
                eprintln!("{why}; trying without branches and stashes");
                salvage::salvage(&look, false)
            })
            .or_else(|why| {
                eprintln!("{why}; only its files are taken");
                look.forsake(&why);
                commit_and_bundle(&mut look)
            }),
    };
    Ok(Harvested { report: report?, left: look.left() })
}

fn commit(look: &mut Look<'_>) -> Result<Report, HarvestError> {
    let ends_something = salvage_tips::under_way(&look.mirror.git.dir);
    if ends_something {
        // What is committed ends it, and with it the resolution of conflicts that is not committed yet.
        salvage::aside(look, true);
    }
    let made = commit_and_bundle(look);
    let staged = !ends_something && look.note_staged();
    let found = &look.found;
    let is_beside = !found.beside.is_empty() || !found.ignored.is_empty();
    let whole = made.is_err() || staged || look.mirror.unusable.is_some() || is_beside;
    if !ends_something && (whole || salvage_tips::beside(&look.mirror, &look.spec.base)) {
        salvage::aside(look, whole);
    }
    made.or_else(|why| {
        eprintln!("{why}; only its files are taken");
        look.forsake(&why);
        commit_and_bundle(look)
    })
}

fn commit_and_bundle(look: &mut Look<'_>) -> Result<Report, HarvestError> {
    let head = look.commit()?;
    if head.as_deref() == Some(look.spec.base.as_str()) {
        return Ok(Report::Nothing);
    }
    bundle(&look.mirror.git, look.spec)
}

fn bundle(git: &Git, spec: &Spec) -> Result<Report, HarvestError> {
    // HEAD alone first: with the branches beside it a bundle would publish nothing more, but every branch would have to be
    // checked and kept.
    let made = bundle_head(git, spec, &[])?;
    if made == Report::Bundled && starts_at(&spec.outbox.join(BUNDLE), &spec.base) {
        return Ok(made);
    }
    // HEAD does not descend from the base: the branches come along, so that no committed work is lost.
    let branches = branches(&git.dir);
    if branches.is_empty() {
        return Ok(made);
    }
    bundle_head(git, spec, &branches).or(Ok(made))
}

/// Bundles `base..HEAD`, and these branches.
fn bundle_head(git: &Git, spec: &Spec, branches: &[String]) -> Result<Report, HarvestError> {
    let file = spec.outbox.join(BUNDLE);
    let not_base = format!("^{}", spec.base);
    let mut args: Vec<&OsStr> = ["bundle", "create", "--quiet"].map(OsStr::new).to_vec();
    args.extend([file.as_os_str(), OsStr::new(&not_base), OsStr::new("HEAD")]);
    args.extend(branches.iter().map(OsStr::new));
    let made = git.run(args)?;
    match made.ok {
        true => Ok(Report::Bundled),
        false if messages::is_empty_bundle(&made.stderr) => Ok(Report::Behind),
        false => Err(HarvestError::Failed { verb: "bundle", said: made.stderr }),
    }
}

/// Tells whether the bundle names the base as a commit that it stands on, which it does exactly when a commit in
/// it has the base as a parent.
fn starts_at(bundle: &Path, base: &str) -> bool {
    let Ok(file) = fs::File::open(bundle) else { return false };
    let lines = BufReader::new(file.take(limits::ERROR_BYTES as u64)).split(b'\n').map_while(Result::ok);
    let wanted = format!("-{base}").into_bytes();
    lines.take_while(|line| !line.is_empty()).any(|line| line.starts_with(&wanted))
}
