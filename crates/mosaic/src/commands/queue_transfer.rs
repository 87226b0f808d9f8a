//! `mosaic queue export` and `import`: waiting work goes from one store to another, in either direction. Through the server where
//! one answers, else by the store itself.
//!
//! An export first writes what it will take into a journal beside the file, then ends those agents in their store, then
//! writes the file. Broken off anywhere, the same command goes on from the journal: nothing is lost, and nothing is in a
//! whole file that its store could still start.

mod way;

use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::limits;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::transfer::{Arrival, Entry, Unfinished};
use serde::Serialize;
use way::Way;

use crate::exit::Exit;
use crate::problem::Problem;
use crate::queue_file::{self, Head, QueueFile};
use crate::sanitize;
use crate::serve::blocking;
use crate::session::{Session, say};

/// Agents that are ended in one request.
const RELEASED: usize = 500;
/// Agents that a message names.
const NAMED: usize = 5;

/// Result of an export, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    export: String,
    file: Option<PathBuf>,
    exported: usize,
    at_work: usize,
    ordered: usize,
    dry_run: bool,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct ImportedSum {
    entries: usize,
    admitted: usize,
    there: usize,
    ended: Vec<AgentId>,
    busy: Vec<AgentId>,
    refused: Vec<RefusedEntry>,
    dry_run: bool,
}

/// An entry that was not taken, with the reason.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedEntry {
    agent_id: AgentId,
    reason: String,
}

/// Runs `mosaic queue export`.
pub(super) fn export(
    session: &Session,
    file: Option<&Path>,
    embedded: bool,
    dry_run: bool,
) -> Result<Exit, Problem> {
    within(async {
        let way = Way::choose(session, embedded).await?;
        let path = file.map_or_else(
            || Ok(session.data_dir()?.join("queue-export.ndjson")),
            |file| Ok::<_, Problem>(file.to_owned()),
        )?;
        let begun = queue_file::read(&queue_file::journal_of(&path)).map_err(refused)?;
        // With a journal the file is a part of the export that was broken off, and this run writes it again.
        if begun.is_none() && file.is_some() && !dry_run && path.exists() {
            return Err(Problem::Conflict {
                what: format!("{} is there already", path.display()),
                hint: Some("choose another name; what was exported before stays in that file".to_owned()),
            });
        }
        let found = way.unfinished().await?;
        if dry_run {
            let sum = Exported {
                export: String::new(),
                file: None,
                exported: found.waiting.len(),
                at_work: found.at_work.len(),
                ordered: found.ordered.len(),
                dry_run,
            };
            return report_export(session, &way, &sum, &found, true);
        }
        let (head, entries) = take(&way, &path, begun, &found.waiting).await?;
        queue_file::write(&path, &head, &entries, true).map_err(refused)?;
        let mut kept = path.clone();
        if file.is_none() {
            queue_file::lines(&mut io::stdout().lock(), &head, &entries, true).map_err(|e| {
                say(&format!("what was exported is in {}", path.display()));
                Problem::Output(e)
            })?;
            kept = path.with_file_name(format!("queue-export-{}.ndjson", head.export));
            std::fs::rename(&path, &kept).map_err(|e| Problem::Other(e.into()))?;
        }
        // What is in the file needs no journal any more.
        std::fs::remove_file(queue_file::journal_of(&path)).map_err(|e| Problem::Other(e.into()))?;
        way.record(
            session,
            Action::QueueExport,
            &format!("{} agents into {}", entries.len(), kept.display()),
        );
        let sum = Exported {
            export: head.export,
            file: Some(kept),
            exported: entries.len(),
            at_work: found.at_work.len(),
            ordered: found.ordered.len(),
            dry_run,
        };
        report_export(session, &way, &sum, &found, file.is_some())
    })
}

/// Ends in their store what the journal has and what waits now; returns those that did end so.
async fn take(
    way: &Way,
    path: &Path,
    begun: Option<QueueFile>,
    waiting: &[Entry],
) -> Result<(Head, Vec<Entry>), Problem> {
    let (head, mut entries) = match begun {
        Some(begun) => (begun.head, begun.entries),
        None => {
            let now = Timestamp::from(std::time::SystemTime::now());
            (Head::new(fresh_name()?, now, way.message()), Vec::new())
        }
    };
    let known: std::collections::HashSet<AgentId> = entries.iter().map(|entry| entry.agent.id).collect();
    entries.extend(waiting.iter().filter(|entry| !known.contains(&entry.agent.id)).cloned());
    queue_file::write(&queue_file::journal_of(path), &head, &entries, false).map_err(refused)?;
    let ids: Vec<AgentId> = entries.iter().map(|entry| entry.agent.id).collect();
    let mut released = std::collections::HashSet::new();
    for part in ids.chunks(RELEASED) {
        released.extend(way.release(&head.export, part).await?);
    }
    // A slot may have been faster. An entry that did not end for this export must not run in two stores.
    entries.retain(|entry| released.contains(&entry.agent.id));
    Ok((head, entries))
}

