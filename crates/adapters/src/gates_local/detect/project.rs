//! The files of a project that say how it is judged, read once and bounded.

use std::collections::{BTreeMap, BTreeSet};

use mosaic_core::domain::outcome::Failure;
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::BaseFiles;

/// Manifests at the root of a project.
const MANIFESTS: &[&str] = &[
    "Cargo.toml",
    "package.json",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "tox.ini",
    "noxfile.py",
    "pytest.ini",
    "Pipfile",
    "go.mod",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "justfile",
    "Justfile",
    ".pre-commit-config.yaml",
    ".gitlab-ci.yml",
];
/// Workflows that are read: they name tools.
const WORKFLOWS: usize = 8;
/// Test files that are read to tell how they are run.
const TEST_FILES: usize = 16;

/// Paths of a commit and the texts of its manifests.
#[derive(Debug, Default)]
pub(in crate::gates_local) struct Project {
    paths: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

impl Project {
    /// Reads what detection looks at. A file that is no text or larger than a manifest may be counts as empty.
    pub(in crate::gates_local) async fn read(files: &dyn BaseFiles) -> Result<Self, Failure> {
        let paths: BTreeSet<String> = files.paths().await?.into_iter().collect();
        let mut project = Self { paths, texts: BTreeMap::new() };
        for path in project.wanted() {
            let Some(bytes) = files.read(&path).await? else { continue };
            if bytes.len() > limits::GATE_CONFIG_BYTES {
                continue;
            }
            if let Ok(text) = String::from_utf8(bytes) {
                project.texts.insert(path, text);
            }
        }
        // Scripts that a test target runs tell which results it prints.
        for path in super::make::scripts(&project) {
            if let Some(Ok(text)) = files.read(&path).await?.map(String::from_utf8) {
                project.texts.insert(path, text);
            }
        }
        Ok(project)
    }

    fn wanted(&self) -> Vec<String> {
        let is_manifest = |path: &&String| MANIFESTS.contains(&path.as_str()) || is_requirements(path);
        let is_workflow = |path: &&String| path.starts_with(".github/workflows/");
        let manifests = self.paths.iter().filter(is_manifest);
        let workflows = self.paths.iter().filter(is_workflow).take(WORKFLOWS);
        let tests = self.paths.iter().filter(|path| is_telling_test(path)).take(TEST_FILES);
        manifests.chain(workflows).chain(tests).cloned().collect()
    }

    /// Tells whether the commit has a file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Tells whether the commit has files below a directory.
    pub(super) fn has_below(&self, directory: &str) -> bool {
        let prefix = format!("{directory}/");
        self.paths.range(prefix.clone()..).next().is_some_and(|path| path.starts_with(&prefix))
    }

    /// Returns the paths of the commit.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Returns the text of a file that detection reads; empty when there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// Returns the texts that detection read, with their paths.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Returns the first file of the list that the commit has.
    pub(super) fn first<'a>(&self, paths: &[&'a str]) -> Option<&'a str> {
        paths.iter().copied().find(|path| self.has(path))
    }

    /// Returns the file in which a tool is named as a word of its own: a dependency, a configuration, a job of CI.
    pub(super) fn names(&self, tool: &str) -> Option<&str> {
        self.texts().find(|(path, text)| !path.ends_with(".py") && has_word(text, tool)).map(|(path, _)| path)
    }

    /// Returns text of the files whose commands are run by name: a change of them is a change of what is run.
    pub(in crate::gates_local) fn scripts_of(&self, commands: &[&str]) -> Vec<(&str, &str)> {
        let runs = |words: &[&str]| commands.iter().any(|run| words.iter().any(|word| has_word(run, word)));
        let mut found = Vec::new();
        if runs(&["npm", "npx", "pnpm", "yarn"]) {
            found.push("package.json");
        }
        if runs(&["make"]) {
            found.extend(["GNUmakefile", "makefile", "Makefile"]);
        }
        if runs(&["just"]) {
            found.extend(["justfile", "Justfile"]);
        }
        found.into_iter().map(|path| (path, self.text(path))).filter(|(_, text)| !text.is_empty()).collect()
    }
}

/// Tells whether a file lists requirements of a Python project.
pub(super) fn is_requirements(path: &str) -> bool {
    let name = path.strip_prefix("requirements/").unwrap_or(path);
    path.ends_with(".txt")
        && !name.contains('/')
        && (path.starts_with("requirements") || path.ends_with("requirements.txt"))
}

/// Tells whether a test file says how it is run: by a build tag or by what it imports.
fn is_telling_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let tagged = path.contains("integration") || path.contains("e2e");
    (name.ends_with("_test.go") && tagged) || (name.starts_with("test_") && name.ends_with(".py"))
}

/// Tells whether a text has a word that is not part of a longer name.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}
