//! Killing without a server: one that does not answer in time, or is gone, must not be able to keep an agent alive. The
//! job records and the system say what runs; all of it is stopped at once, and the order is left in the state directory
//! for the server that wakes up or comes next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mosaic_adapters::bounded_file;
use mosaic_adapters::secret_scan::KnownSecrets;
use mosaic_core::domain::audit::Action;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch};
use mosaic_core::ports::processes::{ProcessError, StopReceipt};
use serde_json::{Value, json};

use crate::client::Client;
use crate::config::Config;
use crate::exit::Exit;
use crate::local_audit;
use crate::locate;
use crate::problem::Problem;
use crate::sanitize;
use crate::serve::{ServerFile, blocking};
use crate::session::{Session, say};
use crate::wire::{self, Reach};

/// Longest wait for a server's answer before the server counts as gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Rounds of a kill of all: what a waking server starts meanwhile is found in the next.
const ROUNDS: usize = 3;
/// Shortest start of an id by which an agent is named.
const PREFIX: usize = 4;

/// The program that carries out a kill.
pub(crate) enum Who {
    /// The server.
    Server(Client),
    /// This program.
    Here(Local),
}

/// The state directories of this machine that the command stands for, and why it acts by itself.
pub(crate) struct Local {
    why: &'static str,
    places: Vec<PathBuf>,
    grace: Duration,
    /// Values that stand in no reason that is written down.
    known: Arc<KnownSecrets>,
}

/// Asks the server whether it is there. Without one that answers in time the kill is done here, if it is one of this
/// machine; a server that was named by address and is not the state directory's stays the only one who can.
pub(crate) fn who(session: &Session) -> Result<Who, Problem> {
    let data = session.data_dir()?;
    let (client, place) = match session.place()? {
        Some(place) => (session.stop_client()?, place),
        None if data.join("agents").is_dir() || data.join("run").is_dir() => {
            return Ok(Who::Here(Local::of(session, &data, "no server runs here")));
        }
        None => return Err(locate::nobody(&data)),
    };
    let begun = Instant::now();
    let own = ServerFile::read(&data).is_some_and(|file| file.url.trim_end_matches('/') == place.url);
    if client.answers_within(PATIENCE) || (place.explicit && !own) {
        return Ok(Who::Server(client));
    }
    // A port on which no program listens refuses at once. Only a server that takes the connection and hangs uses up the
    // wait.
    let late = begun.elapsed() >= PATIENCE;
    let why = if late { "server not answering after 2s" } else { "server not answering (nobody listens)" };
    Ok(Who::Here(Local::of(session, &data, why)))
}

/// Result of a kill, by agent.
struct Outcome {
    stopped: Vec<(AgentId, Result<StopReceipt, ProcessError>)>,
    /// The order is on disk.
    durable: bool,
}

impl Local {
    fn of(session: &Session, data: &Path, why: &'static str) -> Self {
        // Runs without a server have states of their own below the common one.
        let runs = std::fs::read_dir(data.join("run")).into_iter().flatten().flatten();
        let runs = runs.map(|entry| entry.path()).filter(|place| place.join("agents").is_dir());
        // The common one always: an agent may wait there that never ran.
        let places = std::iter::once(data.to_owned()).chain(runs).collect();
        // A variable that is wrong must not keep anybody alive.
        let config = Config::faults(&|name| session.env(name)).0;
        let known = wire::known::of_command_line(&config, data);
        Self { why, places, grace: config.kill_grace, known }
    }

    /// Lists everything that is alive.
    pub(crate) fn present(&self) -> Result<Vec<AgentId>, Problem> {
        Ok(blocking(async {
            let mut all = Vec::new();
            for place in &self.places {
                match Reach::of(place) {
                    Ok(reach) => all.extend(reach.present().await?),
                    // One that cannot be read must not keep the others alive.
                    Err(e) => say(&format!("warning: {e:#}")),
                }
            }
            Ok(all)
        })?)
    }

