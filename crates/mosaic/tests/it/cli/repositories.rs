//! Answers of the commands about the directory that they are called in.

use std::process::Command;

use super::parts;

#[test]
fn a_repository_without_a_working_tree_is_told_from_none() {
    let dir = tempfile::tempdir().unwrap();
    let bare = dir.path().join("bare.git");
    let made = Command::new("git").args(["init", "-q", "--bare"]).arg(&bare).status().unwrap();
    assert!(made.success());
    let in_bare = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mosaic"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", dir.path()).env("MOSAIC_DATA_DIR", dir.path()).current_dir(&bare);
        parts(command.args(args).stdin(std::process::Stdio::null()).output().unwrap())
    };
    for args in [["run", "x"], ["spawn", "x"]] {
        let (output, _, err) = in_bare(&args);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(err.contains("bare repository") && err.contains("git clone"), "{err}");
    }
    std::fs::write(dir.path().join(".gitconfig"), "[core broken\n").unwrap();
    let (output, _, err) = in_bare(&["run", "x"]);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("bad config line 1") && err.contains(".gitconfig"), "git's own words: {err}");
}
