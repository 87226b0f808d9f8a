//! Spawn requests of callers. [`SpawnSpec::parse`] turns the JSON body of a spawn into a value that is right by
//! construction, and names every fault at once, each with a pointer to the field (RFC 6901).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::characters::hidden_in;
use super::ids::{BranchName, InvalidName, TaskId, Word, is_unprintable};
use super::repository::RepositoryUrl;
use super::retry::{Backoff, BackoffKind};
use super::secrets::{AllowedSecret, Fingerprint};
use super::spent::Spent;
use crate::limits;

/// Purpose of an agent. Decides the default gate profile and what "nothing changed" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentType {
    /// Makes a change; without one it has failed.
    Worker,
    /// Reads and reports; a change is optional.
    Reviewer,
    /// Writes or runs tests; a change is optional.
    Tester,
}

impl AgentType {
    /// All types, in the contract's order.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Reviewer, Self::Tester];

    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Reviewer => "reviewer",
            Self::Tester => "tester",
        }
    }

    /// Returns the profile used when the caller names none.
    pub fn default_profile(self) -> GateProfile {
        match self {
            Self::Worker => GateProfile::Standard,
            Self::Reviewer => GateProfile::Strict,
            Self::Tester => GateProfile::Minimal,
        }
    }
}

/// Which gates judge the work. The lists are in [`GateProfile::gates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateProfile {
    /// Everything, and a gate without definition fails the agent.
    Strict,
    /// The four that most changes need.
    Standard,
    /// Tests only.
    Minimal,
    /// The caller's own list.
    Custom,
}

impl GateProfile {
    /// All profiles, in the contract's order.
    pub const ALL: [Self; 4] = [Self::Strict, Self::Standard, Self::Minimal, Self::Custom];

    /// Returns the contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Standard => "standard",
            Self::Minimal => "minimal",
            Self::Custom => "custom",
        }
    }

    /// Returns the profile's gates in running order (the contract's table); empty for `custom`.
    pub fn gates(self) -> &'static [&'static str] {
        match self {
            Self::Strict => &["typecheck", "lint", "tests", "coverage", "build", "integration", "ai-review"],
            Self::Standard => &["typecheck", "lint", "tests", "coverage"],
            Self::Minimal => &["tests"],
            Self::Custom => &[],
        }
    }
}

/// Urgency of work: 1 (first) to 10 (last), 5 when not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Priority(u8);

impl Priority {
    /// Returns the number, 1–10.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u64> for Priority {
    type Error = InvalidName;
    fn try_from(n: u64) -> Result<Self, InvalidName> {
        match u8::try_from(n) {
            Ok(n @ 1..=10) => Ok(Self(n)),
            _ => Err(InvalidName("must be a whole number from 1 (runs first) to 10".to_owned())),
        }
    }
}

impl From<Priority> for u64 {
    fn from(p: Priority) -> u64 {
        u64::from(p.0)
    }
}

/// Caps on what an agent may spend.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// US dollars, above 0. Passed to runtimes that report cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Model turns, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
}

impl Budget {
    /// Returns what is left for the next run after this was used up, or why nothing worth a run is: less than a tenth of
    /// a cap on dollars would end the run within its first calls, and its work with it.
    pub fn less(self, spent: Spent) -> Result<Self, String> {
        let micros = |usd: f64| (usd * 1e6).round();
        let usd = self.usd.map(|cap| (cap - spent.usd).max(0.0));
        if let (Some(cap), Some(left)) = (self.usd, usd)
            && spent.usd > 0.0
            && micros(left) * limits::BUDGET_PART <= micros(cap)
        {
            let used = spent.usd;
            return Err(format!(
                "${used:.2} of its ${cap:.2} are used up, and ${left:.2} are not enough for another run"
            ));
        }
        let turns = self.turns.map(|cap| cap.saturating_sub(spent.turns));
        if let (Some(cap), Some(0)) = (self.turns, turns) {
            return Err(format!("all of its {cap} turns are used up"));
        }
        // The last digits of sums of dollars are noise.
        Ok(Self { usd: usd.map(|left| micros(left) / 1e6), turns })
    }
}

