//! What runs *inside the agent's confinement* when its turn is over (`mosaic harvest SPEC`): commit what is left
//! over, then bundle HEAD against the base into the outbox. Here the agent's own git settings may act, because
//! whatever they start is confined as the agent was; nothing of this runs in the server. The job's time limit is the
//! deadline of everything here. For an agent that is ended before its turn is over, `salvage` takes its place.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use mosaic_core::domain::outcome::Failure;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{HarvestJob, TreeRequest};
use serde::{Deserialize, Serialize};

use super::loose_refs::branches;
use super::{GitRepositories, errors, locks, salvage, salvage_tips, store, tree, walker};

/// The subject of the commit that holds what an agent left uncommitted.
pub(super) const SUBJECT: &str = "Mosaic: work left uncommitted";
/// The file that says how the harvest went; small, and as untrusted as the agent.
pub(super) const REPORT: &str = "harvest.json";
/// The bundle's file.
pub(super) const BUNDLE: &str = "bundle";

/// The bundle of a tree of which the harvest's own bundle does not hold everything. When it could not be made, it is
/// a file with the reason, which is no bundle: the server then keeps the tree.
pub(super) const ASIDE: &str = "aside-bundle";

/// What the harvest is told, in a file outside the tree.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) tree: PathBuf,
    pub(super) outbox: PathBuf,
    /// The store's object directory.
    pub(super) shared: PathBuf,
    pub(super) base: String,
    pub(super) trailers: [String; 2],
    pub(super) author: (String, String),
    pub(super) purpose: Purpose,
}

/// What the harvest is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Purpose {
    /// Commit what is left over on HEAD and bundle HEAD.
    Commit,
    /// Bundle the tree as it is, see `salvage`.
    Salvage,
}

/// How a harvest went.
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
        /// What went wrong.
        message: String,
    },
}

