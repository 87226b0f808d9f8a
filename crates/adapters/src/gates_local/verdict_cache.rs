//! Verdicts that were reached before: the same content of a commit, judged by the same definitions with the same tools on the
//! same base, is not judged again. Only what gates of ours found is remembered, and only where every one of them passed or failed: a
//! gate that could not be judged, or was flaky, may be another time.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use mosaic_core::domain::gates::{GateOutcome, GatePlan, GateReport, Verdict};
use mosaic_core::domain::ids::CommitId;
use mosaic_core::limits;
use sha2::{Digest, Sha256};

use super::cache::{self, GateCache};
use crate::bounded_file;
use crate::durable_write::WholeFile;

/// Directory of the verdicts in the cache.
const DIRECTORY: &str = "verdicts";
/// Form of the key and of the file: another build must not read what it would understand differently.
const FORM: &str = "1";

/// Everything that a verdict depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VerdictKey(String);

impl VerdictKey {
    /// Returns the key; `None` for a plan of which nothing is run.
    pub(super) fn of(
        tree: &str,
        base: &CommitId,
        plan: &GatePlan,
        toolchain: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        if !plan.trusted || plan.gates.is_empty() {
            return None;
        }
        // A quarantine ends on a day.
        let day =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
        let day = (!plan.quarantine.is_empty()).then_some(day);
        // Their values may decide as much as the commands do; only a digest of all leaves this function.
        let values: Vec<_> =
            plan.gates.iter().flat_map(|gate| &gate.env).map(|name| variable(name)).collect();
        let definition =
            (&plan.gates, &plan.setup, &plan.quarantine, &plan.undefined, &plan.declared_none, day, values);
        let all = serde_json::to_vec(&(FORM, tree, base, definition, toolchain)).ok()?;
        Some(Self(base16ct::lower::encode_string(&Sha256::digest(all)[..16])))
    }

    fn file(&self, cache: &GateCache) -> std::path::PathBuf {
        cache.file(DIRECTORY, &format!("{}.json", self.0))
    }
}

/// Returns the report on this commit when it is known. A red one is believed for a shorter time, because what made it red may
/// have been the network.
pub(super) fn find(cache: &GateCache, key: &VerdictKey, commit: &CommitId) -> Option<GateReport> {
    let file = key.file(cache);
    let text = bounded_file::read_text(&file, limits::GATE_VERDICT_BYTES).ok()?;
    let mut report: GateReport = serde_json::from_str(&text).ok()?;
    let written = fs::metadata(&file).and_then(|meta| meta.modified()).ok()?;
    let old = SystemTime::now().duration_since(written).unwrap_or_default();
    let most = if report.verdict == Verdict::Failed { limits::RED_VERDICT_AGE } else { cache.age() };
    if old > most {
        return None;
    }
    report.commit = commit.clone();
    for result in &mut report.results {
        result.cached = true;
        // It is among the logs of another judgement, which may be gone.
        result.log = None;
    }
    Some(report)
}

/// Remembers a report.
pub(super) fn keep(cache: &GateCache, key: &VerdictKey, report: &GateReport) -> io::Result<()> {
    let judged = |outcome| matches!(outcome, GateOutcome::Pass | GateOutcome::Fail);
    if report.results.is_empty() || !report.results.iter().all(|result| judged(result.outcome)) {
        return Ok(());
    }
    let text = serde_json::to_vec(report).map_err(io::Error::other)?;
    if text.len() as u64 > limits::GATE_VERDICT_BYTES {
        return Ok(());
    }
    let file = key.file(cache);
    let directory = file.parent().unwrap_or(Path::new("."));
    cache::private(directory)?;
    WholeFile::at(&file).without_sync().write(&text)?;
    bound(directory)
}

/// Removes the oldest verdicts when there are too many.
fn bound(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)?.take(2 * limits::GATE_VERDICTS).flatten() {
        let changed = entry.metadata().and_then(|meta| meta.modified());
        files.push((changed.unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
    }
    if files.len() <= limits::GATE_VERDICTS {
        return Ok(());
    }
    // A part at once, so that not every verdict has to look for the one that goes.
    files.sort();
    for (_, file) in files.iter().take(limits::GATE_VERDICTS / 4) {
        let _ = fs::remove_file(file);
    }
    Ok(())
}
