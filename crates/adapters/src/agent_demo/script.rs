//! A demo agent's script: a JSON file in the repository, one list of steps per user message of a session.

use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::limits;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The file that marks a repository made by `mosaic demo`, relative to its root.
pub const MARKER: &str = ".mosaic/demo/README";
/// The beginning of that file.
pub const MARKER_TEXT: &str = "This sample repository was made by `mosaic demo`. The scripts beside this file are for its scripted agents.\n";

/// The script of a demo agent: the first list is for the first user message, the second for the next, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoScript {
    /// Lists of steps.
    pub turns: Vec<Vec<DemoStep>>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DemoStep {
    /// Says a text; the last one of a turn is its result.
    Say(String),
    /// Writes a file.
    Write {
        /// Path in the tree.
        path: String,
        /// The whole new content.
        content: String,
    },
    /// Runs a line by `sh -c` in the tree. A failure is shown and the script goes on.
    Run(String),
    /// Commits everything with this message.
    Commit(String),
    /// Waits, in milliseconds.
    WaitMs(u64),
    /// With `true`: ticks twice a second and never ends by itself.
    Loop(bool),
}

/// Returns where a story's script is in a repository; the story is named after the task's slug.
pub fn script_path(story: &str) -> PathBuf {
    PathBuf::from(format!(".mosaic/demo/{story}.json"))
}

/// Tells whether `mosaic demo` made the repository of this tree. Links are not followed.
pub(super) fn is_demo_repository(tree: &Path) -> bool {
    let marker = tree.join(MARKER);
    let plain = std::fs::symlink_metadata(&marker)
        .is_ok_and(|meta| meta.is_file() && meta.len() <= limits::ENTRY_BYTES as u64);
    plain && std::fs::read_to_string(&marker).is_ok_and(|text| text.starts_with(MARKER_TEXT))
}

/// Says why the demo agent does not work here.
pub(super) fn refusal() -> String {
    format!(
        "the demo agent refuses to run on a repository it did not create ({MARKER} is missing); run `mosaic demo`, or \
         choose another runtime with MOSAIC_RUNTIME"
    )
}

/// Reasons why a story has no script.
#[derive(Debug, Error)]
pub(super) enum ScriptError {
    #[error("{0:?} is no name of a story")]
    NoStory(String),
    #[error("there is no script {}: {cause}", path.display())]
    Missing {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the script {} is not valid: {cause}", path.display())]
    Invalid {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
}

/// Reads a story's script.
pub(super) fn load(tree: &Path, story: &str) -> Result<DemoScript, ScriptError> {
    if story.is_empty() || story.contains(['/', '\0']) || story.starts_with('.') {
        return Err(ScriptError::NoStory(story.to_owned()));
    }
    let path = script_path(story);
    match std::fs::read(tree.join(&path)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| ScriptError::Invalid { path, cause }),
        Err(cause) => Err(ScriptError::Missing { path, cause }),
    }
}
