//! The environment of a Python project: which interpreter runs its tools, and how its dependencies are installed.

use toml::Table;

use super::DetectedSetup;
use super::project::{Project, has_word, is_requirements};
use mosaic_core::domain::gates::SetupDefinition;
use mosaic_core::limits;

/// Groups of optional dependencies that are for development.
const EXTRAS: &[&str] = &["dev", "test", "tests", "testing", "lint", "typing"];
/// Files of requirements that are for documents or for publishing.
const FOREIGN: &[&str] = &["doc", "release", "publish", "build", "min"];

/// The interpreter and the command that makes it ready.
pub(super) struct Environment {
    /// The interpreter, as gates name it.
    pub(super) python: &'static str,
    /// The setup; `None` where the standard library is enough.
    pub(super) setup: Option<DetectedSetup>,
}

/// Detects it. `tools` are the modules that the gates run.
pub(super) fn detect(project: &Project, pyproject: &Table, manifest: &str, tools: &[&str]) -> Environment {
    let inputs = |lock: &str| -> Vec<String> {
        let known = ["pyproject.toml", "setup.cfg", "setup.py"].into_iter().filter(|path| project.has(path));
        let mut inputs: Vec<String> = known.map(str::to_owned).collect();
        inputs.extend(project.paths().filter(|path| is_requirements(path)).map(str::to_owned));
        inputs.extend(Some(lock.to_owned()).filter(|lock| !lock.is_empty()));
        inputs
    };
    let made = |run: String, inputs: Vec<String>, reason: &str| {
        let timeout_ms = u64::try_from(limits::GATE.as_millis()).unwrap_or(u64::MAX);
        let definition = SetupDefinition { run, timeout_ms, inputs, outputs: vec![".venv".to_owned()] };
        Environment {
            python: ".venv/bin/python",
            setup: Some(DetectedSetup { definition, reason: reason.to_owned() }),
        }
    };
    if project.has("uv.lock") {
        let run = "uv sync --frozen --no-editable --all-extras --all-groups";
        return made(run.to_owned(), inputs("uv.lock"), "uv.lock");
    }
    let (installs, reason) = installs(project, pyproject, manifest);
    // A tool that only a configuration or a job of CI names is installed by its name.
    let texts: Vec<&str> =
        project.texts().filter(|(path, _)| is_installed_from(path)).map(|(_, text)| text).collect();
    let is_listed = |tool: &&&str| !texts.iter().any(|text| is_dependency(text, tool));
    let unlisted: Vec<&str> = tools.iter().filter(is_listed).copied().collect();
    let mut steps: Vec<String> = installs;
    if !unlisted.is_empty() {
        steps.push(format!(".venv/bin/python -m pip install -q {}", unlisted.join(" ")));
    }
    if steps.is_empty() {
        return Environment { python: "python3", setup: None };
    }
    steps.insert(0, "python3 -m venv .venv".to_owned());
    made(steps.join(" && "), inputs(""), &reason)
}

fn is_installed_from(path: &str) -> bool {
    ["pyproject.toml", "setup.cfg", "setup.py"].contains(&path) || is_requirements(path)
}

/// Tells whether a text lists a tool as a dependency, and not only configures it.
fn is_dependency(text: &str, tool: &str) -> bool {
    let is_configuration = |line: &str| line.trim_start().starts_with('[') && !line.contains('"');
    text.lines().any(|line| {
        let named = has_word(line, tool) || (tool == "coverage" && has_word(line, "pytest-cov"));
        named && !is_configuration(line)
    })
}

/// Returns the commands that install what the project lists, and where it does.
fn installs(project: &Project, pyproject: &Table, manifest: &str) -> (Vec<String>, String) {
    let pip = ".venv/bin/python -m pip install -q";
    let mut steps = Vec::new();
    let mut reason = manifest.to_owned();
    let is_wanted = |path: &&str| is_requirements(path) && !FOREIGN.iter().any(|word| path.contains(word));
    let files: Vec<String> = project.paths().filter(is_wanted).map(|path| format!("-r {path}")).collect();
    if !files.is_empty() {
        steps.push(format!("{pip} {}", files.join(" ")));
        reason = files[0].trim_start_matches("-r ").to_owned();
    }
    let is_package = pyproject.contains_key("project") || pyproject.contains_key("build-system");
    if is_package || project.has("setup.py") {
        // Not editable: the environment is copied to other trees, and an editable one would lead back to the first.
        let extras = extras(project, pyproject);
        let bracket = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
        steps.push(format!("{pip} '.{bracket}'"));
    }
    let groups = groups(pyproject);
    if !groups.is_empty() {
        // Groups are read by pip 25.1 and newer; interpreters bring older ones.
        let groups: Vec<String> = groups.iter().map(|group| format!("--group {group}")).collect();
        steps.push(format!("{pip} --upgrade pip && {pip} {}", groups.join(" ")));
    }
    (steps, reason)
}

fn extras(project: &Project, pyproject: &Table) -> Vec<&'static str> {
    let declared = pyproject.get("project").and_then(|p| p.get("optional-dependencies"));
    let in_cfg = |extra: &str| {
        let options = project.text("setup.cfg").split("[options.extras_require]").nth(1);
        let section = options.map(|rest| rest.split("\n[").next().unwrap_or(rest));
        section.is_some_and(|section| {
            section.lines().any(|line| {
                line.split('=').next().is_some_and(|name| name == extra || name.trim_end() == extra)
            })
        })
    };
    let is_known =
        |extra: &&&str| declared.is_some_and(|table| table.get(**extra).is_some()) || in_cfg(extra);
    EXTRAS.iter().filter(is_known).copied().collect()
}

fn groups(pyproject: &Table) -> Vec<&'static str> {
    let declared = pyproject.get("dependency-groups");
    EXTRAS
        .iter()
        .filter(|group| declared.is_some_and(|table| table.get(**group).is_some()))
        .copied()
        .collect()
}