fn report_export(
    session: &Session,
    way: &Way,
    sum: &Exported,
    found: &Unfinished,
    may_print: bool,
) -> Result<Exit, Problem> {
    let verb = if sum.dry_run { "would be exported" } else { "exported" };
    let place = sum.file.as_ref().map_or(String::new(), |file| format!(" into {}", file.display()));
    say(&format!("{} waiting agents of {} {verb}{place}", sum.exported, way.message()));
    if !sum.dry_run && sum.exported > 0 {
        say("they have ended there and run where the file is imported: mosaic queue import FILE");
    }
    let some =
        |ids: &[AgentId]| ids.iter().take(NAMED).map(AgentId::to_string).collect::<Vec<_>>().join(", ");
    if sum.ordered > 0 {
        say(&format!("{} stay, because an order ends them: {}", sum.ordered, some(&found.ordered)));
    }
    if sum.at_work > 0 {
        say(&format!(
            "{} are at work, or were when their server ended, and stay: {}; let a server finish them (mosaic drain)",
            sum.at_work,
            some(&found.at_work)
        ));
    }
    if session.global.json && may_print {
        session.print_json(&serde_json::to_value(sum).map_err(|e| Problem::Other(e.into()))?)?;
    }
    let unattended = matches!(way, Way::Store(opened) if opened.embedded) && sum.at_work > 0;
    Ok(if unattended { Exit::Partly } else { Exit::Ok })
}

/// Runs `mosaic queue import`.
pub(super) fn import(session: &Session, file: &Path, dry_run: bool) -> Result<Exit, Problem> {
    let read = match file.to_str() {
        Some("-") => queue_file::read_from(io::stdin().lock(), Path::new("standard input")).map(Some),
        _ => queue_file::read(file),
    };
    let read = read.map_err(refused)?.ok_or_else(|| Problem::NotFound {
        what: format!("there is no file {}", file.display()),
        hint: Some("mosaic queue export FILE writes one".to_owned()),
    })?;
    if !read.whole {
        return Err(refused(queue_file::QueueFileError::CutOff { path: file.display().to_string() }));
    }
    within(async {
        let mut sum = ImportedSum { entries: read.entries.len(), dry_run, ..ImportedSum::default() };
        if dry_run {
            say(&format!("{} agents of {} (export {})", sum.entries, read.head.from, read.head.export));
        } else {
            let way = Way::choose(session, false).await?;
            let scanner = way.scanner().await?;
            let taken = take_in(&way, &*scanner, &read.entries, &mut sum).await;
            let result = format!("{} of {} agents of export {}", sum.admitted, sum.entries, read.head.export);
            way.record(session, Action::QueueImport, &result);
            if taken.is_err() {
                say(&format!(
                    "broken off after {} agents; import the same file again for the rest",
                    sum.admitted
                ));
            }
            taken?;
            say(&format!(
                "{} agents admitted to {}, {} were there already",
                sum.admitted,
                way.message(),
                sum.there
            ));
        }
        for (ids, what) in [
            (&sum.ended, "were here before and have ended; \"mosaic retry\" runs one again"),
            (&sum.busy, "wait: another agent works on the task; import the file again once it has ended"),
        ] {
            if !ids.is_empty() {
                let some: Vec<String> = ids.iter().take(NAMED).map(AgentId::to_string).collect();
                say(&format!("{} {what}: {}", ids.len(), some.join(", ")));
            }
        }
        name_refused(&sum.refused);
        if session.global.json {
            session.print_json(&serde_json::to_value(&sum).map_err(|e| Problem::Other(e.into()))?)?;
        }
        Ok(if sum.busy.is_empty() && sum.refused.is_empty() { Exit::Ok } else { Exit::Partly })
    })
}

/// Names every entry that was refused: what is not named here is lost with the file.
fn name_refused(refused: &[RefusedEntry]) {
    for RefusedEntry { agent_id, reason } in refused {
        say(&format!("{agent_id} was refused: {}", sanitize::line(reason)));
    }
    if !refused.is_empty() {
        say(&format!(
            "{} refused entries stay in the file only; spawn these tasks anew without what was refused",
            refused.len()
        ));
    }
}

async fn take_in(
    way: &Way,
    scanner: &dyn SecretScanner,
    entries: &[Entry],
    sum: &mut ImportedSum,
) -> Result<(), Problem> {
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|entry| {
            bytes += serde_json::to_string(entry).map_or(0, |text| text.len());
            bytes <= limits::TRANSFER_BYTES
        });
        // One that is too large by itself goes alone.
        let count = fits.count().max(1);
        let (part, later) = rest.split_at(count);
        rest = later;
        let arrivals = way.admit(scanner, part).await?;
        for (entry, arrival) in part.iter().zip(arrivals) {
            match arrival {
                Arrival::Admitted => sum.admitted += 1,
                Arrival::There => sum.there += 1,
                Arrival::Ended => sum.ended.push(entry.agent.id),
                Arrival::Busy { .. } => sum.busy.push(entry.agent.id),
                Arrival::Refused { reason } => {
                    sum.refused.push(RefusedEntry { agent_id: entry.agent.id, reason });
                }
            }
        }
    }
    Ok(())
}

fn within<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    blocking(async { Ok(work.await) })?
}

fn refused(error: queue_file::QueueFileError) -> Problem {
    Problem::Usage { what: error.to_string(), hint: None }
}

fn fresh_name() -> Result<String, Problem> {
    let mut bytes = [0u8; 6];
    getrandom::fill(&mut bytes).map_err(|e| Problem::Other(anyhow::anyhow!("no random numbers: {e}")))?;
    Ok(base16ct::lower::encode_string(&bytes))
}
