//! The way to the store that an export leaves or an import enters: through the server where one answers, else the store
//! itself, which then is this command's alone. What a server does by itself on the way is done here: the orders in the data
//! directory are obeyed, and entries are looked through for values that must not stand in a store.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mosaic_adapters::orders_files::OrdersDir;
use mosaic_api::{ExportRequest, ImportRequest, Imported, Released, TransferEntry, UnfinishedWork};
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::lifecycle::{Event, Now};
use mosaic_core::ports::fleet::Fleet;
use mosaic_core::ports::scanner::SecretScanner;
use mosaic_core::ports::store::{Store, StoreError};
use mosaic_core::transfer::{self, Arrival, Entry, Unfinished};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::ServeArgs;
use crate::client::Client;
use crate::commands::server_config::server_config;
use crate::config::Config;
use crate::config::valkey::ValkeyConfig;
use crate::local_audit;
use crate::problem::Problem;
use crate::serve::other_secrets;
use crate::session::Session;
use crate::wire;

/// Longest wait for a server's answer before the server counts as gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// The store, and how it is reached.
pub(super) enum Way {
    /// A server has it.
    Server(Client),
    /// No server answers here.
    Store(Box<Opened>),
}

/// A store that no server of this data directory uses.
pub(super) struct Opened {
    store: Arc<dyn Store>,
    fleet: Arc<dyn Fleet>,
    config: Config,
    words: String,
    pub(super) embedded: bool,
    _held: wire::store::Opened,
}

impl Way {
    pub(super) async fn choose(session: &Session, embedded: bool) -> Result<Self, Problem> {
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
        let (data, embedded) = (&config.data_dir, !config.valkey.chosen());
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
        Ok(Self::Store(Box::new(Opened { store, fleet, config, words, embedded, _held: held })))
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Server(client) => format!("the server at {}", client.url()),
            Self::Store(opened) => opened.words.clone(),
        }
    }

    pub(super) async fn unfinished(&self) -> Result<Unfinished, Problem> {
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
            leave_what_files_order(&opened.config.data_dir, &mut all)?;
        }
        Ok(all)
    }

    pub(super) async fn release(&self, export: &str, agents: &[AgentId]) -> Result<Vec<AgentId>, Problem> {
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

    /// Returns what looks through entries on their way into the store. A server looks through them by itself.
    pub(super) async fn scanner(&self) -> Result<Arc<dyn SecretScanner>, Problem> {
        match self {
            Self::Server(_) => Ok(wire::known::scanner(Arc::default())),
            Self::Store(opened) => opened.scanner().await,
        }
    }

    /// Admits entries; each answer stands at the place of its entry.
    pub(super) async fn admit(
        &self,
        scanner: &dyn SecretScanner,
        entries: &[Entry],
    ) -> Result<Vec<Arrival>, Problem> {
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
                    let arrival = transfer::admit(&*opened.store, scanner, entry, opened.now().await?).await;
                    arrivals.push(arrival.map_err(failed)?);
                }
                Ok(arrivals)
            }
        }
    }

    /// Records what was done where no server does.
    pub(super) fn record(&self, session: &Session, action: Action, result: &str) {
        if let Self::Store(opened) = self {
            local_audit::record(
                session,
                &opened.config.data_dir,
                vec![local_audit::local_entry(action).result(result)],
            );
        }
    }
}

impl Opened {
    /// Returns a scanner that knows the values which the server of this configuration keeps secret. Errors when there is one
    /// that is not known here: what holds it would be recorded, shown and given to agents.
    async fn scanner(&self) -> Result<Arc<dyn SecretScanner>, Problem> {
        let hint = "start the server and import through it, or give this command the server's settings";
        let unknown = |what: String| Problem::Conflict { what, hint: Some(hint.to_owned()) };
        let others = other_secrets(&self.config);
        if !others.is_empty() {
            return Err(unknown(format!(
                "the newest server of {} was started with other values of {} than this command, and entries that hold \
                 one of them could not be told",
                self.config.data_dir.display(),
                others.join(", ")
            )));
        }
        let key = self.fleet.peer_secret().await.map_err(failed)?;
        let known = wire::known::of_absent_server(&self.config, key.as_deref());
        let known = known.map_err(|e| {
            unknown(format!(
                "entries cannot be looked through for values that the server keeps secret: {e:#}"
            ))
        })?;
        Ok(wire::known::scanner(known))
    }

    async fn now(&self) -> Result<Now, Problem> {
        let own = || Timestamp::from(SystemTime::now());
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

/// Reads what travels between stores, which is in the form of the store.
fn read<T: DeserializeOwned>(sent: &impl Serialize) -> Result<T, Problem> {
    let words = "the server's answer is none of this version; use the same version of the program";
    serde_json::to_value(sent)
        .and_then(serde_json::from_value)
        .map_err(|e| Problem::Other(anyhow::Error::new(e).context(words)))
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
