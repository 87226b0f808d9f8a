//! Step 1, admit: look at the request, give ids, write task, agent and queue entry in one atomic step, answer.

use serde_json::Value;

use crate::domain::agent::Agent;
use crate::domain::facts::{AgentSpawning, Fact};
use crate::domain::ids::{AgentId, Timestamp};
use crate::domain::journal::LogRecord;
use crate::domain::lifecycle::{self, Event};
use crate::domain::secrets::AllowedSecret;
use crate::domain::spec::{FieldError, GateProfile, SpawnSpec};
use crate::orchestrator::{Orchestrator, RetryError, SpawnError, Spawned};
use crate::ports::store::{Admission, Admitted, Idempotency};

/// Where a new agent comes from, besides what it is asked to do.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    /// The agent it repeats.
    pub(crate) previous: Option<AgentId>,
    /// The caller's idempotency key.
    pub(crate) idempotency: Option<Idempotency>,
    /// The job that another producer put into the queue.
    pub(crate) job: Option<String>,
    /// The data of that job, where the request was read from them.
    pub(crate) job_data: Option<String>,
    /// Not before this time.
    pub(crate) until: Option<Timestamp>,
}

impl Orchestrator {
    /// Admits the agent that the body of a spawn request describes. It is durable when this returns.
    pub async fn spawn(&self, body: &Value, idempotency: Option<Idempotency>) -> Result<Spawned, SpawnError> {
        let spec = self.understand(body)?;
        self.admit(spec, Origin { idempotency, ..Origin::default() }).await
    }

    /// Checks a spawn request without admitting anything; returns the specification as understood.
    pub fn validate(&self, body: &Value) -> Result<SpawnSpec, SpawnError> {
        let spec = self.understand(body)?;
        self.refuse_known_values(&spec, &Origin::default())?;
        self.check_satisfiable(&spec)?;
        Ok(spec)
    }

    fn understand(&self, body: &Value) -> Result<SpawnSpec, SpawnError> {
        SpawnSpec::parse(body).map_err(|errors| refused(self.hide_in_faults(errors)))
    }

    /// Makes a new agent with the specification of one that has ended; it names its predecessor. `allowed` are findings of
    /// the secret scan that the operator allows from now on, besides those that were allowed before.
    pub async fn retry(
        &self,
        id: AgentId,
        allowed: Vec<AllowedSecret>,
        idempotency: Option<Idempotency>,
    ) -> Result<Spawned, RetryError> {
        let old = self.ports.store.get(id).await.map_err(SpawnError::from)?;
        if !old.agent.is_terminal() {
            return Err(RetryError::StillActive(id));
        }
        let origin = Origin { previous: Some(id), idempotency, ..Origin::default() };
        let mut spec = old.agent.spec;
        spec.allowed_secrets.retain(|known| allowed.iter().all(|one| one.fingerprint != known.fingerprint));
        spec.allowed_secrets.extend(allowed);
        Ok(self.admit(spec, origin).await?)
    }

    fn check_satisfiable(&self, spec: &SpawnSpec) -> Result<(), SpawnError> {
        self.ports.publisher.allowed(&spec.context.repository).map_err(|e| SpawnError::Denied(e.0))?;
        if spec.gate_profile == GateProfile::Custom && spec.gates.is_empty() {
            let text = "gateProfile custom needs a list of gates; add \"gates\": [\"tests\", …]";
            return Err(SpawnError::Unsatisfiable(text.to_owned()));
        }
        let name = spec.runtime.as_ref().map_or(self.settings.default_runtime.as_str(), |r| r.as_str());
        let Some(runtime) = self.ports.runtimes.get(name) else {
            let known: Vec<&str> = self.ports.runtimes.keys().map(String::as_str).collect();
            let text = format!("no runtime \"{name}\" on this node; there are: {}", known.join(", "));
            return Err(SpawnError::Unsatisfiable(text));
        };
        if spec.budget.usd.is_some() && !runtime.capabilities().reports_cost {
            let text = format!(
                "a dollar cap needs a runtime that reports cost, which \"{name}\" does not; cap timeoutSeconds instead"
            );
            return Err(SpawnError::Unsatisfiable(text));
        }
        Ok(())
    }

    /// Refuses a request that holds a value which the server itself keeps secret, whatever text of it does: it is recorded,
    /// shown and handed to the agent, and the branch, which is pushed, is named after the task. The answer repeats nothing of it.
    fn refuse_known_values(&self, spec: &SpawnSpec, origin: &Origin) -> Result<(), SpawnError> {
        let mut errors = self.known_values_in("", spec);
        let key = origin.idempotency.as_ref().map(|one| ("/headers/idempotency-key", &one.key));
        let names = key.into_iter().chain(origin.job.as_ref().map(|job| ("/jobId", job)));
        errors.extend(names.flat_map(|(pointer, text)| self.known_values_in(pointer, text)));
        if errors.is_empty() { Ok(()) } else { Err(SpawnError::Invalid(errors)) }
    }

    /// Admits an agent after every check that a request goes through.
    pub(crate) async fn admit(&self, mut spec: SpawnSpec, origin: Origin) -> Result<Spawned, SpawnError> {
        if self.is_draining() {
            return Err(SpawnError::ShuttingDown);
        }
        // Callers may be answered before the engine has read what stands. Without this a spawn would slip
        // past an engaged switch.
        self.orders.know().await;
        if let Some(latch) = self.orders.latch() {
            return Err(SpawnError::Stopped(latch));
        }
        self.refuse_known_values(&spec, &origin)?;
        self.check_satisfiable(&spec)?;
        // Whichever node runs it, and whatever that one's default is: it is what was promised here.
        spec.runtime.get_or_insert_with(|| self.settings.default_runtime.clone());
        self.monitor.disk_capacity().await.map_err(SpawnError::DiskLow)?;
        let Origin { previous, idempotency, job, job_data, until } = origin;
        let now = self.now();
        let id = self.ports.chance.agent_id();
        let mut agent = Agent::admitted(id, spec, &self.settings.branch_prefix, previous, now);
        if let Some(until) = until {
            agent = put_off(&agent, until, self.decide_now());
        }
        let spawning = Fact::AgentSpawning(AgentSpawning::of(&agent));
        let facts = vec![LogRecord::about(&agent, &spawning, now)];
        let admitted = self.ports.store.admit(Admission { agent, idempotency, job, job_data, facts }).await?;
        Ok(match admitted {
            Admitted::New(record) => {
                // Noted before the caller is answered: a kill-all that the caller orders next must cover this agent.
                self.orders.admitted(record.seq);
                self.wake.notify_one();
                Spawned { record, replayed: false }
            }
            Admitted::Replay(record) => Spawned { record, replayed: true },
        })
    }
}

/// Lets a new agent wait until the time that its producer wants.
fn put_off(agent: &Agent, until: Timestamp, now: lifecycle::Now) -> Agent {
    let why = "its producer wants it to start later".to_owned();
    let event = Event::PutOff { until, why, credential: None };
    lifecycle::next(agent, event, now).map_or_else(|_| agent.clone(), |step| step.agent)
}

/// A request whose only fault is a way of reaching repositories that is never allowed is denied, not malformed.
fn refused(errors: Vec<FieldError>) -> SpawnError {
    match errors.as_slice() {
        [only] if only.code == "transport" => {
            SpawnError::Denied(format!("{} {}", only.pointer, only.message))
        }
        _ => SpawnError::Invalid(errors),
    }
}
