//! The repository in which a command was typed, asked with the operator's own git and configuration: which branch,
//! which remote, what is not committed. The server's git is another matter and lives in the adapters.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use mosaic_adapters::git::forget_repository;
use mosaic_core::limits;

use crate::problem::Problem;
use crate::sanitize;

/// Largest answer of git that is read, in bytes.
const ANSWER_BYTES: u64 = 8 * 1024 * 1024;
/// Changed files that are named.
const NAMED: usize = 10;

/// Output and exit of a child process.
pub(crate) struct Ran {
    /// It ended with status 0.
    pub(crate) ok: bool,
    /// Standard output.
    pub(crate) out: Vec<u8>,
    /// Standard error, as text.
    pub(crate) err: String,
}

impl Ran {
    /// Returns the first line of standard output.
    pub(crate) fn line(&self) -> String {
        String::from_utf8_lossy(&self.out).lines().next().unwrap_or("").trim().to_owned()
    }
}

/// Runs a program with a deadline and returns what it printed.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> std::io::Result<Ran> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (tell, told) = mpsc::channel();
    // Both pipes are read at once: a child that fills one of them while the other is read would never come to its end.
    let out = drain(child.stdout.take(), tell.clone());
    let err = drain(child.stderr.take(), tell);
    let mut ended = 0;
    let deadline = std::time::Instant::now() + limit;
    while ended < 2 {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if told.recv_timeout(left).is_err() {
            // The readers are not joined: a process that the child started may hold the pipes open for as long as it
            // likes.
            stop(&mut child);
            return Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("no end after {} s", limit.as_secs()),
            ));
        }
        ended += 1;
    }
    let status = child.wait()?;
    let joined = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Ran {
        ok: status.success(),
        out: joined(out),
        err: String::from_utf8_lossy(&joined(err)).into_owned(),
    })
}

/// Reads a pipe to its end in a thread; what is above the bound is read and dropped.
fn drain(
    pipe: Option<impl Read + Send + 'static>,
    tell: mpsc::Sender<()>,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has ended, and that is all that is to be known.
            let _ = pipe.by_ref().take(ANSWER_BYTES).read_to_end(&mut kept);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        let _ = tell.send(());
        kept
    })
}

fn stop(child: &mut Child) {
    // It may have ended just now; either way it is gone afterwards.
    let _ = child.kill();
    let _ = child.wait();
}

/// Makes a git call about the repository around a directory, whatever repository the caller's environment names: a hook
/// of another repository may have started this program.
fn git(dir: &Path) -> Command {
    // Without the optional locks `git status` does not rewrite the index, where the operator may be working with git as
    // well. The texts that are compared below are those of the C locale.
    let mut command = Command::new("git");
    forget_repository(&mut command)
        .arg("-C")
        .arg(dir)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C");
    command
}

fn ask(dir: &Path, args: &[&str], limit: Duration) -> Result<Ran, Problem> {
    capture(git(dir).args(args), limit).map_err(|e| {
        let hint = (e.kind() == std::io::ErrorKind::NotFound).then_some("install git 2.38 or newer");
        let problem =
            anyhow::Error::new(e).context(format!("git {} did not work", args.first().unwrap_or(&"")));
        Problem::Other(
            hint.map_or(problem, |_| anyhow::anyhow!("git was not found; install git 2.38 or newer")),
        )
    })
}

/// The repository around a directory.
#[derive(Debug, Clone)]
pub(crate) struct LocalRepository {
    /// Its top directory.
    pub(crate) root: PathBuf,
}

