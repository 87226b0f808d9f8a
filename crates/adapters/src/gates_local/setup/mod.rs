//! Setup: the command that makes a tree ready, such as `npm ci`. It runs once per content of its lock files and toolchain, on a
//! checkout of the base commit that no agent ever saw; agents' trees and gates' checkouts get copies of what it made.
//!
//! A setup that fails is a fault of the base or of this machine: the agent is not started, and nothing is laid on it.

mod error;
mod give;
mod job;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mosaic_core::domain::gates::{GatePlan, SetupDefinition};
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::{CommitSource, JudgeRequest, PrepareRequest, Prepared};
use sha2::{Digest, Sha256};

use self::error::SetupError;
use super::LocalGatekeeper;
use super::base_fault;
use super::cache::{Entry, GateCache, Kind};
use super::judging::Judging;
use super::missing_tool;
pub(super) use give::Given;
use give::Place;

/// Form of the entries: another build must not read what it would understand differently.
const FORM: &str = "1";

/// The agent for which a setup is run, and the commit that it is run on.
struct Wanted<'a> {
    agent: AgentId,
    /// Number in the name of its log.
    round: u32,
    repository: &'a RepositoryUrl,
    base: &'a CommitId,
    setup: &'a SetupDefinition,
}

/// Looks whether the plan can be carried out here, and puts into the agent's tree what the setup makes.
pub(super) async fn prepare(
    keeper: &LocalGatekeeper,
    request: &PrepareRequest,
    base: &Arc<dyn CommitSource>,
) -> Result<Prepared, Failure> {
    let plan = &request.plan;
    let Some(cache) = keeper.cache.as_ref().filter(|_| plan.trusted) else { return Ok(Prepared::default()) };
    tools_are_there(keeper, plan)?;
    let warnings = base_fault::known(keeper, request, base).await;
    let Some(setup) = &plan.setup else { return Ok(Prepared { warnings }) };
    let (agent, round) = (request.agent, request.round);
    let wanted = Wanted { agent, round, repository: &request.repository, base: &request.base, setup };
    let entry = entry(keeper, cache, &wanted, base).await?;
    let place = Place {
        tree: request.tree.clone(),
        home: Some(request.home.clone()),
        inside: None,
        note: request.tree.as_ref().and_then(|tree| tree.parent()).map(Path::to_owned),
    };
    give::all(&entry, setup, place).await?;
    Ok(Prepared { warnings })
}

/// Puts into a checkout that is judged, and later into the homes of its gates, what the setup makes. Where the commit changes what
/// the setup depends on, each gate runs it again in its own place before its command: it is the commit's own content that it
/// works on, and what it makes is nobody else's.
pub(super) async fn for_gates(
    keeper: &LocalGatekeeper,
    request: &JudgeRequest,
    source: &Arc<dyn CommitSource>,
    judging: &mut Judging,
) -> Result<(), Failure> {
    let (Some(setup), Some(cache)) = (&request.plan.setup, &keeper.cache) else { return Ok(()) };
    // A checkout of its own, also when the base itself is judged: the setup takes what it made out of the one that it ran in.
    // Without a base there is nothing that may be shared.
    let Some(base) = source.base() else {
        judging.setup_first = Some(setup.run.clone());
        return Ok(());
    };
    let (agent, round) = (request.agent, request.round);
    let wanted = Wanted { agent, round, repository: &request.repository, base: &request.base, setup };
    let entry = entry(keeper, cache, &wanted, &base).await?;
    let given = Given { entry, checkout: judging.checkout.clone(), isolated: judging.is_isolated() };
    given.to_checkout(setup).await?;
    judging.given = Some(given);
    let inputs = &setup.inputs;
    // Without a list of inputs every commit changes them: gates on what the base's setup made could pass what is broken.
    let is_same = request.commit == request.base
        || !inputs.is_empty() && source.objects(inputs).await? == base.objects(inputs).await?;
    if is_same {
        return Ok(());
    }
    judging.setup_first = Some(setup.run.clone());
    Ok(())
}

/// Refuses a plan with a program that is not on this machine.
fn tools_are_there(keeper: &LocalGatekeeper, plan: &GatePlan) -> Result<(), SetupError> {
    let setup = plan.setup.iter().map(|setup| ("the setup".to_owned(), setup.run.as_str()));
    let gates =
        plan.gates.iter().filter_map(|gate| Some((format!("gate {}", gate.name), gate.run.as_deref()?)));
    let missing = |(what, run): (String, &str)| Some((what, missing_tool::of_command(run, &keeper.tools)?));
    // A gate may run what the setup installs, but not under a name without a path.
    let missing: Vec<_> = setup.chain(gates).filter_map(missing).collect();
    if missing.is_empty() { Ok(()) } else { Err(SetupError::ToolMissing(missing)) }
}

/// Returns what the setup makes of this base: from the cache, or by running it. Of several tasks that need the same one, one runs
/// it and the others wait.
async fn entry(
    keeper: &LocalGatekeeper,
    cache: &Arc<GateCache>,
    wanted: &Wanted<'_>,
    base: &Arc<dyn CommitSource>,
) -> Result<Entry, Failure> {
    let key = key(keeper, wanted, base).await?;
    if let Some(entry) = cache.find(Kind::Setup, &key) {
        return Ok(entry);
    }
    let limit = job::time_limit(wanted.setup) + limits::GATE_MARGIN;
    let locked = cache.lock(&key, keeper.options.clock.as_ref(), limit).await;
    let _locked = locked.map_err(SetupError::Lock)?;
    if let Some(entry) = cache.find(Kind::Setup, &key) {
        return Ok(entry);
    }
    let made = job::run(&keeper.options, wanted, base.as_ref()).await?;
    let kept = made.keep(cache, &key, wanted.setup).await;
    made.remove(&keeper.options).await;
    Ok(kept?)
}

/// Returns the key: everything that what is made depends on.
async fn key(
    keeper: &LocalGatekeeper,
    wanted: &Wanted<'_>,
    base: &Arc<dyn CommitSource>,
) -> Result<String, Failure> {
    let setup = wanted.setup;
    // Without a list of inputs everything in the tree may be one.
    let whole = [String::new()];
    let inputs = if setup.inputs.is_empty() { &whole[..] } else { &setup.inputs };
    let objects = base.objects(inputs).await?;
    let known = objects.iter().any(Option::is_some);
    let commit = (!known).then_some(wanted.base);
    let repository = wanted.repository.as_str();
    let all =
        (FORM, repository, &setup.run, inputs, &setup.outputs, objects, commit, keeper.tools.fingerprint());
    let all = serde_json::to_vec(&all).map_err(|e| SetupError::Cache(std::io::Error::other(e)))?;
    Ok(base16ct::lower::encode_string(&Sha256::digest(all)[..16]))
}

/// Does file work off the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, SetupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(SetupError::Cache)
}

/// Path of an output: in the tree, or in the home of the setup where it begins with `~/`.
fn output(path: &str) -> Option<(Side, PathBuf)> {
    let (side, path) = path.strip_prefix("~/").map_or((Side::Tree, path), |path| (Side::Home, path));
    let path = path.trim_end_matches('/');
    crate::gate_reports::check_path(path).is_ok().then(|| (side, PathBuf::from(path)))
}

/// Directory in which something is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The checkout, or the agent's tree.
    Tree,
    /// The home.
    Home,
}

impl Side {
    /// Returns its name in an entry.
    fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Home => "home",
        }
    }
}