impl GitRepositories {
    pub(super) fn prepare_harvest(
        &self,
        request: &TreeRequest,
        purpose: Purpose,
    ) -> Result<HarvestJob, Failure> {
        self.has_tree(request)?;
        let io = |e: io::Error| errors::io("preparing the harvest", &e);
        self.trash
            .discard_in(&self.layout.agent(request.agent), |name| name.starts_with("harvest-"))
            .map_err(io)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let dir = self.layout.agent(request.agent).join(format!("harvest-{}", &id[..8]));
        let outbox = dir.join("outbox");
        store::private_dir(&outbox).map_err(io)?;
        let spec = Spec {
            tree: self.layout.tree(request.agent),
            outbox: outbox.clone(),
            shared: self.layout.store(&request.repository).join("objects"),
            base: request.base.to_string(),
            trailers: tree::trailers(&request.task, &request.agent.to_string()),
            author: self.author.clone(),
            purpose,
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
    let report = harvest(&spec).unwrap_or_else(|message| Report::Failed { message });
    if let Report::Failed { message } = &report {
        eprintln!("{message}");
    }
    let text = serde_json::to_vec(&report).expect("a report is always JSON");
    match store::write_atomic(&spec.outbox.join(REPORT), &text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the harvest's report could not be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn harvest(spec: &Spec) -> Result<Report, String> {
    let from_git = usable(&spec.tree).and_then(|()| {
        locks::clear_dead(&spec.tree).map_err(|e| format!("its stale locks: {e}"))?;
        match spec.purpose {
            Purpose::Commit => commit(spec),
            Purpose::Salvage => salvage::salvage(spec, true).or_else(|why| {
                eprintln!("{why}; trying without branches and stashes");
                salvage::salvage(spec, false)
            }),
        }
    });
    from_git.or_else(|why| {
        eprintln!("the tree's git is unusable ({why}); its files are taken as they are");
        walker::walk(spec)
            .map_err(|e| format!("neither the tree's git ({why}) nor its files ({e}) could be taken"))
    })
}

fn commit(spec: &Spec) -> Result<Report, String> {
    let git = Git::in_tree(spec);
    let ends_something = salvage_tips::under_way(&git.dir);
    if ends_something {
        // What follows ends it, and with it the resolution of conflicts that is not committed yet.
        salvage::aside(spec, true);
    }
    end_operations(&git);
    let made = commit_leftovers(&git, spec).and_then(|()| bundle(&git, spec));
    // Without a bundle of HEAD only files are taken, so that every commit lies beside.
    if !ends_something && (made.is_err() || salvage_tips::beside(&git, &spec.base)) {
        salvage::aside(spec, made.is_err());
    }
    made
}

/// Checks that `.git` is a directory with what a repository needs; a link or a pointer elsewhere is not.
fn usable(tree: &Path) -> Result<(), String> {
    for part in ["", ".git", ".git/objects", ".git/refs"] {
        let meta = fs::symlink_metadata(tree.join(part)).map_err(|e| format!("{part}: {e}"))?;
        if !meta.is_dir() {
            return Err(format!("{part} is not a directory"));
        }
    }
    match fs::symlink_metadata(tree.join(".git/HEAD")) {
        Ok(meta) if meta.is_file() => Ok(()),
        _ => Err(".git/HEAD is not a file".to_owned()),
    }
}

/// Ends what was under way so that HEAD holds the whole work: a rebase goes back to the branch it came from, a
/// cherry-pick, revert or am keeps its files. A merge stays, and the commit of what is left over concludes it.
fn end_operations(git: &Git) {
    let dir = &git.dir;
    if dir.join("rebase-merge").is_dir() || dir.join("rebase-apply/rebasing").exists() {
        if git.run(["rebase", "--abort"]).is_ok_and(|r| r.ok) {
            return;
        }
        let _ = git.run(["rebase", "--quit"]);
    }
    if dir.join("rebase-apply/applying").exists() {
        let _ = git.run(["am", "--quit"]);
    }
    for (file, verb) in [("CHERRY_PICK_HEAD", "cherry-pick"), ("REVERT_HEAD", "revert")] {
        if dir.join(file).exists() {
            let _ = git.run([verb, "--quit"]);
        }
    }
}

fn commit_leftovers(git: &Git, spec: &Spec) -> Result<(), String> {
    let mut added = git.run(["add", "--all"])?;
    if !added.ok {
        // One unreadable file or nested repository must not cost the rest.
        added = git.run(["add", "--all", "--ignore-errors"])?;
        eprintln!("some files could not be added: {}", added.stderr);
        if added.code == Some(128) {
            return Err(format!("git add failed: {}", added.stderr));
        }
    }
    let message = format!("{SUBJECT}\n\n{}\n{}\n", spec.trailers[0], spec.trailers[1]);
    let committed = git.run([
        "commit",
        "--quiet",
        "--no-verify",
        "--no-gpg-sign",
        "--cleanup=verbatim",
        "--no-status",
        "-m",
        &message,
    ])?;
    if committed.ok
        || committed.stdout.contains("nothing to commit")
        || committed.stdout.contains("nothing added to commit")
    {
        return Ok(());
    }
    // `--quiet` says nothing about an empty commit; the index knows.
    if git.run(["diff", "--cached", "--quiet", "--no-ext-diff", "HEAD"])?.ok {
        return Ok(());
    }
    Err(format!("git commit failed: {}{}", committed.stderr, committed.stdout))
}

fn bundle(git: &Git, spec: &Spec) -> Result<Report, String> {
    if salvage_tips::head_of(git).as_deref() == Some(spec.base.as_str()) {
        return Ok(Report::Nothing);
    }
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
pub(super) fn bundle_head(git: &Git, spec: &Spec, branches: &[String]) -> Result<Report, String> {
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

/// git inside the confinement: the agent's environment, but no hooks, no signing and no questions, so that nothing
/// the agent set up can keep its work from being taken.
#[derive(Clone)]
pub(super) struct Git {
    pub(super) dir: PathBuf,
    pub(super) tree: PathBuf,
    pub(super) author: (String, String),
}

pub(super) struct Ran {
    pub(super) ok: bool,
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Git {
    pub(super) fn in_tree(spec: &Spec) -> Self {
        Self::at(spec, spec.tree.join(".git"))
    }

    /// Git with the tree's files but another git directory.
    pub(super) fn at(spec: &Spec, dir: PathBuf) -> Self {
        Self { dir, tree: spec.tree.clone(), author: spec.author.clone() }
    }

    pub(super) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("git");
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.bare=false",
            "commit.gpgSign=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "core.quotePath=false",
            "user.useConfigOnly=false",
            "advice.addEmbeddedRepo=false",
        ] {
            command.args(["-c", setting]);
        }
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        command.args(args).current_dir(&self.tree).stdin(Stdio::null());
        command.env("GIT_DIR", &self.dir).env("GIT_WORK_TREE", &self.tree);
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_EDITOR", "true")
            .env("GIT_NO_REPLACE_OBJECTS", "1");
        let (name, email) = &self.author;
        command.env("GIT_AUTHOR_NAME", name).env("GIT_COMMITTER_NAME", name);
        command.env("GIT_AUTHOR_EMAIL", email).env("GIT_COMMITTER_EMAIL", email);
        command
    }

    pub(super) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Ran, String> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |e: io::Error| format!("git could not be run: {e}");
        let mut child = command.spawn().map_err(failed)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let errors = std::thread::spawn(move || beginning(err));
        let (stdout, stderr) = (beginning(out), errors.join().unwrap_or_default());
        let status = child.wait().map_err(failed)?;
        Ok(Ran { ok: status.success(), code: status.code(), stdout, stderr })
    }
}

/// Reads to the end and keeps the beginning: the agent decides how much git has to say about its tree.
fn beginning(from: Option<impl Read>) -> String {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        // What was read before an error is still worth telling.
        let _ = from.by_ref().take(limits::ERROR_BYTES as u64).read_to_end(&mut kept);
        let _ = io::copy(&mut from, &mut io::sink());
    }
    errors::plain(&String::from_utf8_lossy(&kept))
}

/// Reads the report from an outbox: a small regular file, not a link.
pub(super) fn read_report(outbox: &Path) -> Option<Report> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_only_the_beginning_is_kept() {
        let mut flood = io::Cursor::new(vec![b'x'; 10 * limits::ERROR_BYTES]);
        assert_eq!(beginning(Some(&mut flood)).len(), limits::ERROR_BYTES);
        assert_eq!(flood.position(), 10 * limits::ERROR_BYTES as u64, "its writer is not left waiting");
    }
}