impl LocalRepository {
    /// Finds the repository around the working directory; `None` when there is none.
    pub(crate) fn here() -> Result<Option<Self>, Problem> {
        let here = std::env::current_dir()
            .map_err(|e| anyhow::Error::new(e).context("the working directory is gone"))?;
        let ran = ask(&here, &["rev-parse", "--show-toplevel"], limits::GIT_LOCAL)?;
        if ran.err.contains("dubious ownership") {
            return Err(Problem::NotAllowed {
                what: "git refuses this repository: it belongs to another user".to_owned(),
                hint: Some("if you trust it: git config --global --add safe.directory \"$PWD\"".to_owned()),
            });
        }
        if ran.ok && !ran.out.is_empty() {
            return Ok(Some(Self { root: PathBuf::from(ran.line()) }));
        }
        if ran.err.contains("not a git repository") {
            return Ok(None);
        }
        Err(without_tree(&ran.err))
    }

    fn ask(&self, args: &[&str]) -> Result<Ran, Problem> {
        ask(&self.root, args, limits::GIT_LOCAL)
    }

    /// Returns the branch that HEAD is on; `None` when it is detached.
    pub(crate) fn current_branch(&self) -> Result<Option<String>, Problem> {
        // A short name says `heads/main` where a tag has the same name.
        let ran = self.ask(&["symbolic-ref", "--quiet", "HEAD"])?;
        Ok(ran.ok.then(|| ran.line()).map(|name| name.trim_start_matches("refs/heads/").to_owned()))
    }

    /// Returns the commit of HEAD; `None` when there is none yet.
    pub(crate) fn head(&self) -> Result<Option<String>, Problem> {
        let ran = self.ask(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?;
        Ok(ran.ok.then(|| ran.line()))
    }

    /// Returns the commit that a name stands for, and a branch that holds it: the current one where it does.
    pub(crate) fn commit_and_branch(&self, name: &str) -> Result<(String, String), Problem> {
        let asked = format!("{name}^{{commit}}");
        let ran = self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &asked])?;
        let commit = Some(ran.line()).filter(|commit| ran.ok && !commit.is_empty());
        let commit = commit.ok_or_else(|| {
            Problem::usage_hint(
                format!("{} names no commit here", sanitize::line(name)),
                "look for one: git log --oneline",
            )
        })?;
        let listed =
            self.ask(&["for-each-ref", "--format=%(refname:lstrip=2)", "--contains", &commit, "refs/heads"])?;
        let text = String::from_utf8_lossy(&listed.out).into_owned();
        let current = self.current_branch()?;
        let holds = |branch: &&str| current.as_deref() == Some(*branch);
        let branch = text.lines().find(holds).or_else(|| text.lines().next());
        let branch = branch.map(str::to_owned).ok_or_else(|| {
            Problem::usage_hint(
                "no branch here holds that commit",
                format!("make one: git branch NAME {commit}"),
            )
        })?;
        Ok((commit, branch))
    }

    /// Returns the address of the remote `origin`.
    pub(crate) fn origin(&self) -> Result<Option<String>, Problem> {
        let ran = self.ask(&["remote", "get-url", "origin"])?;
        Ok(ran.ok.then(|| ran.line()).filter(|url| !url.is_empty()))
    }

    /// Returns the branch to start from on `origin`: the current one when origin has it, else origin's default,
    /// else the current one.
    pub(crate) fn origin_branch(&self) -> Result<Option<String>, Problem> {
        let current = self.current_branch()?;
        if let Some(branch) = &current {
            let known =
                self.ask(&["show-ref", "--verify", "--quiet", &format!("refs/remotes/origin/{branch}")])?;
            if known.ok {
                return Ok(current);
            }
        }
        let ran = self.ask(&["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"])?;
        let default = ran.ok.then(|| ran.line().trim_start_matches("refs/remotes/origin/").to_owned());
        Ok(default.filter(|branch| !branch.is_empty()).or(current))
    }

    /// Returns one line that names what is not committed; `None` when everything is.
    pub(crate) fn uncommitted(&self) -> Result<Option<String>, Problem> {
        let ran = self.ask(&["status", "--porcelain=v1", "-z", "--untracked-files=normal"])?;
        if !ran.ok {
            return Err(Problem::Other(anyhow::anyhow!(
                "git status did not work: {}",
                sanitize::first_line(&ran.err, 200)
            )));
        }
        Ok(name_changes(&ran.out))
    }

    /// Lists the files in the commit of HEAD; none when there is no commit yet.
    pub(crate) fn files_at_head(&self) -> Result<Vec<String>, Problem> {
        let ran = self.ask(&["ls-tree", "-r", "-z", "--name-only", "--full-tree", "HEAD"])?;
        let names = ran.out.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Returns the content of a file in the commit of HEAD; `None` when it has no such file.
    pub(crate) fn file_at_head(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        let ran = self.ask(&["cat-file", "blob", &format!("HEAD:{path}")])?;
        Ok(ran.ok.then_some(ran.out))
    }

    /// Pushes a branch to `origin`, with the operator's git, prompts and all.
    pub(crate) fn push(&self, branch: &str) -> Result<(), Problem> {
        let refspec = format!("refs/heads/{branch}:refs/heads/{branch}");
        let mut command = Command::new("git");
        forget_repository(&mut command).arg("-C").arg(&self.root);
        command.args(["push", "origin"]).arg(refspec).stdout(Stdio::null());
        let status = command.status().map_err(|e| anyhow::Error::new(e).context("git push did not start"))?;
        if status.success() {
            return Ok(());
        }
        let again = format!("git push origin {branch}");
        Err(Problem::Other(anyhow::anyhow!(
            "git push to origin failed; the branch is in this repository: {again}"
        )))
    }
}

