//! One run: servers in a place, one after the other, and what callers were told. A server that dies is followed by an
//! ordinary one at once, and the caller asks again, as a caller would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Killed, Spawned};
use serde_json::{Value, json};

use super::api::{Answer, Api};
use super::server::Server;
use super::testbed::Testbed;
use super::{Outcome, Programs, SOON, while_};

/// Longest wait for a server to end after SIGTERM: its drain, then what it releases.
const ENDING: Duration = Duration::from_secs(30);
/// Pause before a caller asks again.
pub(crate) const AGAIN: Duration = Duration::from_millis(30);
/// Time for which a caller waits for the log before it also asks whether the agent has ended.
const DOUBT: Duration = Duration::from_secs(4);

/// Servers in a place, and what their callers know.
pub(crate) struct Scene {
    pub(crate) place: Testbed,
    pub(crate) programs: Programs,
    server: Option<Server>,
    /// True while the server that runs is the one with the failpoint.
    broken: bool,
    died: Option<Instant>,
    /// From a server's death to the next one's first answer.
    pub(crate) recoveries: Vec<Duration>,
    /// Agents whose spawn was acknowledged, by task.
    pub(crate) acknowledged: BTreeMap<String, String>,
    /// Agents whose end was asked for.
    pub(crate) doomed: BTreeSet<String>,
    /// Agents whose kill was acknowledged while they had not ended.
    pub(crate) ordered: BTreeSet<String>,
    /// Agents whose removal was acknowledged.
    pub(crate) removed: BTreeSet<String>,
    pub(crate) deadline: Instant,
    /// Faults that are covered by no invariant of their own.
    pub(crate) faults: Vec<String>,
}

impl Scene {
    /// Makes a place without a server.
    pub(crate) fn new(programs: &Programs, slots: u32) -> Outcome<Self> {
        Ok(Self {
            place: Testbed::new(slots, programs.valkey)?,
            programs: programs.clone(),
            server: None,
            broken: false,
            died: None,
            recoveries: Vec::new(),
            acknowledged: BTreeMap::new(),
            doomed: BTreeSet::new(),
            ordered: BTreeSet::new(),
            removed: BTreeSet::new(),
            deadline: Instant::now() + SOON,
            faults: Vec::new(),
        })
    }

    /// Starts the server that breaks as told, and writes down its steps.
    pub(crate) fn start_broken(&mut self, failpoint: &str) -> Outcome<()> {
        let trace = self.place.trace().display().to_string();
        let env = [("MOSAIC_CHAOS", failpoint.to_owned()), ("MOSAIC_CHAOS_TRACE", trace)];
        self.place.note(&format!("server with failpoint \"{failpoint}\""));
        let program = self.programs.chaos.clone();
        self.start(&program, &env)?;
        self.broken = true;
        Ok(())
    }

    /// Starts an ordinary server.
    pub(crate) fn start_plain(&mut self) -> Outcome<()> {
        self.place.note("ordinary server");
        let program = self.programs.mosaic.clone();
        self.start(&program, &[])
    }

    fn start(&mut self, program: &Path, env: &[(&str, String)]) -> Outcome<()> {
        self.server = Some(Server::start(program, &self.place, env)?);
        self.broken = false;
        Ok(())
    }

