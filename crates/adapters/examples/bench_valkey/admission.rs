//! The orchestrator's own queue: whole admissions (task, agent, job, events), and agents taken and ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use mosaic_adapters::store_valkey::{ValkeyOptions, ValkeyStore};
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::facts::{AgentSpawning, Fact};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::journal::LogRecord;
use mosaic_core::domain::lifecycle::{self, Event, KillCause, Now, Salvage};
use mosaic_core::domain::publication::RemoteLook;
use mosaic_core::domain::spec::SpawnSpec;
use mosaic_core::ports::store::{Admission, Change, Lease, Safety, Store, StoreError};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::side::{Outcome, What, now, options, rate};

async fn store(what: &What) -> Outcome<Arc<ValkeyStore>> {
    let options = ValkeyOptions { link: options(what), ..ValkeyOptions::default() };
    Ok(Arc::new(ValkeyStore::connect(options).await?))
}

fn admission(what: &What) -> Outcome<Admission> {
    let mut body = what.data.clone();
    let id = AgentId(uuid::Uuid::new_v4());
    body["taskId"] = json!(id);
    let spec = SpawnSpec::parse(&body).map_err(|faults| format!("{faults:?}"))?;
    let agent = Agent::admitted(id, spec, "mosaic", None, now());
    let facts = vec![LogRecord::about(&agent, &Fact::AgentSpawning(AgentSpawning::of(&agent)), now())];
    Ok(Admission { agent, idempotency: None, job: None, job_data: None, facts })
}

/// Admits agents.
pub(super) async fn admit(what: What) -> Outcome<Value> {
    let store = store(&what).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let what = Arc::new(what);
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..what.flight {
        let (store, next, what) = (Arc::clone(&store), Arc::clone(&next), Arc::clone(&what));
        lanes.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < what.count {
                store.admit(admission(&what)?).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(rate(what.count, since))
}

/// Takes agents and ends them: one lease and three writes each.
pub(super) async fn turns(what: What) -> Outcome<Value> {
    let store = store(&what).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let since = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..what.flight {
        let (store, next, count) = (Arc::clone(&store), Arc::clone(&next), what.count);
        lanes.spawn(async move {
            let node = "bench".parse().expect("a word");
            while next.fetch_add(1, Ordering::Relaxed) < count {
                let Some((lease, record)) = store.lease(&node, now()).await? else {
                    return Err("too few agents wait".into());
                };
                let kill = Event::Kill { cause: KillCause::Operator, note: "bench".to_owned() };
                let agent = write(&store, &lease, &record.agent, Event::Leased).await?;
                let agent = write(&store, &lease, &agent, kill).await?;
                let unwound = Event::Unwound {
                    salvage: Salvage::Nothing,
                    pending: None,
                    look: RemoteLook::Unknown,
                    warnings: Vec::new(),
                };
                write(&store, &lease, &agent, unwound).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(rate(what.count, since))
}

async fn write(store: &ValkeyStore, lease: &Lease, agent: &Agent, event: Event) -> Result<Agent, StoreError> {
    let step = lifecycle::next(agent, event, Now { at: now(), dice: 0.5 })
        .map_err(|e| StoreError::Unavailable(e.to_string()))?;
    let change = Change { safety: Safety::Power, agent: step.agent.clone(), facts: step.facts };
    store.advance(lease, change).await?;
    Ok(step.agent)
}
