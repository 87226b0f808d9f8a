//! Reading of a spawn request's body.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reader::{FieldError, Reader, check_prose, escape_pointer};
use super::{AgentType, Budget, Context, GateProfile, Priority, SpawnSpec};
use crate::domain::ids::{Word, is_unprintable};
use crate::domain::repository::RepositoryUrl;
use crate::domain::retry::{Backoff, BackoffKind};
use crate::limits;

const FIELDS: &[&str] = &[
    "taskId",
    "agentType",
    "gateProfile",
    "gates",
    "context",
    "priority",
    "maxRetries",
    "backoff",
    "maxFixRounds",
    "timeoutSeconds",
    "runtime",
    "model",
    "budget",
    "labels",
    "nodeLabels",
];

const CONTEXT_FIELDS: &[&str] = &["repository", "branch", "workItems", "skills", "instructions"];

impl SpawnSpec {
    /// Reads the body of `POST /agents/spawn`. Errors with every fault found, never only the first.
    pub fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        let Value::Object(fields) = body else {
            let message = "the body must be a JSON object".to_owned();
            return Err(vec![FieldError { pointer: String::new(), code: "type".to_owned(), message }]);
        };
        let mut r = Reader::new("", fields, FIELDS);
        let task_id = r.name("taskId", true);
        let agent_type = r.choice("agentType", true, &AgentType::ALL, AgentType::as_str);
        let profile = r.choice("gateProfile", false, &GateProfile::ALL, GateProfile::as_str);
        let gate_profile = profile.or(agent_type.map(AgentType::default_profile));
        let gates = r.words("gates", limits::GATES);
        if profile != Some(GateProfile::Custom) && r.get("gates").is_some() {
            r.fault("gates", "invalid", "goes with gateProfile \"custom\" only");
        }
        let priority = r
            .number("priority", 1..=10)
            .map_or_else(Priority::default, |n| Priority::try_from(n).expect("the range was checked"));
        let max_retries = r.number("maxRetries", 0..=u64::from(limits::MAX_RETRIES)).unwrap_or(3);
        let backoff = Self::backoff(&mut r);
        let max_fix_rounds = r.number("maxFixRounds", 0..=u64::from(limits::MAX_FIX_ROUNDS)).unwrap_or(2);
        let timeout_seconds = r.number("timeoutSeconds", limits::TIMEOUT_SECONDS).unwrap_or(3600);
        let runtime = r.name("runtime", false);
        let model = r.text("model", false).map(str::to_owned);
        if let Some(model) = &model {
            let ok = |b: u8| b.is_ascii_alphanumeric() || b"._:/@[]-".contains(&b);
            if model.is_empty() || model.len() > 128 || model.starts_with('-') || !model.bytes().all(ok) {
                r.fault("model", "invalid", "must be a model name of at most 128 characters");
            }
        }
        let budget = Self::budget(&mut r);
        let labels = Self::labels(&mut r, "labels");
        let node_labels = Self::labels(&mut r, "nodeLabels");
        let context = Self::context(&mut r);
        if !r.errors.is_empty() {
            return Err(r.errors);
        }
        let all = (task_id, agent_type, gate_profile, context);
        let (Some(task_id), Some(agent_type), Some(gate_profile), Some(context)) = all else {
            unreachable!("a missing required field was noted as a fault")
        };
        let small = |n: u64| u32::try_from(n).expect("the range was checked");
        Ok(Self {
            task_id,
            agent_type,
            gate_profile,
            gates,
            context,
            priority,
            timeout_seconds,
            runtime,
            model,
            budget,
            labels,
            node_labels,
            // Allowed by name after they were found, never beforehand.
            allowed_secrets: Vec::new(),
            max_retries: small(max_retries),
            backoff,
            max_fix_rounds: small(max_fix_rounds),
        })
    }

    fn budget(r: &mut Reader<'_>) -> Budget {
        let Some(fields) = r.object("budget", false) else { return Budget::default() };
        let mut inner = Reader::new("/budget", fields, &["usd", "turns"]);
        let usd = match inner.get("usd").map(|v| (v, v.as_f64())) {
            Some((_, Some(usd))) if usd > 0.0 && usd.is_finite() => Some(usd),
            Some(_) => {
                inner.fault("usd", "range", "must be a number above 0");
                None
            }
            None => None,
        };
        let turns =
            inner.number("turns", 1..=100_000).map(|n| u32::try_from(n).expect("the range was checked"));
        r.errors.append(&mut inner.errors);
        Budget { usd, turns }
    }

    fn backoff(r: &mut Reader<'_>) -> Option<Backoff> {
        let fields = r.object("backoff", false)?;
        let mut inner = Reader::new("/backoff", fields, &["type", "delay", "jitter"]);
        let kind = inner.choice("type", true, &BackoffKind::ALL, BackoffKind::as_str);
        let delay = inner.number("delay", 0..=limits::BACKOFF_ASKED_MS);
        if inner.get("delay").is_none() {
            inner.fault("delay", "required", "is required");
        }
        let jitter = match inner.get("jitter").map(Value::as_f64) {
            None => 0.0,
            Some(Some(part)) if (0.0..=1.0).contains(&part) => part,
            Some(_) => {
                inner.fault("jitter", "range", "must be a number from 0 to 1");
                0.0
            }
        };
        r.errors.append(&mut inner.errors);
        Some(Backoff { kind: kind?, delay: delay?, jitter })
    }

    fn labels(r: &mut Reader<'_>, field: &str) -> BTreeMap<Word, String> {
        let mut out = BTreeMap::new();
        let Some(fields) = r.object(field, false) else { return out };
        if fields.len() > limits::LABELS {
            r.fault(field, "range", format!("must have at most {} entries", limits::LABELS));
        }
        for (key, value) in fields {
            let at = format!("{field}/{}", escape_pointer(key));
            match (key.parse::<Word>(), value.as_str()) {
                (Ok(key), Some(text))
                    if text.len() <= limits::LABEL_BYTES && !text.chars().any(is_unprintable) =>
                {
                    out.insert(key, text.to_owned());
                }
                (Err(e), _) => r.fault(&at, "invalid", format!("the label's name {e}")),
                _ => r.fault(&at, "invalid", "must be a printable string of at most 256 bytes"),
            }
        }
        out
    }

    fn context(r: &mut Reader<'_>) -> Option<Context> {
        let fields = r.object("context", true)?;
        let mut c = Reader::new("/context", fields, CONTEXT_FIELDS);
        let repository = c.name("repository", true);
        if repository.is_none()
            && c.get("repository").and_then(Value::as_str).is_some_and(RepositoryUrl::is_forbidden_transport)
            && let Some(last) = c.errors.last_mut()
        {
            last.code = "transport".to_owned();
        }
        let branch = c.name("branch", true);
        let items = c.list("workItems", limits::WORK_ITEMS).unwrap_or_default();
        if items.is_empty() && !c.errors.iter().any(|e| e.pointer.starts_with("/context/workItems")) {
            c.fault("workItems", "required", "must have at least one entry");
        }
        for (i, item) in items.iter().enumerate() {
            if let Err(why) = check_prose(item, limits::WORK_ITEM_BYTES) {
                c.fault(&format!("workItems/{i}"), "invalid", why.to_string());
            }
        }
        let skills = c.words("skills", limits::SKILLS);
        let instructions = c.text("instructions", false).map(str::to_owned);
        if let Some(Err(why)) =
            instructions.as_deref().map(|text| check_prose(text, limits::INSTRUCTIONS_BYTES))
        {
            c.fault("instructions", "invalid", why.to_string());
        }
        r.errors.append(&mut c.errors);
        Some(Context {
            repository: repository?,
            branch: branch?,
            work_items: items.into_iter().map(str::to_owned).collect(),
            skills,
            instructions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({
            "taskId": "US-001", "agentType": "worker", "gateProfile": "standard",
            "context": {"repository": "https://git.example.com/repo.git", "branch": "main",
                        "workItems": ["US-001"], "skills": ["typescript"]}
        })
    }

    fn faults(change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
        let mut body = body();
        change(&mut body);
        let errors = SpawnSpec::parse(&body).expect_err("the body was taken");
        errors.into_iter().map(|e| (e.pointer, e.message)).collect()
    }

    #[test]
    fn the_contracts_body_is_taken_with_its_defaults() {
        let spec = SpawnSpec::parse(&body()).unwrap();
        assert_eq!((spec.priority.get(), spec.max_retries, spec.timeout_seconds), (5, 3, 3600));
        let back: SpawnSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(back, spec);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let found = faults(|b| {
            b["taskId"] = json!("");
            b["agentType"] = json!("wroker");
            b["priority"] = json!(11);
            b["context"]["workItems"] = json!([]);
            b["context"]["repositry"] = json!("x");
        });
        let pointers: Vec<&str> = found.iter().map(|(p, _)| p.as_str()).collect();
        for pointer in ["/taskId", "/agentType", "/priority", "/context/workItems", "/context/repositry"] {
            assert!(pointers.contains(&pointer), "{pointer} missing in {found:?}");
        }
        assert!(found.iter().any(|(_, m)| m.contains("did you mean worker?")), "{found:?}");
        assert!(found.iter().any(|(_, m)| m.contains("did you mean \"repository\"?")), "{found:?}");
    }

    #[test]
    fn the_pauses_before_retries_may_be_said() {
        let mut asked = body();
        asked["backoff"] = json!({"type": "exponential", "delay": 1500, "jitter": 0.25});
        let spec = SpawnSpec::parse(&asked).unwrap();
        let wanted = Backoff { kind: BackoffKind::Exponential, delay: 1500, jitter: 0.25 };
        assert_eq!(spec.backoff, Some(wanted));
        let back: SpawnSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(back, spec);
        let found = faults(|b| b["backoff"] = json!({"type": "linear", "jitter": 2}));
        let pointers: Vec<&str> = found.iter().map(|(p, _)| p.as_str()).collect();
        assert_eq!(pointers, ["/backoff/type", "/backoff/delay", "/backoff/jitter"]);
    }

    #[test]
    fn gates_belong_to_the_custom_profile() {
        assert_eq!(faults(|b| b["gates"] = json!(["tests"]))[0].0, "/gates");
    }
}
