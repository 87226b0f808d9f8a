//! Toolchain: which programs a gate would find. Their files stand for their versions: asking each program for its version would
//! take longer than many gates do.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Programs of which a gate's result may depend.
const TOOLS: &[&str] = &[
    "bash",
    "bun",
    "bundle",
    "c++",
    "cargo",
    "cargo-clippy",
    "cargo-llvm-cov",
    "cargo-nextest",
    "cc",
    "clang",
    "clippy-driver",
    "cmake",
    "composer",
    "coverage",
    "deno",
    "dotnet",
    "eslint",
    "flake8",
    "g++",
    "gcc",
    "git",
    "go",
    "golangci-lint",
    "gradle",
    "java",
    "javac",
    "just",
    "make",
    "mvn",
    "mypy",
    "node",
    "npm",
    "npx",
    "php",
    "pip",
    "pip3",
    "pnpm",
    "poetry",
    "pyright",
    "pytest",
    "python",
    "python3",
    "ruby",
    "ruff",
    "rustc",
    "rustup",
    "sh",
    "tox",
    "tsc",
    "uv",
    "yarn",
];
/// Files by which version managers choose, below the directory that a variable names.
const CHOICES: &[(&str, &[&str])] = &[
    ("RUSTUP_HOME", &["settings.toml", "toolchains", "update-hashes"]),
    ("PYENV_ROOT", &["version", "versions"]),
    ("NVM_DIR", &["alias/default"]),
    ("VOLTA_HOME", &["tools/user/platform.json"]),
    ("RBENV_ROOT", &["version", "versions"]),
    ("GOROOT", &["VERSION"]),
    ("JAVA_HOME", &["release"]),
];

/// Programs and variables that gates get, as far as they are the same for every run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toolchain {
    /// The `PATH`.
    pub path: String,
    /// Variables of the server's environment that are passed on.
    pub passed: Vec<(String, String)>,
}

impl Toolchain {
    /// Returns the file of a program that the `PATH` leads to.
    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        let mut places =
            std::env::split_paths(&self.path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program));
        places.find(|path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
    }

    /// Returns what stands for the versions: it changes when a program is updated, added or removed, or another version of it
    /// is chosen.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(std::env::consts::ARCH);
        for name in TOOLS {
            let Some(file) = self.find(name) else { continue };
            // Where a manager's shim is meant, the link leads to the manager; its choice is below.
            let file = file.canonicalize().unwrap_or(file);
            hash.update(format!("\n{name} {} ", file.display()));
            add(&mut hash, &file);
        }
        for (name, value) in &self.passed {
            hash.update(format!("\n{name}={value}"));
            let chosen =
                CHOICES.iter().find(|(manager, _)| manager == name).map_or(&[][..], |(_, files)| files);
            chosen.iter().for_each(|file| add(&mut hash, &Path::new(value).join(file)));
        }
        base16ct::lower::encode_string(&hash.finalize()[..16])
    }
}

fn add(hash: &mut Sha256, file: &Path) {
    let state =
        |meta: Metadata| format!("{} {} {} {}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    hash.update(fs::metadata(file).map_or_else(|_| "-".to_owned(), state));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn another_version_of_a_program_is_another_toolchain() {
        let home = tempfile::tempdir().unwrap();
        let chain = Toolchain { path: home.path().display().to_string(), passed: Vec::new() };
        let without = chain.fingerprint();
        let node = home.path().join("node");
        fs::write(&node, "one").unwrap();
        fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
        let first = chain.fingerprint();
        assert_eq!(first, chain.fingerprint());
        fs::write(&node, "another").unwrap();
        assert_eq!(
            [without.clone(), first.clone(), chain.fingerprint()]
                .into_iter()
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            3
        );
    }

    #[test]
    fn the_choice_of_a_version_manager_counts() {
        let home = tempfile::tempdir().unwrap();
        let passed = vec![("RUSTUP_HOME".to_owned(), home.path().display().to_string())];
        let chain = Toolchain { path: String::new(), passed };
        let before = chain.fingerprint();
        fs::write(home.path().join("settings.toml"), "default_toolchain = \"stable\"").unwrap();
        assert_ne!(before, chain.fingerprint());
    }
}
