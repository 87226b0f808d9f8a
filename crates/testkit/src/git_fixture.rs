//! Sample repositories and bare remotes for tests: a temporary directory with a bare remote whose `main` has a few
//! files, and the git program in a clean environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A bare remote and a place to commit to it from. Everything is removed when it is dropped.
pub struct Fixture {
    dir: TempDir,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// Makes the remote with a `main` branch of a few files. Panics when git does not work.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fixture = Self { dir };
        fixture.run(fixture.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"]);
        fixture.run(fixture.path(), &["clone", "--quiet", "remote.git", "work"]);
        fixture.run(&fixture.work(), &["checkout", "--quiet", "-B", "main"]);
        fixture.commit_on(
            "main",
            &[
                ("README.md", "# sample\n"),
                ("src/lib.txt", "one\ntwo\nthree\n"),
                (".gitignore", "ignored/\n*.tmp\n"),
            ],
        );
        fixture
    }

    /// The fixture's own directory: free for canaries and data directories.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The bare remote.
    pub fn remote(&self) -> PathBuf {
        self.dir.path().join("remote.git")
    }

    /// The remote's address.
    pub fn url(&self) -> String {
        self.remote().to_string_lossy().into_owned()
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Commits these files on a branch of the remote (made from the current one when missing) and returns the commit.
    pub fn commit_on(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let work = self.work();
        if self.try_run(&work, &["checkout", "--quiet", branch]).is_none() {
            self.run(&work, &["checkout", "--quiet", "-b", branch]);
        }
        for (path, text) in files {
            let path = work.join(path);
            std::fs::create_dir_all(path.parent().expect("a file has a directory"))
                .expect("make a directory");
            std::fs::write(path, text).expect("write a file");
        }
        self.run(&work, &["add", "--all"]);
        self.run(&work, &["commit", "--quiet", "--allow-empty", "-m", &format!("change on {branch}")]);
        self.run(&work, &["push", "--quiet", "origin", branch]);
        self.run(&work, &["rev-parse", "HEAD"])
    }

    /// Reads a file of a branch on the remote.
    pub fn read_branch_file(&self, branch: &str, path: &str) -> Option<String> {
        let out = self.output(&self.remote(), &["cat-file", "blob", &format!("refs/heads/{branch}:{path}")]);
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Lists the remote's branches.
    pub fn branches(&self) -> Vec<String> {
        let text = self.run(&self.remote(), &["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        text.lines().map(str::to_owned).collect()
    }

    /// The tip of a branch on the remote.
    pub fn tip(&self, branch: &str) -> Option<String> {
        self.try_run(&self.remote(), &["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")])
    }

    /// Runs git and returns its trimmed output. Panics when it fails.
    pub fn run(&self, dir: &Path, args: &[&str]) -> String {
        let out = self.output(dir, args);
        assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Runs git; `None` when it fails.
    pub fn try_run(&self, dir: &Path, args: &[&str]) -> Option<String> {
        let out = self.output(dir, args);
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    fn output(&self, dir: &Path, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command.args(args).current_dir(dir).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "Fixture")
                .env(format!("GIT_{who}_EMAIL"), "fixture@example.com");
        }
        command.output().expect("git starts")
    }
}