    /// Kills the server that runs.
    pub(crate) fn kill_9(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.died = Some(server.kill_9());
            self.place.note("server killed");
        }
    }

    /// Asks the server that runs to end, and waits for it; one that does not end is a fault, and is killed.
    pub(crate) fn terminate(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.terminate();
            match server.wait_by(Instant::now() + ENDING) {
                Some(status) if status.success() || !self.broken => {}
                // The failpoint of this server may be one of its last steps.
                Some(status) => self.place.note(&format!("server ended with {status}")),
                None => self
                    .faults
                    .push(format!("the server did not end within {} s of SIGTERM", ENDING.as_secs())),
            }
            self.died = Some(server.kill_9());
        }
    }

    /// Returns the server's process id, when one runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Returns the API of the server that runs; follows a dead one with an ordinary one.
    pub(crate) fn api(&mut self) -> Outcome<Api> {
        let mut starts = 0;
        loop {
            let gone = self.server.as_mut().is_none_or(|server| server.ended().is_some());
            if gone {
                if starts == 3 || Instant::now() > self.deadline {
                    return Err("no ordinary server starts here any more; see server.log".to_owned());
                }
                starts += 1;
                self.died.get_or_insert_with(Instant::now);
                self.start_plain()?;
            }
            let deadline = self.deadline;
            let Some(server) = self.server.as_mut() else { continue };
            if let Some(api) = server.api_by(deadline) {
                if let Some(died) = self.died.take() {
                    self.recoveries.push(died.elapsed());
                }
                return Ok(api);
            }
            if server.ended().is_none() && Instant::now() > deadline {
                return Err("the server does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns the API of the server that runs, if it listens by then.
    pub(crate) fn api_by(&mut self, deadline: Instant) -> Option<Api> {
        self.server.as_mut()?.api_by(deadline)
    }

    /// Sends a request until an answer comes that is not the server's own trouble.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Outcome<Answer> {
        loop {
            let answer = self.api()?.send(method, path, key, body);
            match answer {
                Ok(answer) if answer.status < 500 => return Ok(answer),
                other if Instant::now() > self.deadline => {
                    return Err(format!("{method} {path} got no answer in time; the last was {other:?}"));
                }
                _ => std::thread::sleep(AGAIN),
            }
        }
    }

    /// Spawns an agent, again and again with the same key until it is acknowledged.
    pub(crate) fn spawn(&mut self, task: &str, max_retries: u32) -> Outcome<String> {
        let body = self.place.task(task, max_retries);
        let answer = self.call("POST", "/v1/agents", Some(task), Some(&body))?;
        let spawned: Spawned = answer.read().map_err(while_(&format!("the spawn of {task}")))?;
        self.acknowledged.insert(task.to_owned(), spawned.agent_id.clone());
        Ok(spawned.agent_id)
    }

    /// Kills an agent and waits for the acknowledgement.
    pub(crate) fn kill(&mut self, id: &str) -> Outcome<()> {
        let reason = json!({"reason": "chaos"});
        self.doomed.insert(id.to_owned());
        let answer = self.call("POST", &format!("/v1/agents/{id}/kill"), None, Some(&reason))?;
        let killed: Killed = answer.read().map_err(while_(&format!("the kill of {id}")))?;
        if !killed.already_terminal {
            self.ordered.insert(id.to_owned());
        }
        Ok(())
    }

    /// Waits until so many lines begin with a word, or every acknowledged agent has ended. Looks after the server.
    pub(crate) fn await_log(&mut self, word: &str, count: usize) -> Outcome<()> {
        let mut doubt = Instant::now() + DOUBT;
        loop {
            let soon = Instant::now() + Duration::from_millis(50);
            if self.place.await_log(word, count, soon) {
                return Ok(());
            }
            let api = self.api()?;
            if Instant::now() > doubt {
                if api.agents().is_ok_and(|agents| agents.iter().all(has_ended)) {
                    return Ok(());
                }
                doubt = Instant::now() + Duration::from_millis(500);
            }
            if Instant::now() > self.deadline {
                return Err(format!(
                    "{count} × \"{word}\" did not happen; there is {:?}",
                    self.place.log(word)
                ));
            }
        }
    }

    /// Waits until every agent has ended, acknowledged or not; false when that does not happen in time.
    pub(crate) fn settle(&mut self) -> Outcome<bool> {
        loop {
            let wanted: BTreeSet<String> = self.acknowledged.values().cloned().collect();
            let mut ended = BTreeSet::new();
            let deadline = self.deadline;
            let api = self.api()?;
            let followed = api.follow(deadline, |event| {
                if event.event.is_end() {
                    ended.insert(event.agent().to_owned());
                }
                wanted.is_subset(&ended)
            });
            // The log ends the wait without polling. The records decide, because an agent whose spawn was never
            // acknowledged stands only there.
            if followed == Ok(true) && api.agents().is_ok_and(|agents| agents.iter().all(has_ended)) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Tells whether the failpoint was reached.
    pub(crate) fn fired(&self) -> bool {
        std::fs::read_to_string(self.place.trace())
            .is_ok_and(|text| text.lines().any(|l| l.starts_with("fired ")))
    }

    /// Ends the server with the failpoint, if it lives still, so that an ordinary one is the last.
    pub(crate) fn leave_to_an_ordinary_server(&mut self) {
        if self.broken {
            self.terminate();
        }
    }
}

/// Tells whether a record is terminal.
pub(crate) fn has_ended(agent: &AgentView) -> bool {
    agent.status.end_reason.is_some()
}