/// Where the work is and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Context {
    /// The repository the agent works in.
    pub repository: RepositoryUrl,
    /// The base branch.
    pub branch: BranchName,
    /// Ids or texts, at least one.
    pub work_items: Vec<String>,
    /// Names of skills to make visible to the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Word>,
    /// Free text for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

/// A spawn request that was looked at in every field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpawnSpec {
    /// The caller's name for the work.
    pub task_id: TaskId,
    /// Purpose of the agent.
    pub agent_type: AgentType,
    /// Which gates judge it; the type's default when the caller named none.
    pub gate_profile: GateProfile,
    /// The list of a `custom` profile; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Word>,
    /// Repository, branch, work.
    pub context: Context,
    /// 1 runs first.
    #[serde(default)]
    pub priority: Priority,
    /// Automatic retries after the first attempt.
    pub max_retries: u32,
    /// The pauses before them; the usual ones when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Largest number of fix rounds: of times that findings go back to the agent.
    pub max_fix_rounds: u32,
    /// Seconds one attempt may take from its launch on.
    pub timeout_seconds: u64,
    /// The runtime asked for; the node's default when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Word>,
    /// The model asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Caps on spending.
    #[serde(default)]
    pub budget: Budget,
    /// Free labels for filtering.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Word, String>,
    /// Labels that the node must have on which it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<Word, String>,
    /// Findings of the secret scan that the operator allows, each with a reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_secrets: Vec<AllowedSecret>,
}

/// One fault of a request: where, a stable code, and what to say to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901).
    pub pointer: String,
    /// `required`, `type`, `invalid`, `unknown`, `range`, `transport`.
    pub code: String,
    /// Description of the fault, as a lower-case fragment.
    pub message: String,
}

/// Collects the faults of one body while it is taken apart field by field.
struct Reader<'a> {
    at: String,
    fields: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    fn new(at: &str, fields: &'a Map<String, Value>, known: &[&str]) -> Self {
        let mut reader = Self { at: at.to_owned(), fields, errors: Vec::new() };
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let shown: String = key.chars().take(64).flat_map(char::escape_default).collect();
            let hint = match closest(key, known) {
                Some(near) => format!("unknown field \"{shown}\" (did you mean \"{near}\"?)"),
                None => format!("unknown field \"{shown}\"; known are: {}", known.join(", ")),
            };
            reader.fault(&escape_pointer(key), "unknown", hint);
        }
        reader
    }

    fn fault(&mut self, field: &str, code: &str, message: impl Into<String>) {
        let pointer = format!("{}/{field}", self.at);
        self.errors.push(FieldError { pointer, code: code.to_owned(), message: message.into() });
    }

    /// Returns the field's value; `null` counts as absent.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|v| !v.is_null())
    }

    fn text(&mut self, field: &str, required: bool) -> Option<&'a str> {
        match self.get(field) {
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fault(field, "type", "must be a string");
                None
            }
            None => {
                if required {
                    self.fault(field, "required", "is required");
                }
                None
            }
        }
    }

    fn name<T: std::str::FromStr<Err = InvalidName>>(&mut self, field: &str, required: bool) -> Option<T> {
        let text = self.text(field, required)?;
        match text.parse() {
            Ok(name) => Some(name),
            Err(e) => {
                self.fault(field, "invalid", e.to_string());
                None
            }
        }
    }

    /// Reads a word out of a closed list.
    fn choice<T: Copy>(
        &mut self,
        field: &str,
        required: bool,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(field, required)?;
        let found = all.iter().copied().find(|&one| word(one) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|&one| word(one)).collect();
            let near = closest(text, &words).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            self.fault(field, "invalid", format!("must be one of {}{near}", words.join(", ")));
        }
        found
    }

    fn number(&mut self, field: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(field)?;
        match value.as_u64() {
            Some(n) if range.contains(&n) => Some(n),
            _ => {
                let text = format!("must be a whole number from {} to {}", range.start(), range.end());
                self.fault(field, if value.is_number() { "range" } else { "type" }, text);
                None
            }
        }
    }

    fn object(&mut self, field: &str, required: bool) -> Option<&'a Map<String, Value>> {
        match self.get(field) {
            Some(Value::Object(map)) => Some(map),
            Some(_) => {
                self.fault(field, "type", "must be an object");
                None
            }
            None => {
                if required {
                    self.fault(field, "required", "is required");
                }
                None
            }
        }
    }

    fn list(&mut self, field: &str, most: usize) -> Option<Vec<&'a str>> {
        let Some(value) = self.get(field) else { return Some(Vec::new()) };
        let Some(items) = value.as_array() else {
            self.fault(field, "type", "must be a list of strings");
            return None;
        };
        if items.len() > most {
            self.fault(field, "range", format!("must have at most {most} entries"));
            return None;
        }
        let mut out = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => out.push(text),
                None => self.fault(&format!("{field}/{i}"), "type", "must be a string"),
            }
        }
        Some(out)
    }

    fn words(&mut self, field: &str, most: usize) -> Vec<Word> {
        let mut out = Vec::new();
        for (i, text) in self.list(field, most).unwrap_or_default().into_iter().enumerate() {
            match text.parse::<Word>() {
                Ok(word) => out.push(word),
                Err(e) => self.fault(&format!("{field}/{i}"), "invalid", e.to_string()),
            }
        }
        out
    }
}

