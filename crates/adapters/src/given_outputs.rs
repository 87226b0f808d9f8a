//! Note of the paths in an agent's tree that its setup made: they are no work of the agent's, and neither its commits nor what
//! is kept of it hold them. It lies beside the tree, where the agent's tools do not look.

use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::limits;

use crate::bounded_file;
use crate::durable_write::WholeFile;

/// Name of the note in an agent's directory.
pub(crate) const NAME: &str = "tree.outputs";

/// Writes the note.
pub(crate) fn note(agent: &Path, outputs: &[String]) -> io::Result<()> {
    let text = serde_json::to_vec(outputs).map_err(io::Error::other)?;
    WholeFile::at(&agent.join(NAME)).without_sync().write(&text)
}

/// Reads the note; a tree without one was given nothing.
pub(crate) fn read(agent: &Path) -> Vec<PathBuf> {
    let text = bounded_file::read_text(&agent.join(NAME), limits::GATE_CACHE_NOTE_BYTES).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}
