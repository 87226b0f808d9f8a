//! Separation of gates from what judges them, as the configuration has it.

use std::path::Path;
use std::sync::Arc;

use mosaic_adapters::gates_local::VariableLookup;
use mosaic_adapters::isolation::Isolator;
use mosaic_adapters::secret_scan::KnownSecrets;
use mosaic_adapters::short_dirs::ShortDirs;
use mosaic_core::limits;

use super::known;
use crate::agent_env;
use crate::config::{Config, GateIsolation, real_env};

/// Makes the isolator of gates. Nothing is tried out yet.
pub(super) fn isolator(config: &Config, self_exe: &Path, data: &Path, short: &Arc<ShortDirs>) -> Isolator {
    if config.gate_isolation == GateIsolation::Off {
        return Isolator::off("MOSAIC_GATE_ISOLATION=off");
    }
    let program = vec![self_exe.display().to_string(), "shim".to_owned()];
    let tasks = u64::from(config.agent_processes) * u64::from(limits::TASKS_PER_PROCESS);
    // Where the short directories cannot be made, the first agent says so.
    let hidden = std::iter::once(data.to_owned()).chain(short.root()).collect();
    let shown = config.gate_paths.clone();
    Isolator::new(program, config.uid_range).hiding(hidden).showing(shown).with_tasks(tasks)
}

/// Returns how many gates of one judgement run at once: each of them keeps a core busy.
pub(super) fn gates_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns the look-up of the operator's variables that gates ask for. What carries the server's own secrets is never given out, and
/// a secret among the others is masked wherever a gate repeats it.
pub(super) fn variable(known: &Arc<KnownSecrets>) -> VariableLookup {
    let known = Arc::clone(known);
    Arc::new(move |name| {
        let value = real_env(name).filter(|_| agent_env::refused(name).is_none())?.into_string().ok()?;
        for (name, secret) in agent_env::secrets(&[(name.to_owned(), value.clone())]) {
            known::learn(&known, &name, &secret);
        }
        Some(value)
    })
}
