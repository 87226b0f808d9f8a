//! Spawn requests that another producer put into the queue as jobs: the body of a spawn, with the job's own options over it.
//! Every fault is named at once, in words that are shown where the producer looks for them.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::spec::{FieldError, SpawnSpec};
use crate::limits;

/// Result that another worker of the queue gave a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerResult {
    /// It completed the job with this value.
    Completed(String),
    /// It failed the job for this reason.
    Failed(String),
}

/// The only name of a job that is understood.
pub const SPAWN: &str = "spawn";

/// Reasons why a job is not taken in, for its producer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JobError {
    /// It has this name, escaped and cut.
    #[error("jobs named \"{0}\" are not known here; the only name is \"{SPAWN}\"")]
    UnknownName(String),
    /// Its data or options have these faults.
    #[error("the job asks for what cannot be done: {}", .0.join("; "))]
    Faults(Vec<String>),
}

/// Reads a job. Errors with every fault, in one line for its producer.
///
/// The job's options win over the body: `priority` 0 or none is the first class, above 10 counts as 10; `attempts` n
/// means n − 1 retries, 0 or none means none; `backoff` is the pause between them.
pub fn understand(name: &str, data: &str, options: &str) -> Result<SpawnSpec, JobError> {
    if name != SPAWN {
        let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
        return Err(JobError::UnknownName(shown));
    }
    let mut faults = Vec::new();
    let mut body: Value = serde_json::from_str(data).unwrap_or_else(|e| {
        faults.push(format!("its data is not JSON ({e})"));
        Value::Null
    });
    match serde_json::from_str(options) {
        Ok(Value::Object(options)) => {
            if let Some(fields) = body.as_object_mut() {
                lay_over(fields, &options, &mut faults);
            }
        }
        _ => faults.push("its options are not a JSON object".to_owned()),
    }
    let spec = if body.is_null() && !faults.is_empty() { Err(Vec::new()) } else { SpawnSpec::parse(&body) };
    match spec {
        Ok(spec) if faults.is_empty() => return Ok(spec),
        Ok(_) => {}
        Err(errors) => {
            faults.extend(errors.into_iter().map(in_one_sentence));
        }
    }
    Err(JobError::Faults(faults))
}

/// Reads the data of a job of ours, which were changed after its agent ended. Its options may have gone with the archived
/// record, so that the data say all.
pub fn understand_own(data: &str) -> Result<SpawnSpec, JobError> {
    let body: Value = serde_json::from_str(data)
        .map_err(|e| JobError::Faults(vec![format!("its data is not JSON ({e})")]))?;
    SpawnSpec::parse(&body)
        .map_err(|errors| JobError::Faults(errors.into_iter().map(in_one_sentence).collect()))
}

fn in_one_sentence(fault: FieldError) -> String {
    if fault.pointer.is_empty() { fault.message } else { format!("{} {}", fault.pointer, fault.message) }
}

/// Puts the job's options over the fields of the body that mean the same.
fn lay_over(body: &mut Map<String, Value>, options: &Map<String, Value>, faults: &mut Vec<String>) {
    let given = |name: &str| options.get(name).filter(|value| !value.is_null());
    if ["repeat", "repeatJobKey", "rjk"].iter().any(|name| given(name).is_some()) {
        faults.push("jobs of a scheduler are not run here; add each job when it is due".to_owned());
    }
    let held_back = given("de").and_then(|de| de.get("keepLastIfActive"));
    if held_back.is_some_and(|kept| kept == &Value::Bool(true)) {
        faults.push("deduplication with keepLastIfActive is not done here; leave it out".to_owned());
    }
    match whole(given("priority")) {
        Some(class) => {
            body.insert("priority".to_owned(), json!(class.clamp(1, 10)));
        }
        None => faults.push("option priority must be a whole number from 0".to_owned()),
    }
    let most = u64::from(limits::MAX_RETRIES) + 1;
    match whole(given("attempts")) {
        Some(attempts) if attempts <= most => {
            body.insert("maxRetries".to_owned(), json!(attempts.saturating_sub(1)));
        }
        _ => faults.push(format!("option attempts must be a whole number from 0 to {most}")),
    }
    if let Some(backoff) = given("backoff") {
        let asked = match backoff {
            Value::Number(delay) => json!({"type": "fixed", "delay": delay}),
            Value::Object(fields) if !fields.contains_key("delay") => {
                let mut fields = fields.clone();
                fields.insert("delay".to_owned(), json!(0));
                Value::Object(fields)
            }
            other => other.clone(),
        };
        body.insert("backoff".to_owned(), asked);
    }
}

/// Reads a number as Node writes it; 0 when there is none.
fn whole(value: Option<&Value>) -> Option<u64> {
    let Some(value) = value else { return Some(0) };
    let number = value.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n <= 9e15)?;
    // Checked: it is whole and not negative, and fits.
    Some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::super::retry::{Backoff, BackoffKind};
    use super::*;

    fn data() -> String {
        json!({"taskId": "T", "agentType": "worker", "priority": 7, "maxRetries": 9,
            "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["x"]}})
        .to_string()
    }

    fn read(options: Value) -> SpawnSpec {
        understand("spawn", &data(), &options.to_string()).unwrap()
    }

    #[test]
    fn options_win_over_the_body() {
        for (options, priority, retries) in [
            (json!({}), 1, 0),
            (json!({"priority": 0, "attempts": 0}), 1, 0),
            (json!({"priority": 1, "attempts": 1}), 1, 0),
            (json!({"priority": 10, "attempts": 4}), 10, 3),
            (json!({"priority": 2_097_151, "attempts": 21}), 10, 20),
        ] {
            let spec = read(options.clone());
            assert_eq!((spec.priority.get(), spec.max_retries), (priority, retries), "{options}");
        }
    }

    #[test]
    fn the_pauses_between_attempts_are_taken_over() {
        let fixed = Backoff { kind: BackoffKind::Fixed, delay: 500, jitter: 0.0 };
        assert_eq!(read(json!({"backoff": 500})).backoff, Some(fixed));
        assert_eq!(read(json!({"backoff": {"type": "fixed", "delay": 500}})).backoff, Some(fixed));
        let growing = read(json!({"backoff": {"type": "exponential", "delay": 20, "jitter": 0.5}})).backoff;
        assert_eq!(growing, Some(Backoff { kind: BackoffKind::Exponential, delay: 20, jitter: 0.5 }));
        assert_eq!(read(json!({"attempts": 2})).backoff, None);
    }

    #[test]
    fn every_fault_is_said_in_one_line() {
        let why =
            |name: &str, data: &str, options: &str| understand(name, data, options).unwrap_err().to_string();
        assert!(why("swpan", &data(), "{}").contains("\"spawn\""));
        assert!(why("spawn", "{oops", "{}").contains("not JSON"));
        assert!(why("spawn", "[1]", "{}").contains("must be a JSON object"));
        assert!(why("spawn", &data(), "5").contains("options"));
        let many = why("spawn", r#"{"taskId": ""}"#, r#"{"attempts": -1, "priority": "high", "repeat": {}}"#);
        for part in ["/taskId", "/agentType", "/context", "attempts", "priority", "scheduler"] {
            assert!(many.contains(part), "{part} is missing in: {many}");
        }
        assert!(why("spawn", &data(), r#"{"backoff": {"type": "mine"}}"#).contains("/backoff/type"));
        assert!(why("spawn", &data(), r#"{"attempts": 22}"#).contains("from 0 to 21"));
    }
}