    /// Kills one agent.
    pub(crate) fn kill(&self, session: &Session, typed: &str, reason: Option<&str>) -> Result<Exit, Problem> {
        let (place, agent) = self.find(typed)?;
        let reason = &reason.map(|text| self.known.mask(text));
        let reason = reason.as_deref();
        let order = KillOrder { agent, by: by(), reason: reason.map(str::to_owned), at: now() };
        let (durable, stopped) = blocking(async {
            let reach = Reach::of(&place)?;
            // Side by side: a disk that hangs must not delay the kill, and a slow kill must not delay the order that
            // keeps a waking server from starting the agent again.
            Ok(tokio::join!(reach.leave_kill(order), reach.stop(agent, self.grace)))
        })?;
        let outcome = Outcome { stopped: vec![(agent, stopped)], durable };
        self.record(session, Action::Kill, Some(agent), reason, &outcome);
        self.report(session, &outcome)
    }

    /// Kills everything, what waits included: the barrier ends it before it starts.
    pub(crate) fn kill_all(&self, session: &Session, reason: Option<&str>) -> Result<Exit, Problem> {
        let reason = &reason.map(|text| self.known.mask(text));
        let (reason, at) = (reason.as_deref(), now());
        let barrier = Barrier { seq: None, before: at, by: by(), reason: reason.map(str::to_owned), at };
        self.stop_all(session, Action::KillAll, reason, async |reach| {
            reach.leave_barrier(barrier.clone()).await
        })
    }

    /// Engages the kill switch: what runs is killed, what waits is kept, nothing starts.
    pub(crate) fn engage(&self, session: &Session, reason: Option<&str>) -> Result<Exit, Problem> {
        let reason = &reason.map(|text| self.known.mask(text));
        let reason = reason.as_deref();
        let latch = Latch { by: by(), reason: reason.map(str::to_owned), at: now() };
        self.stop_all(session, Action::KillswitchEngage, reason, async |reach| {
            reach.leave_latch(latch.clone()).await
        })
    }

    fn stop_all(
        &self,
        session: &Session,
        action: Action,
        reason: Option<&str>,
        leave: impl AsyncFn(&Reach) -> bool,
    ) -> Result<Exit, Problem> {
        let outcome = blocking(async {
            let work = self.places.iter().map(async |place| {
                let reach = Reach::of(place)?;
                anyhow::Ok(tokio::join!(leave(&reach), self.stop_present(&reach)))
            });
            // Each directory counts for itself: one whose records cannot be read must not spare the agents of the
            // others.
            let mut outcome = Outcome { stopped: Vec::new(), durable: true };
            for done in join_all(work).await {
                match done {
                    Ok((durable, Ok(stopped))) => {
                        outcome.durable &= durable;
                        outcome.stopped.extend(stopped);
                    }
                    Ok((_, Err(e))) | Err(e) => {
                        outcome.durable = false;
                        say(&format!("warning: {e:#}"));
                    }
                }
            }
            Ok(outcome)
        })?;
        self.record(session, action, None, reason, &outcome);
        self.report(session, &outcome)
    }

    /// Stops whatever is there, all at once, until nothing is.
    async fn stop_present(
        &self,
        reach: &Reach,
    ) -> anyhow::Result<Vec<(AgentId, Result<StopReceipt, ProcessError>)>> {
        let mut stopped = Vec::new();
        for _ in 0..ROUNDS {
            let present = reach.present().await?;
            if present.is_empty() {
                break;
            }
            // An agent that is present once more was started by a waking server, or survived. Its earlier receipt
            // proves nothing now.
            stopped.retain(|(agent, _)| !present.contains(agent));
            let stops = present.into_iter().map(async |agent| (agent, reach.stop(agent, self.grace).await));
            stopped.extend(join_all(stops).await);
        }
        Ok(stopped)
    }

