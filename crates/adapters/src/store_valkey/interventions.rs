//! Changes that external clients made to the queue: jobs of BullMQ's own producers, commands from Bull Board, jobs that another
//! worker finished. Found by a script that compares jobs with agents; refused jobs fail where their producers look.

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::job::WorkerResult;
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::limits;
use mosaic_core::ports::external_queue::{ExternalChange, Submission};
use mosaic_core::ports::store::StoreError;
use redis::Value;
use serde_json::{Map, json};

use super::admission::data_mark;
use super::args::{self, Args, strange};
use super::inner::Inner;
use super::records::json_text;
use super::scripts::{INTERVENTIONS, REFUSE, RESTORE_DATA};

const WHAT: &str = "a look for interventions";

impl Inner {
    /// Lists what no record says yet; see the port.
    pub(super) async fn external_changes(&self, limit: usize) -> Result<Vec<ExternalChange>, StoreError> {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let args = Args::default()
            .number(limit as u64)
            .number(limits::QUEUE_EVENTS_READ as u64)
            .number(limits::QUEUE_PART as u64)
            .number(ms(limits::QUEUE_TURN))
            .number(ms(limits::QUEUE_STALLED))
            .number(limits::QUEUE_LOOK as u64);
        let found = args::list(self.run(&INTERVENTIONS, args).await?, WHAT)?;
        found.into_iter().map(intervention).collect()
    }

    /// Fails a job of another producer; see the port.
    pub(super) async fn refuse(&self, job: &str, why: &str, at: Timestamp) -> Result<bool, StoreError> {
        let stack = json_text(&[why])?;
        let args = Args::default().text(job).text(why).long(stack).all(self.deciding(at));
        Ok(args::number(&self.run(&REFUSE, args).await?) == 1)
    }

    /// Writes back the data of a job; see the port.
    pub(super) async fn restore_data(
        &self,
        agent: &Agent,
        job: &str,
        fact: LogRecord,
    ) -> Result<bool, StoreError> {
        let data = json_text(&agent.spec)?;
        let mark = data_mark(&data);
        let args = self.logging().long(agent.id.to_string()).text(job).long(data).long(mark);
        let args = self.with_facts(args.number(limits::JOB_LOG_LINES as u64), &[fact])?;
        let answer = args::list(self.run(&RESTORE_DATA, args).await?, WHAT)?;
        let [restored, newest] = &answer[..] else { return Err(strange(WHAT)) };
        self.announce(args::number(newest));
        Ok(args::number(restored) == 1)
    }
}

fn intervention(found: Value) -> Result<ExternalChange, StoreError> {
    let parts = args::list(found, WHAT)?;
    let part = |n: usize| parts.get(n).map(lossy).unwrap_or_default();
    let agent = || part(1).parse::<AgentId>().map_err(|_| strange(WHAT));
    Ok(match part(0).as_str() {
        "submitted" => ExternalChange::Submitted(submission(&part)),
        "retried" => {
            let changed = (part(2) == "changed").then(|| submission(&|n| part(n + 2)));
            ExternalChange::Retried { agent: agent()?, job: part(3), changed }
        }
        "changed" => ExternalChange::DataChanged { agent: agent()?, job: part(2) },
        "removed" => ExternalChange::Removed(agent()?),
        "completed" => ExternalChange::Finished { agent: agent()?, result: WorkerResult::Completed(part(2)) },
        "failed" => ExternalChange::Finished { agent: agent()?, result: WorkerResult::Failed(part(2)) },
        _ => return Err(strange(WHAT)),
    })
}

/// Other producers may have written anything.
fn lossy(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => args::text(other).unwrap_or_default().to_owned(),
    }
}

fn submission(part: &impl Fn(usize) -> String) -> Submission {
    let number = |n: usize| part(n).split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0);
    let until = Some(number(6)).filter(|until| *until > 0).map(Timestamp);
    Submission {
        job: part(1),
        name: part(2),
        data: part(3),
        options: options(&part(4), &part(7), number(8)),
        at: Timestamp(number(5)),
        until,
    }
}

/// The options as they stand now: the priority may have been changed, and that a scheduler made the job says another field.
fn options(text: &str, scheduler: &str, priority: u64) -> String {
    let Ok(mut options) = serde_json::from_str::<Map<String, serde_json::Value>>(text) else {
        return text.to_owned();
    };
    if !scheduler.is_empty() {
        options.insert("rjk".to_owned(), json!(scheduler));
    }
    options.insert("priority".to_owned(), json!(priority));
    serde_json::Value::Object(options).to_string()
}
