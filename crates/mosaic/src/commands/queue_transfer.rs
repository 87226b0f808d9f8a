//! `mosaic queue export` and `import`: waiting work goes from one store to another, in either direction. Through the server where
//! one answers, else by the store itself.
//!
//! An export first writes what it will take into a journal beside the file, then ends those agents in their store, then
//! writes the file. Broken off anywhere, the same command goes on from the journal: nothing is lost, and nothing is in a
//! whole file that its store could still start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_adapters::orders_files::OrdersDir;
use mosaic_api::{ExportRequest, ImportRequest, Imported, Released, TransferEntry, UnfinishedWork};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::lifecycle::{Event, Now};
use mosaic_core::limits;
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::store::{Store, StoreError};
use mosaic_core::transfer::{self, Arrival, Entry, Unfinished};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::server_config::server_config;
use crate::cli::ServeArgs;
use crate::client::Client;
use crate::config::valkey::ValkeyConfig;
use crate::exit::Exit;
use crate::local_audit;
use crate::problem::Problem;
use crate::queue_file::{self, Head, QueueFile};
use crate::sanitize;
use crate::serve::blocking;
use crate::session::{Session, say};
use crate::wire;

/// Longest wait for a server's answer before the server counts as gone.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// Agents that are ended in one request.
const RELEASED: usize = 500;
/// Agents that a message names.
const NAMED: usize = 5;

/// The store, and how it is reached.
enum Way {
    /// A server has it.
    Server(Client),
    /// No server answers here.
    Store(Box<Opened>),
}

struct Opened {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    data: PathBuf,
    words: String,
    embedded: bool,
    _held: wire::store::Opened,
}

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
            let taken = take_in(&way, &read.entries, &mut sum).await;
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

