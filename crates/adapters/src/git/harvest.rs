//! The harvest, which runs *inside an agent's confinement* when the agent's turn is over (`mosaic harvest SPEC`): uncommitted
//! work becomes a commit on top of HEAD, and HEAD a bundle against the base in the outbox. Nothing that the agent set up runs
//! here, see `confined`: neither in this, nor in what takes its place for an agent that is ended before its turn is over
//! (`salvage`). The tree and its `.git` stay as they are. The job's time limit is the deadline of everything here.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mosaic_core::domain::outcome::Failure;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{HarvestJob, TreeRequest};
use serde::{Deserialize, Serialize};

use super::confined::{Git, LeftReport, Look};
use super::loose_refs::branches;
use super::{GitRepositories, errors, locks, salvage, salvage_tips, store, tree};

/// The subject of the commit that holds what an agent left uncommitted.
pub(super) const SUBJECT: &str = "Mosaic: work left uncommitted";
/// The file that says how the harvest went; small, and as untrusted as the agent.
pub(super) const REPORT: &str = "harvest.json";
/// The bundle's file.
pub(super) const BUNDLE: &str = "bundle";

/// The bundle of a tree of which the harvest's own bundle does not hold everything. When it could not be made, it is
/// a file with the reason, which is no bundle: the server then keeps the tree.
pub(super) const ASIDE: &str = "aside-bundle";

/// Instructions for the harvest, in a file outside the tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) tree: PathBuf,
    pub(super) outbox: PathBuf,
    /// The number of the tree's directory, when it was noted: another one in its place is not looked at.
    #[serde(default)]
    pub(super) inode: Option<u64>,
    /// The store's object directory.
    pub(super) shared: PathBuf,
    pub(super) base: String,
    /// The branch that was made for the agent.
    pub(super) branch: String,
    /// The server's copy of the index as it was when the tree was made, after a line with the commit.
    pub(super) checked_out: PathBuf,
    pub(super) trailers: [String; 2],
    pub(super) author: (String, String),
    /// The git program and the `PATH` that it gets: the server's, not the agent's.
    pub(super) git: PathBuf,
    pub(super) path: String,
    pub(super) purpose: Purpose,
    /// Some tree of the base has a name twice, so that none is taken over as it is.
    #[serde(default)]
    pub(super) rewrite: bool,
}

/// The purpose of the harvest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Purpose {
    /// Commit what is left over on HEAD and bundle HEAD.
    Commit,
    /// Bundle the tree as it is, see `salvage`.
    Salvage,
    /// The same commit and bundle as for [`Purpose::Commit`] while the agent's program runs; nothing beside it is kept.
    Snapshot,
}

/// The outcome of a harvest, and a report on everything else that is in the tree.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Harvested {
    #[serde(flatten)]
    pub(super) report: Report,
    #[serde(default)]
    pub(super) left: LeftReport,
}

/// The outcome of a harvest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(super) enum Report {
    /// HEAD is the base.
    Nothing,
    /// HEAD is an ancestor of the base: commits were taken away, none added.
    Behind,
    /// A bundle was written.
    Bundled,
    /// It went wrong.
    Failed {
        /// The message of the failure.
        message: String,
    },
}

impl GitRepositories {
    pub(super) async fn prepare_harvest(
        &self,
        request: &TreeRequest,
        purpose: Purpose,
    ) -> Result<HarvestJob, Failure> {
        self.has_tree(request)?;
        let io = |e: io::Error| errors::io("preparing the harvest", &e);
        let kind = if purpose == Purpose::Snapshot { "snapshot-" } else { "harvest-" };
        self.trash
            .discard_in(&self.layout.agent(request.agent), |name| name.starts_with(kind))
            .map_err(io)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let dir = self.layout.agent(request.agent).join(format!("{kind}{}", &id[..8]));
        let outbox = dir.join("outbox");
        store::private_dir(&outbox).map_err(io)?;
        let (git, path) = self.git.program();
        let spec = Spec {
            tree: self.layout.tree(request.agent),
            inode: self.tree_inode(request.agent),
            outbox: outbox.clone(),
            shared: self.layout.store(&request.repository).join("objects"),
            base: request.base.to_string(),
            branch: request.branch.to_string(),
            checked_out: self.layout.checked_out(request.agent),
            trailers: tree::trailers(&request.task, &request.agent.to_string()),
            author: self.author.clone(),
            git,
            path,
            purpose,
            rewrite: self.has_duplicates(&request.repository, &request.base).await?,
        };
        let path = dir.join("spec.json");
        let text = serde_json::to_vec(&spec)
            .map_err(|e| errors::io("preparing the harvest", &io::Error::other(e)))?;
        store::write_atomic(&path, &text).map_err(io)?;
        let command = vec![
            self.self_exe.to_string_lossy().into_owned(),
            "harvest".to_owned(),
            path.to_string_lossy().into_owned(),
        ];
        Ok(HarvestJob { command, env: Vec::new(), outbox })
    }
}

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
    let harvested = harvest(&spec).unwrap_or_else(|message| Harvested {
        report: Report::Failed { message },
        left: LeftReport::default(),
    });
    if let Report::Failed { message } = &harvested.report {
        eprintln!("{message}");
    }
    let text = serde_json::to_vec(&harvested).expect("a report is always JSON");
    match store::write_atomic(&spec.outbox.join(REPORT), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the harvest's report could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn harvest(spec: &Spec) -> Result<Harvested, String> {
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
                look.forsake(why);
                commit_and_bundle(&mut look)
            }),
    };
    Ok(Harvested { report: report?, left: look.left() })
}

fn commit(look: &mut Look<'_>) -> Result<Report, String> {
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
        look.forsake(why);
        commit_and_bundle(look)
    })
}

fn commit_and_bundle(look: &mut Look<'_>) -> Result<Report, String> {
    let head = look.commit()?;
    if head.as_deref() == Some(look.spec.base.as_str()) {
        return Ok(Report::Nothing);
    }
    bundle(&look.mirror.git, look.spec)
}

fn bundle(git: &Git, spec: &Spec) -> Result<Report, String> {
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
fn bundle_head(git: &Git, spec: &Spec, branches: &[String]) -> Result<Report, String> {
    let file = spec.outbox.join(BUNDLE);
    let not_base = format!("^{}", spec.base);
    let mut args: Vec<&OsStr> = ["bundle", "create", "--quiet"].map(OsStr::new).to_vec();
    args.extend([file.as_os_str(), OsStr::new(&not_base), OsStr::new("HEAD")]);
    args.extend(branches.iter().map(OsStr::new));
    let made = git.run(args)?;
    match made.ok {
        true => Ok(Report::Bundled),
        false if made.stderr.contains("empty bundle") => Ok(Report::Behind),
        false => Err(format!("git bundle failed: {}", made.stderr)),
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

/// Reads the report from an outbox: a small regular file, not a link.
pub(super) fn read_report(outbox: &Path) -> Option<Harvested> {
    const MOST: u64 = 64 * 1024;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(outbox.join(REPORT)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
