//! Output of gates that ran elsewhere, kept as the gates' logs of the agent.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use mosaic_core::domain::ids::{AgentId, Word};
use mosaic_core::limits;
use mosaic_core::ports::transcripts::Transcripts;

use crate::disk;
use crate::durable_write::WholeFile;

/// Keeps a gate's output and returns the name of its log.
pub(super) async fn keep(
    transcripts: &dyn Transcripts,
    agent: AgentId,
    round: u32,
    gate: &Word,
    mut text: String,
) -> io::Result<String> {
    let name = format!("gate-{round}-{gate}");
    let file = transcripts.log(agent, &name);
    let most = usize::try_from(limits::GATE_LOG_BYTES).unwrap_or(usize::MAX);
    if text.len() > most {
        text = mosaic_core::domain::outcome::cut(text, most);
    }
    disk::run(move || {
        if let Some(directory) = file.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        WholeFile::at(&file).without_sync().write(text.as_bytes())
    })
    .await??;
    Ok(name)
}
