//! Step 1, admit: look at the request, give ids, write task, agent and queue entry in one atomic step, answer.

use serde_json::{Value, json};

use crate::domain::agent::Agent;
use crate::domain::ids::AgentId;
use crate::domain::lifecycle::fact;
use crate::domain::spec::{FieldError, GateProfile, SpawnSpec};
use crate::orchestrator::{Orchestrator, RetryError, SpawnError, Spawned};
use crate::ports::store::{Admission, Admitted, Idempotency};

impl Orchestrator {
    /// Admits the agent that the body of a spawn request describes. It is durable when this returns.
    pub async fn spawn(&self, body: &Value, idempotency: Option<Idempotency>) -> Result<Spawned, SpawnError> {
        let spec = SpawnSpec::parse(body).map_err(refused)?;
        self.admit(spec, None, idempotency).await
    }

    /// Checks a spawn request without admitting anything; returns the specification as understood.
    pub fn validate(&self, body: &Value) -> Result<SpawnSpec, SpawnError> {
        let spec = SpawnSpec::parse(body).map_err(refused)?;
        self.check_satisfiable(&spec)?;
        Ok(spec)
    }

    /// Makes a new agent with the specification of one that has ended; it names its predecessor.
    pub async fn retry(&self, id: AgentId, idempotency: Option<Idempotency>) -> Result<Spawned, RetryError> {
        let old = self.ports.store.get(id).await.map_err(SpawnError::from)?;
        if !old.agent.is_terminal() {
            return Err(RetryError::StillActive(id));
        }
        Ok(self.admit(old.agent.spec, Some(id), idempotency).await?)
    }

    fn check_satisfiable(&self, spec: &SpawnSpec) -> Result<(), SpawnError> {
        self.ports.repositories.allowed(&spec.context.repository).map_err(SpawnError::Denied)?;
        if spec.gate_profile == GateProfile::Custom && spec.gates.is_empty() {
            let text = "gateProfile custom needs a list of gates; add \"gates\": [\"tests\", …]";
            return Err(SpawnError::Unsatisfiable(text.to_owned()));
        }
        let name = spec.runtime.as_ref().map_or(self.settings.default_runtime.as_str(), |r| r.as_str());
        if !self.ports.runtimes.contains_key(name) {
            let known: Vec<&str> = self.ports.runtimes.keys().map(String::as_str).collect();
            let text = format!("no runtime \"{name}\" on this node; there are: {}", known.join(", "));
            return Err(SpawnError::Unsatisfiable(text));
        }
        if spec.budget.usd.is_some() && name == "command" {
            let text = "a dollar cap needs a runtime that reports cost, which \"command\" does not; cap timeoutSeconds instead";
            return Err(SpawnError::Unsatisfiable(text.to_owned()));
        }
        Ok(())
    }

    async fn admit(
        &self,
        mut spec: SpawnSpec,
        previous: Option<AgentId>,
        idempotency: Option<Idempotency>,
    ) -> Result<Spawned, SpawnError> {
        if self.is_draining() {
            return Err(SpawnError::ShuttingDown);
        }
        self.know_orders().await;
        if let Some(latch) = self.orders.latch() {
            return Err(SpawnError::Stopped(latch));
        }
        self.check_satisfiable(&spec)?;
        // Whichever node runs it, and whatever that one's default is: it is what was promised here.
        spec.runtime.get_or_insert_with(|| self.settings.default_runtime.clone());
        self.disk_room().await.map_err(SpawnError::DiskLow)?;
        let now = self.now();
        let agent =
            Agent::admitted(self.ports.chance.agent_id(), spec, &self.settings.branch_prefix, previous, now);
        let data = json!({
            "to": "spawning", "name": &agent.name, "agentType": agent.spec.agent_type,
            "repository": &agent.spec.context.repository, "priority": agent.spec.priority, "previousAgentId": previous,
        });
        let facts = vec![fact("agent.spawning", &agent, now, data)];
        let admitted = self.ports.store.admit(Admission { agent, idempotency, job: None, facts }).await?;
        Ok(match admitted {
            Admitted::New(record) => {
                self.orders.admitted(record.seq);
                self.wake.notify_one();
                Spawned { record, replayed: false }
            }
            Admitted::Replay(record) => Spawned { record, replayed: true },
        })
    }
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