    /// Finds an agent by its id, the start of one, or the name that ends with one.
    fn find(&self, typed: &str) -> Result<(PathBuf, AgentId), Problem> {
        let wanted = typed.to_lowercase();
        let hex =
            |text: &str| text.len() >= PREFIX && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let ending = wanted.rsplit('-').next().unwrap_or_default();
        let start = if hex(&wanted) { wanted.as_str() } else { ending };
        let known = |place: &PathBuf| {
            let ids = bounded_file::agents(&place.join("agents")).map(|(ids, _)| ids).unwrap_or_default();
            ids.into_iter().map(|id| (place.clone(), id)).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.places.iter().flat_map(known).collect();
        let fits = |(_, id): &&(PathBuf, AgentId)| hex(start) && id.to_string().starts_with(start);
        let found: Vec<_> = all.iter().filter(fits).collect();
        let shown = sanitize::cut(&sanitize::line(typed), 80);
        let ids = |list: &mut dyn Iterator<Item = &(PathBuf, AgentId)>| {
            list.map(|(_, id)| format!("\n  {id}")).collect::<String>()
        };
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Problem::NotFound {
                what: format!(
                    "{}, and without one \"{shown}\" is no agent of this machine{}",
                    self.why,
                    ids(&mut all.iter())
                ),
                hint: Some(
                    "without a server agents are known by their ids; all of them: mosaic kill-all".to_owned(),
                ),
            }),
            several => Err(Problem::usage_hint(
                format!("\"{shown}\" may mean any of these:{}", ids(&mut several.iter().copied())),
                "type more of the id",
            )),
        }
    }

    /// Writes it into the audit log of the common state, after it was done.
    fn record(
        &self,
        session: &Session,
        action: Action,
        agent: Option<AgentId>,
        reason: Option<&str>,
        outcome: &Outcome,
    ) {
        let Some(place) = self.places.first() else { return };
        let failed = outcome.stopped.iter().filter(|(_, stopped)| stopped.is_err()).count();
        let killed = outcome.stopped.len() - failed;
        let result = format!("{}; killed locally: {killed} killed, {failed} failed", self.why);
        let entry = local_audit::local_entry(action).reason(reason).result(result);
        let entry = agent.map_or_else(|| entry.clone(), |agent| entry.clone().subject(agent));
        local_audit::record(session, place, vec![entry]);
    }

    fn report(&self, session: &Session, outcome: &Outcome) -> Result<Exit, Problem> {
        let failed = outcome.stopped.iter().filter(|(_, stopped)| stopped.is_err()).count();
        let killed = outcome.stopped.len() - failed;
        let recorded = if outcome.durable { "durable" } else { "memory" };
        if session.global.json {
            session.print_json(&json!({
                "local": true, "why": self.why, "total": outcome.stopped.len(), "killed": killed, "failed": failed,
                "verified": failed == 0, "recorded": recorded,
                "agents": outcome.stopped.iter().map(as_json).collect::<Vec<_>>(),
            }))?;
        } else {
            session.print(outcome.stopped.iter().map(line).collect::<String>())?;
            session.print(format!("{killed} killed · {failed} failed\n"))?;
        }
        say(&format!("{}; killed locally", self.why));
        if outcome.durable {
            say("the order stands in the state directory: the server finds it when it wakes up or starts");
        } else {
            say(
                "warning: the order could not be written; a server that comes back may start these tasks again",
            );
        }
        Ok(if failed > 0 || !outcome.durable { Exit::Partly } else { Exit::Ok })
    }
}

fn as_json((agent, stopped): &(AgentId, Result<StopReceipt, ProcessError>)) -> Value {
    match stopped {
        Ok(receipt) => json!({"agentId": agent, "receipt": receipt}),
        Err(e) => json!({"agentId": agent, "error": e.to_string()}),
    }
}

fn line((agent, stopped): &(AgentId, Result<StopReceipt, ProcessError>)) -> String {
    match stopped {
        Ok(r) => {
            let (after, before) = (r.processes_after, r.processes_before);
            format!("{agent}  killed in {} ms ({})  {after} of {before} processes left\n", r.took_ms, r.rung)
        }
        Err(e) => format!("{agent}  FAILED: {}\n", sanitize::line(&e.to_string())),
    }
}

/// Names the origin of the order, for the server that finds its record.
fn by() -> String {
    format!("the command line, without a server (user {})", rustix::process::getuid().as_raw())
}

fn now() -> Timestamp {
    crate::view::now()
}
