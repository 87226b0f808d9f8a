//! Cargo projects: check, clippy, test or nextest, llvm-cov.

use toml::Table;

use super::project::Project;
use super::{Ecosystem, report};

const MANIFEST: &str = "Cargo.toml";

pub(super) fn detect(project: &Project) -> Option<Ecosystem> {
    if !project.has(MANIFEST) {
        return None;
    }
    let manifest: Table = project.text(MANIFEST).parse().unwrap_or_default();
    let locked = if project.has("Cargo.lock") { " --locked" } else { "" };
    let workspace = if manifest.contains_key("workspace") { " --workspace" } else { "" };
    let scope = format!("{workspace}{locked}");
    let mut found = Ecosystem::of("Cargo.toml");
    found.add("typecheck", format!("cargo check{scope} --all-targets"), MANIFEST);
    found.add("lint", format!("cargo clippy{scope} --all-targets -- -D warnings"), MANIFEST);
    tests(project, &mut found, &scope);
    let coverage = format!("cargo llvm-cov{scope} --lcov --output-path {{reports}}/lcov.info");
    found.add("coverage", coverage, MANIFEST).reports = vec![report("lcov", "{reports}/lcov.info")];
    found.add("build", format!("cargo build{scope} --all-targets"), MANIFEST);
    match project.paths().find(|path| is_integration_test(path)) {
        Some(path) => {
            let run = format!("cargo test{scope} --no-fail-fast --test '*'");
            found.add("integration", run, path).reports = vec![report("libtest", "-")];
        }
        None => {
            found.lacks("integration", "put integration tests into tests/, or declare integration = \"none\"")
        }
    }
    if project.has("Cargo.lock") {
        found.sets_up("cargo fetch --locked", &["Cargo.lock"], &[], "Cargo.lock");
    }
    Some(found)
}

fn tests(project: &Project, found: &mut Ecosystem, scope: &str) {
    let config = project.first(&[".config/nextest.toml"]);
    match config.or_else(|| project.names("nextest").or_else(|| project.names("cargo-nextest"))) {
        Some(reason) => {
            let run = format!("cargo nextest run{scope} --no-fail-fast --retries 0");
            found.add("tests", run, reason).reports = vec![report("nextest", "-")];
        }
        None => {
            let run = format!("cargo test{scope} --no-fail-fast");
            found.add("tests", run, MANIFEST).reports = vec![report("libtest", "-")];
        }
    }
}

/// Tells whether a path is an integration test of the root package or of a member.
fn is_integration_test(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let Some(name) = parts.pop() else { return false };
    let is_directory_test = name == "main.rs" && parts.len() >= 2 && parts[parts.len() - 2] == "tests";
    (name.ends_with(".rs") && parts.last() == Some(&"tests") && !parts.contains(&"src")) || is_directory_test
}