/// Says why git names no working tree where it does find a repository or fails before it looks for one.
fn without_tree(err: &str) -> Problem {
    if err.contains("must be run in a work tree") {
        return Problem::usage_hint(
            "this is a bare repository or a git directory: it has no working tree to start from",
            "go into a clone of it (git clone PATH), or name it to a server: --repo PATH --branch NAME",
        );
    }
    let words = sanitize::first_line(err, 200);
    Problem::usage_hint(format!("git cannot be asked about this directory: {words}"), "mend that first")
}

/// Asks a remote for its default branch, without prompts.
pub(crate) fn default_branch(url: &str) -> Result<String, Problem> {
    let here = Path::new(".");
    let ran = ask(here, &["ls-remote", "--symref", "--", url, "HEAD"], Duration::from_secs(30))?;
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    let branch = text.lines().find_map(|line| line.strip_prefix("ref: refs/heads/")?.split('\t').next());
    match branch {
        Some(branch) if ran.ok => Ok(branch.to_owned()),
        _ => Err(Problem::usage_hint(
            format!(
                "the default branch of {} could not be asked: {}",
                sanitize::line(url),
                sanitize::first_line(&ran.err, 200)
            ),
            "name it: --branch main",
        )),
    }
}

/// Names what `git status --porcelain=v1 -z` found.
fn name_changes(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut names = Vec::new();
    let mut parts = text.split('\0');
    while let Some(part) = parts.next() {
        let (Some(code), Some(name)) = (part.get(..2), part.get(3..)) else { continue };
        names.push(sanitize::line(name));
        if code.starts_with(['R', 'C']) {
            // The old name follows in a part of its own.
            parts.next();
        }
    }
    if names.is_empty() {
        return None;
    }
    let mut shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        shown.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_and_renames_count_once() {
        assert_eq!(name_changes(b""), None);
        assert_eq!(name_changes(b" M a.rs\0R  new\0old\0?? x\x1b\0").as_deref(), Some("a.rs, new, x\\x1b"));
        let many: Vec<u8> = (0..12).flat_map(|n| format!("?? f{n}\0").into_bytes()).collect();
        assert!(name_changes(&many).unwrap().ends_with("f9 and 2 more"));
    }

    #[test]
    fn a_child_that_does_not_end_is_stopped() {
        let error = capture(Command::new("sleep").arg("600"), Duration::from_millis(50)).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