fn escape_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns the known word nearest to what was typed, when it is near enough to be meant.
pub fn closest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    if typed.len() > 64 {
        return None;
    }
    let typed = typed.to_lowercase();
    let near = |word: &&'a str| (strsim::damerau_levenshtein(&typed, &word.to_lowercase()), *word);
    known
        .iter()
        .map(near)
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .map(|(_, word)| word)
}

/// Text that goes to an agent may have line breaks and tabs, but no other control characters.
fn check_prose(text: &str, most: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.len() > most {
        return Err(format!("is longer than {most} bytes"));
    }
    if hidden_in(text).any(|(c, hidden)| hidden && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("must not contain control or invisible formatting characters".to_owned());
    }
    Ok(())
}

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

impl AllowedSecret {
    /// Reads a list of allowed findings, each a fingerprint with a reason. Errors with every fault found; `at` is where the
    /// list stands.
    pub fn list(at: &str, value: Option<&Value>) -> Result<Vec<Self>, Vec<FieldError>> {
        let fault = |at: String, code: &str, message: &str| {
            vec![FieldError { pointer: at, code: code.to_owned(), message: message.to_owned() }]
        };
        let items = match value {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= limits::ALLOWED_SECRETS => items,
            Some(Value::Array(_)) => return Err(fault(at.to_owned(), "range", "has too many entries")),
            Some(_) => return Err(fault(at.to_owned(), "type", "must be a list of objects")),
        };
        let (mut out, mut faults) = (Vec::new(), Vec::new());
        for (n, item) in items.iter().enumerate() {
            let at = format!("{at}/{n}");
            let Value::Object(fields) = item else {
                faults.extend(fault(at, "type", "must be an object"));
                continue;
            };
            let mut inner = Reader::new(&at, fields, &["fingerprint", "reason"]);
            let fingerprint = inner.text("fingerprint", true).map(Fingerprint::parse);
            if fingerprint == Some(None) {
                inner.fault("fingerprint", "invalid", "must be the 32 digits that the finding shows");
            }
            let reason = inner.text("reason", true);
            if let Some(Err(why)) = reason.map(|text| check_prose(text, limits::REASON_BYTES)) {
                inner.fault("reason", "invalid", why);
            }
            if let (true, Some(Some(fingerprint)), Some(reason)) =
                (inner.errors.is_empty(), fingerprint, reason)
            {
                out.push(Self { fingerprint, reason: reason.to_owned() });
            }
            faults.append(&mut inner.errors);
        }
        if faults.is_empty() { Ok(out) } else { Err(faults) }
    }
}

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
                c.fault(&format!("workItems/{i}"), "invalid", why);
            }
        }
        let skills = c.words("skills", limits::SKILLS);
        let instructions = c.text("instructions", false).map(str::to_owned);
        if let Some(Err(why)) =
            instructions.as_deref().map(|text| check_prose(text, limits::INSTRUCTIONS_BYTES))
        {
            c.fault("instructions", "invalid", why);
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
