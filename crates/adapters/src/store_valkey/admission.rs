//! Admission: record, task, place in the queue, facts and key in one script.

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, Epoch, Timestamp};
use mosaic_core::limits::{BACKOFF_FIRST, IDEMPOTENCY};
use mosaic_core::ports::store::{Admission, Admitted, StoreError, Versioned};
use redis::Value;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::args::{self, Args, strange};
use super::batcher::Batcher;
use super::inner::Inner;
use super::needs::needs;
use super::records::{self, json_text, millis, quoted_inside};
use super::scripts::ADMIT;
use super::search;

/// Hex digits of the mark of a job's data: enough that a change is not missed.
const DATA_MARK: usize = 16;

/// The script's answer to one admission.
pub(super) enum Answer {
    New(u64),
    Replay(AgentId),
    Active(AgentId),
    Mismatch,
    Full(u64),
    Conflict,
    /// The record of the agent that works on the task cannot be read.
    Damaged(AgentId),
}

impl Inner {
    /// Writes a new agent; see the port.
    pub(super) async fn admit(
        &self,
        batcher: &Batcher<Answer>,
        admission: Admission,
    ) -> Result<Admitted, StoreError> {
        loop {
            match batcher.call(self.admission_args(&admission)?).await? {
                // An agent whose record cannot be read would keep its task from ever being worked on again. Once it is
                // set aside, the same admission finds the task free.
                Answer::Damaged(holder) => self.look_and_set_aside(holder).await?,
                answer => return self.admitted(admission.agent, answer).await,
            }
        }
    }

    async fn admitted(&self, agent: Agent, answer: Answer) -> Result<Admitted, StoreError> {
        match answer {
            Answer::New(seq) => {
                let record = Versioned {
                    agent,
                    version: 1,
                    seq,
                    epoch: Epoch(0),
                    node: None,
                    home: None,
                    short: None,
                };
                Ok(Admitted::New(record))
            }
            Answer::Replay(first) => Ok(Admitted::Replay(self.glance(first).await?)),
            Answer::Active(agent) => Err(StoreError::TaskActive { agent }),
            Answer::Mismatch => Err(StoreError::IdempotencyMismatch),
            Answer::Full(queued) => Err(StoreError::QueueFull(queued)),
            Answer::Conflict | Answer::Damaged(_) => Err(StoreError::Conflict(agent.id)),
        }
    }

    /// Puts together what the script takes for one admission.
    fn admission_args(&self, admission: &Admission) -> Result<Args, StoreError> {
        let Admission { agent, idempotency, job, job_data, facts } = admission;
        let spec = &agent.spec;
        let (key, fingerprint) = match idempotency {
            Some(given) => (digest(&given.key), given.fingerprint.as_str()),
            None => (String::new(), ""),
        };
        let own = agent.id.to_string();
        let data = json_text(spec)?;
        let mark = data_mark(&data);
        let args = Args::default()
            .text(&own)
            .text(spec.task_id.as_str())
            .text(spec.agent_type.as_str())
            .long(key)
            .text(fingerprint)
            .number(millis(agent.spawned_at))
            .long(Timestamp(millis(agent.spawned_at)).to_rfc3339())
            .number(agent.not_before().map_or(0, millis))
            .number(u64::from(spec.priority.get()))
            .text(job.as_deref().unwrap_or_default())
            .long(quoted_inside(job.as_ref().unwrap_or(&own))?)
            .text(agent.phase().as_str())
            .long(data)
            .long(json_text(&options(agent))?)
            .long(needs(agent))
            .long(records::tail(agent)?)
            .long(records::task_tail(agent)?)
            .long(mark)
            .long(job_data.as_deref().map(data_mark).unwrap_or_default())
            .long(search::columns_text(agent))
            .bytes_of(search::id_bytes(agent.id));
        self.with_facts(args, facts)
    }

    /// Has the script admit several at once; one answer each.
    pub(super) async fn admit_all(&self, items: Vec<Args>) -> Result<Vec<Answer>, StoreError> {
        let key_term = u64::try_from(IDEMPOTENCY.as_millis()).unwrap_or(u64::MAX);
        let mut args = self.logging().number(self.options.queue_entries).number(key_term);
        args = args.number(items.len() as u64);
        for item in items {
            args = args.all(item);
        }
        let mut answers = args::list(self.run(&ADMIT, args).await?, "an admission")?;
        let newest = answers.pop().ok_or_else(|| strange("an admission"))?;
        self.announce(args::number(&newest));
        answers.into_iter().map(answer).collect()
    }
}

fn answer(value: Value) -> Result<Answer, StoreError> {
    let parts = args::list(value, "an admission")?;
    let word = parts.first().and_then(args::text).ok_or_else(|| strange("an admission"))?;
    let number = || parts.get(1).map_or(0, args::number);
    let agent = || {
        let id = parts.get(1).and_then(args::text).and_then(|id| id.parse().ok());
        id.ok_or_else(|| strange("an admission"))
    };
    Ok(match word {
        "new" => Answer::New(number()),
        "replay" => Answer::Replay(agent()?),
        "active" => Answer::Active(agent()?),
        "mismatch" => Answer::Mismatch,
        "full" => Answer::Full(number()),
        "conflict" => Answer::Conflict,
        "damaged" => Answer::Damaged(agent()?),
        _ => return Err(strange("an admission")),
    })
}

/// Returns the job's options, for workers and dashboards that look at them.
fn options(agent: &Agent) -> serde_json::Value {
    let backoff = u64::try_from(BACKOFF_FIRST.as_millis()).unwrap_or(u64::MAX);
    json!({
        "jobId": agent.id,
        "priority": agent.spec.priority,
        "attempts": agent.spec.max_retries + 1,
        "backoff": {"type": "exponential", "delay": backoff},
    })
}

/// Returns the mark of a job's data; `jobs.lua` makes the same.
pub(super) fn data_mark(data: &str) -> String {
    let mut digest = sha1_smol::Sha1::from(data).hexdigest();
    digest.truncate(DATA_MARK);
    digest
}

/// Returns the digest of a caller's key: it may be any text.
fn digest(key: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(key.as_bytes()))
}
