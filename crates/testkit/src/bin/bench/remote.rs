//! A fresh remote: a bare repository with a few small files and one trivial gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// Files of the remote, beside the gates' configuration.
const FILES: usize = 20;

/// Makes the remote below `dir` and returns the bare repository's path.
pub(crate) fn make(dir: &Path) -> Outcome<PathBuf> {
    let source = dir.join("source");
    let bare = dir.join("remote.git");
    fs::create_dir_all(source.join(".mosaic"))?;
    fs::create_dir_all(source.join("src"))?;
    fs::write(source.join(".mosaic/config.toml"), "[gates]\ntests = \"true\"\n")?;
    for number in 0..FILES {
        let text: String = (0..40).map(|line| format!("line {line} of file {number}\n")).collect();
        fs::write(source.join(format!("src/file-{number}.txt")), text)?;
    }
    git(dir, &["init", "--quiet", "--bare", "--initial-branch=main", "remote.git"])?;
    git(&source, &["init", "--quiet", "--initial-branch=main"])?;
    git(&source, &["add", "--all"])?;
    git(&source, &["commit", "--quiet", "-m", "Start"])?;
    git(&source, &["push", "--quiet", &bare.to_string_lossy(), "main"])?;
    fs::remove_dir_all(&source)?;
    Ok(bare)
}

/// Counts the branches of a repository below a prefix.
pub(crate) fn branches(bare: &Path, below: &str) -> Outcome<usize> {
    let listed = git(bare, &["for-each-ref", "--format=%(refname)", &format!("refs/heads/{below}")])?;
    Ok(listed.lines().count())
}

/// Makes branches of a repository below a prefix, all at main.
pub(crate) fn add_branches(bare: &Path, below: &str, count: usize) -> Outcome<()> {
    let tip = git(bare, &["rev-parse", "refs/heads/main"])?;
    let tip = tip.trim();
    let lines: String = (0..count).map(|n| format!("{tip} refs/heads/{below}{n:06}\n")).collect();
    // In one file, as a server has them that packs its refs.
    git(bare, &["pack-refs", "--all"])?;
    let packed = bare.join("packed-refs");
    let known = fs::read_to_string(&packed)?;
    let mut all: Vec<&str> =
        known.lines().chain(lines.lines()).filter(|line| !line.starts_with('#')).collect();
    all.sort_by_key(|line| line.split_once(' ').map(|(_, name)| name));
    let header = "# pack-refs with: peeled fully-peeled sorted ";
    Ok(fs::write(packed, format!("{header}\n{}\n", all.join("\n")))?)
}

/// Deletes the branches of a repository below a prefix.
pub(crate) fn delete_branches(bare: &Path, below: &str) -> Outcome<()> {
    let listed = git(bare, &["for-each-ref", "--format=%(refname)", &format!("refs/heads/{below}")])?;
    for name in listed.lines() {
        git(bare, &["update-ref", "-d", name])?;
    }
    Ok(())
}

/// The environment of every git process that is not the server's: an identity, nobody's settings, and no work in the
/// background, which the server's own git does not do either.
pub(crate) fn environment(command: &mut Command, home: &Path) {
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_COUNT", "2");
    command.env("GIT_CONFIG_KEY_0", "gc.auto").env("GIT_CONFIG_VALUE_0", "0");
    command.env("GIT_CONFIG_KEY_1", "maintenance.auto").env("GIT_CONFIG_VALUE_1", "false");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "Bench")
            .env(format!("GIT_{role}_EMAIL"), "bench@mosaic.invalid");
    }
}

fn git(dir: &Path, args: &[&str]) -> Outcome<String> {
    let mut command = Command::new("git");
    environment(&mut command, dir);
    let output = command.args(args).current_dir(dir).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("git {} failed: {said}", args.join(" ")).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