async fn take_in(way: &Way, entries: &[Entry], sum: &mut ImportedSum) -> Result<(), Problem> {
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
        let arrivals = way.admit(part).await?;
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

impl Way {
    async fn choose(session: &Session, embedded: bool) -> Result<Self, Problem> {
        let place = session.place()?;
        let explicit = place.as_ref().is_some_and(|place| place.explicit);
        if let Some(place) = place.filter(|_| !embedded) {
            let client = Client::new(&place);
            if explicit || client.answers_within(PATIENCE) {
                return Ok(Self::Server(client));
            }
        }
        let mut config = server_config(session, &ServeArgs::default())?;
        if embedded {
            config.valkey = ValkeyConfig::default();
        }
        let (data, embedded) = (config.data_dir.clone(), !config.valkey.chosen());
        if embedded && !data.join("mosaic.db").exists() {
            return Err(Problem::NotFound {
                what: format!("there is no embedded store (mosaic.db) in {}", data.display()),
                hint: Some("name its directory with --data-dir".to_owned()),
            });
        }
        let held = wire::store::open_beside(&config).await.map_err(in_use)?;
        let words = if embedded {
            format!("the embedded store in {}", data.display())
        } else {
            config.valkey.message()
        };
        let (store, fleet) = (Arc::clone(&held.store), Arc::clone(&held.fleet));
        Ok(Self::Store(Box::new(Opened { store, fleet, data, words, embedded, _held: held })))
    }

    fn message(&self) -> String {
        match self {
            Self::Server(client) => format!("the server at {}", client.url()),
            Self::Store(opened) => opened.words.clone(),
        }
    }

    async fn unfinished(&self) -> Result<Unfinished, Problem> {
        let (mut all, mut before) = (Unfinished::default(), None);
        loop {
            let page = match self {
                Self::Server(client) => {
                    let query = before.map_or(String::new(), |seq| format!("?before={seq}"));
                    read(client.get::<UnfinishedWork>(&format!("/v1/queue/export{query}"))?.json())?
                }
                Self::Store(opened) => transfer::page(&*opened.store, before).await.map_err(failed)?,
            };
            all.waiting.extend(page.waiting);
            all.at_work.extend(page.at_work);
            all.ordered.extend(page.ordered);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        all.waiting.sort_by_key(|entry| entry.seq);
        if let Self::Store(opened) = self {
            leave_what_files_order(&opened.data, &mut all)?;
        }
        Ok(all)
    }

    async fn release(&self, export: &str, agents: &[AgentId]) -> Result<Vec<AgentId>, Problem> {
        match self {
            Self::Server(client) => {
                let agents = agents.iter().map(ToString::to_string).collect();
                let body = ExportRequest { export: export.to_owned(), agents };
                let answer = client.post("/v1/queue/export", &body)?.read::<Released>()?;
                read(&answer.released)
            }
            Self::Store(opened) => {
                transfer::release(&*opened.store, export, agents, opened.now().await?).await.map_err(failed)
            }
        }
    }

    async fn admit(&self, entries: &[Entry]) -> Result<Vec<Arrival>, Problem> {
        match self {
            Self::Server(client) => {
                let record = |entry: &Entry| {
                    let agent = serde_json::to_value(&entry.agent)?;
                    Ok(TransferEntry { seq: entry.seq, agent })
                };
                let entries = entries.iter().map(record).collect::<serde_json::Result<_>>();
                let body = ImportRequest { entries: entries.map_err(|e| Problem::Other(e.into()))? };
                let answer = client.post("/v1/queue/import", &body)?.read::<Imported>()?;
                read(&answer.arrivals)
            }
            Self::Store(opened) => {
                let mut arrivals = Vec::with_capacity(entries.len());
                for entry in entries {
                    let arrival = transfer::admit(&*opened.store, entry, opened.now().await?).await;
                    arrivals.push(arrival.map_err(failed)?);
                }
                Ok(arrivals)
            }
        }
    }

    /// Records what was done where no server does.
    fn record(&self, session: &Session, action: Action, result: &str) {
        if let Self::Store(opened) = self {
            local_audit::record(session, &opened.data, vec![local_audit::local_entry(action).result(result)]);
        }
    }
}

impl Opened {
    async fn now(&self) -> Result<Now, Problem> {
        let own = || Timestamp::from(std::time::SystemTime::now());
        let at = self.fleet.store_time().await.map_err(failed)?.unwrap_or_else(own);
        Ok(Now { at, dice: 0.5 })
    }
}

/// Leaves those where they are that an order in the data directory ends, which no server has read yet.
fn leave_what_files_order(data: &Path, found: &mut Unfinished) -> Result<(), Problem> {
    let filed = OrdersDir::new(data).read();
    if let Some(why) = filed.unread {
        return Err(Problem::Other(anyhow::anyhow!(
            "the orders in the data directory cannot be read: {why}"
        )));
    }
    let ends = |entry: &Entry| {
        filed.kills.iter().any(|kill| kill.agent == entry.agent.id)
            || matches!(filed.orders.event(&entry.agent, entry.seq), Some(Event::Kill { .. }))
    };
    let (ordered, waiting) = std::mem::take(&mut found.waiting).into_iter().partition(ends);
    found.waiting = waiting;
    found.ordered.extend(Vec::<Entry>::into_iter(ordered).map(|entry| entry.agent.id));
    Ok(())
}

fn within<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    blocking(async { Ok(work.await) })?
}

/// Reads what travels between stores, which is in the form of the store.
fn read<T: DeserializeOwned>(sent: &impl Serialize) -> Result<T, Problem> {
    let words = "the server's answer is none of this version; use the same version of the program";
    serde_json::to_value(sent)
        .and_then(serde_json::from_value)
        .map_err(|e| Problem::Other(anyhow::Error::new(e).context(words)))
}

fn refused(error: queue_file::QueueFileError) -> Problem {
    Problem::Usage { what: error.to_string(), hint: None }
}

fn failed(error: StoreError) -> Problem {
    Problem::Other(error.into())
}

fn in_use(error: anyhow::Error) -> Problem {
    match error.downcast::<StoreError>() {
        Ok(StoreError::InUse(what)) => {
            Problem::Conflict { what, hint: Some("let its server end first: mosaic drain".to_owned()) }
        }
        Ok(other) => failed(other),
        Err(other) => Problem::Other(other),
    }
}

fn fresh_name() -> Result<String, Problem> {
    let mut bytes = [0u8; 6];
    getrandom::fill(&mut bytes).map_err(|e| Problem::Other(anyhow::anyhow!("no random numbers: {e}")))?;
    Ok(base16ct::lower::encode_string(&bytes))
}
