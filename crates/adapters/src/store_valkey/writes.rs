//! Writing records: under a lease, and by version. Each write carries a digest of itself, so that the same write again,
//! after its answer was lost, is known by the script and changes nothing.

use std::hash::{DefaultHasher, Hash, Hasher};

use mosaic_core::domain::agent::{Agent, QueueCause, State, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::status::StatusProjection;
use mosaic_core::limits;
use mosaic_core::ports::store::{Change, Lease, Safety, StoreError};
use redis::Value;
use serde_json::json;

use super::args::{self, Args, strange};
use super::batcher::Batcher;
use super::inner::Inner;
use super::records::{self, json_text, millis};
use super::scripts::{AMEND, Script};

impl Inner {
    /// Writes a new state under a lease; see the port.
    pub(super) async fn advance(
        &self,
        batcher: &Batcher<Value>,
        lease: &Lease,
        change: Change,
    ) -> Result<u64, StoreError> {
        if change.agent.id != lease.agent {
            return Err(StoreError::Fenced(lease.agent));
        }
        let item = Args::default().text(lease.node.as_str()).number(lease.epoch.0);
        let item = item.all(self.change_args(&change)?);
        let answer = batcher.call(item).await?;
        self.written(lease.agent, &answer).await
    }

    /// Writes new states of agents that nobody holds; see the port.
    pub(super) async fn amend(
        &self,
        changes: Vec<(u64, Change)>,
    ) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        let mut out = Vec::with_capacity(changes.len());
        for part in changes.chunks(limits::STORE_BATCH) {
            let items = part
                .iter()
                .map(|(version, change)| Ok(Args::default().number(*version).all(self.change_args(change)?)));
            let items = items.collect::<Result<_, StoreError>>()?;
            let answers = self.write_all(&AMEND, items, Safety::Power).await?;
            for ((_, change), answer) in part.iter().zip(answers) {
                out.push(self.written(change.agent.id, &answer).await);
            }
        }
        Ok(out)
    }

    /// Has a script write several changes at once; one answer each.
    pub(super) async fn write_all(
        &self,
        script: &'static Script,
        items: Vec<Args>,
        safety: Safety,
    ) -> Result<Vec<Value>, StoreError> {
        let mut args = self.logging().number(self.term_ms()).number(limits::JOB_LOG_LINES as u64);
        let count = items.len();
        args = args.number(count as u64);
        for item in items {
            args = args.all(item);
        }
        let answer = match safety {
            // Only this one waits for the replicas. What may be lost with the machine (ADR 7) is done again after a
            // failover, and a wait for each such step would slow every agent down.
            Safety::Power => self.run(script, args).await?,
            Safety::Process => self.run_lightly(script, args).await?,
        };
        let mut answers = args::list(answer, script.name)?;
        let newest = answers.pop().filter(|_| answers.len() == count).ok_or_else(|| strange(script.name))?;
        self.announce(args::number(&newest));
        Ok(answers)
    }

    /// Turns the answer to one write into the port's.
    async fn written(&self, agent: AgentId, answer: &Value) -> Result<u64, StoreError> {
        match answer {
            Value::Int(version) => Ok(u64::try_from(*version).unwrap_or(0)),
            other => Err(self.refusal(agent, args::text(other)).await?),
        }
    }

    /// Returns the port's words for a refusal of a script. A damaged record is set aside first.
    pub(super) async fn refusal(&self, agent: AgentId, word: Option<&str>) -> Result<StoreError, StoreError> {
        Ok(match word {
            Some("fenced") => StoreError::Fenced(agent),
            Some("conflict") => StoreError::Conflict(agent),
            Some("none") => self.absent(agent).await?,
            Some("damaged") => {
                self.look_and_set_aside(agent).await?;
                StoreError::Quarantined(agent)
            }
            _ => strange("a write"),
        })
    }

    /// Puts together what scripts take for one change; see `write_record.lua`.
    fn change_args(&self, change: &Change) -> Result<Args, StoreError> {
        let agent = &change.agent;
        let tail = records::tail(agent)?;
        let end = job_end(agent)?;
        let is_end = agent.is_terminal();
        let args = Args::default()
            .long(agent.id.to_string())
            .text(agent.spec.task_id.as_str())
            .text(agent.spec.agent_type.as_str())
            .long(self.digest(&tail, change))
            .number(agent.not_before().map_or(0, millis))
            .text(agent.status().as_str())
            .text(agent.phase().as_str())
            .flag(records::is_dead(agent))
            .text(end.outcome)
            .number(agent.end().map_or(0, |end| millis(end.at)))
            .long(end.result)
            .long(end.stack)
            .flag(records::is_queued(agent))
            .flag(is_retry(agent))
            .long(progress(agent)?)
            .long(if is_end { records::closing(agent)? } else { String::new() })
            .long(tail);
        self.with_facts(args, &change.facts)
    }

    /// Returns a digest of a change; it is only compared with those of this program.
    fn digest(&self, tail: &str, change: &Change) -> String {
        let mut hasher = DefaultHasher::new();
        tail.hash(&mut hasher);
        for fact in &change.facts {
            (fact.kind(), fact.agent, fact.at, fact.data().to_string()).hash(&mut hasher);
        }
        format!("{:016x}", hasher.finish())
    }
}

/// Tells whether the agent waits for another attempt: its job counts one more then.
fn is_retry(agent: &Agent) -> bool {
    matches!(agent.state, State::Queued { cause: QueueCause::Backoff { .. } })
}

/// Returns what the job shows of where its agent is.
fn progress(agent: &Agent) -> Result<String, StoreError> {
    let StatusProjection { phase, status, attempt, fix_round, .. } = StatusProjection::of(agent);
    json_text(&json!({"phase": phase, "status": status, "attempt": attempt, "fixRound": fix_round}))
}

/// The end of a job.
struct JobEnd {
    outcome: &'static str,
    /// The return value as JSON, or the reason of the failure.
    result: String,
    /// A JSON array of texts.
    stack: String,
}

fn job_end(agent: &Agent) -> Result<JobEnd, StoreError> {
    let Some(end) = agent.end() else {
        return Ok(JobEnd { outcome: "", result: String::new(), stack: String::new() });
    };
    if end.status == Status::Completed {
        let commit = agent.work.pushed.as_ref().or(agent.work.kept.as_ref());
        let value = json!({"branch": agent.branch, "commit": commit, "verdict": agent.verdict()});
        return Ok(JobEnd { outcome: "completed", result: json_text(&value)?, stack: String::new() });
    }
    let word = json!(end.reason).as_str().unwrap_or_default().to_owned();
    let why = end.error.clone().unwrap_or(word);
    let result = if end.status == Status::Killed { format!("killed: {why}") } else { why };
    let stack = json_text(&[&result])?;
    Ok(JobEnd { outcome: "failed", result, stack })
}
