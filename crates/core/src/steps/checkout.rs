//! Step 3, checkout: the server's bare repository is fetched, the gates that will judge are fixed from the base commit, and
//! the agent's own working tree and branch are made from it.

use super::base_files::CommitFiles;
use super::context::{StepContext, StepState};
use crate::domain::agent::Turn;
use crate::domain::gates::GatePlan;
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::spec::GateProfile;
use crate::ports::gatekeeper::PlanRequest;

/// The repository's own configuration, read from the base commit only.
const CONFIG: &str = ".mosaic/config.toml";

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    o.monitor.disk_capacity().await.map_err(|text| Failure::new(FailureKind::Disk, text))?;
    let (base, remote_tip) = base(context).await?;
    // Work that goes on from the same base is judged by the gates that were fixed first, whatever this server
    // would choose by now.
    let (plan, mut warnings) = match (&agent.work.plan, &agent.work.base) {
        (Some(plan), Some(known)) if *known == base && !plan.has_lost_reports() => {
            (GatePlan::clone(plan), Vec::new())
        }
        _ => plan(context, &base).await?,
    };
    warnings.extend(missing_skills(context, step_state, &base).await?);
    warnings.extend(filters(context, &base).await?);
    let mut request = context.tree().unwrap_or_else(|_| first_tree(context, &base));
    request.base = base.clone();
    if agent.work.kept.is_none() {
        request.start = base.clone();
    }
    let tree = o.ports.trees.make_tree(&request).await?;
    warnings.extend(tree.warnings.iter().cloned());
    warnings.extend(unknown_tip(context, remote_tip.as_ref()).await?);
    step_state.tree = Some(tree);
    Ok(Event::TreeReady { base, remote_tip, plan, warnings })
}

/// Keeps the commit that the remote has as the agent's own branch where no attempt on record pushed it, and returns a warning that
/// names it: what is pushed now replaces it, and it may be nowhere else. Either the store went back in time, as after a restored
/// backup, and an attempt that it forgot had pushed, or somebody went on from an earlier push.
async fn unknown_tip(context: &StepContext<'_>, tip: Option<&CommitId>) -> Result<Option<String>, Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let Some(tip) = tip.filter(|tip| !agent.work.pushed_itself(tip)) else { return Ok(None) };
    let repository = &agent.spec.context.repository;
    let kept = o.ports.publisher.keep_remote_tip(repository, &agent.branch, tip, agent.id).await?;
    let cause = match agent.work.base {
        None => {
            "before any attempt that is on record: an earlier one was forgotten, for example by a store that was restored from \
             a backup"
        }
        Some(_) => "which no attempt of this agent pushed: somebody else changed the branch",
    };
    Ok(Some(format!(
        "{} was on the remote, at {tip}, {cause}. What is pushed now replaces that commit; it is kept on node {} as {}. Look at \
         it before you merge: mosaic restore {}",
        agent.branch, o.settings.node, kept.reference, agent.name
    )))
}

/// Asks the remote, except for a fix round, which goes on from what is known. Work that is kept stays on its base.
async fn base(context: &StepContext<'_>) -> Result<(CommitId, Option<CommitId>), Failure> {
    let work = &context.agent.work;
    if let (Turn::Fix { .. }, Some(base)) = (context.turn(), &work.base) {
        return Ok((base.clone(), work.remote_tip.clone()));
    }
    let task = &context.agent.spec.context;
    let remote = context
        .orchestrator
        .ports
        .publisher
        .fetch(&task.repository, &task.branch, &context.agent.branch)
        .await?;
    let base = match (&work.base, &work.kept) {
        (Some(base), Some(_)) => base.clone(),
        _ => remote.base,
    };
    Ok((base, remote.tip))
}

fn first_tree(context: &StepContext<'_>, base: &CommitId) -> crate::ports::repositories::TreeRequest {
    let spec = &context.agent.spec;
    crate::ports::repositories::TreeRequest {
        agent: context.agent.id,
        task: spec.task_id.to_string(),
        repository: spec.context.repository.clone(),
        base_branch: spec.context.branch.clone(),
        branch: context.agent.branch.clone(),
        base: base.clone(),
        start: base.clone(),
        reuse: *context.turn() != Turn::First || context.agent.work.dirty,
        unreceived: context.agent.work.dirty,
    }
}

/// Fixes what will judge the work. A strict profile with undefined gates ends here, before the agent starts.
async fn plan(context: &StepContext<'_>, base: &CommitId) -> Result<(GatePlan, Vec<String>), Failure> {
    let (o, spec) = (context.orchestrator, &context.agent.spec);
    let files = CommitFiles::of(context, base);
    let request = PlanRequest { profile: spec.gate_profile, custom: &spec.gates, base, files };
    let plan = o.ports.gatekeeper.plan(request).await?;
    let mut warnings = plan.warnings.clone();
    let strict = spec.gate_profile == GateProfile::Strict && !o.settings.allow_incomplete_strict;
    if strict && !plan.trusted {
        let text = format!(
            "profile strict needs gates that may be run, and the commands of {CONFIG} were not trusted"
        );
        return Err(Failure::new(FailureKind::GatesUndefined, text));
    }
    if !plan.undefined.is_empty() {
        let names: Vec<&str> = plan.undefined.iter().map(|name| name.as_str()).collect();
        let names = names.join(", ");
        if strict {
            let text = format!(
                "profile strict needs gates that nobody defines: {names}. Define them under [gates] in {CONFIG} on {}, \
                 choose another gateProfile, or set MOSAIC_ALLOW_INCOMPLETE=strict.",
                spec.context.branch
            );
            return Err(Failure::new(FailureKind::GatesUndefined, text));
        }
        warnings.push(format!("gates not defined in {CONFIG} of the base commit, so not judged: {names}"));
    }
    Ok((plan, warnings))
}

/// Names the git filters of the base commit: a change behind one is not published.
async fn filters(context: &StepContext<'_>, base: &CommitId) -> Result<Option<String>, Failure> {
    let repository = &context.agent.spec.context.repository;
    let uses = context.orchestrator.ports.commits.filters(repository, base).await?;
    if uses.is_empty() {
        return Ok(None);
    }
    let files = |n: u64| if n == 1 { "1 file".to_owned() } else { format!("{n} files") };
    let named: Vec<String> = uses
        .iter()
        .map(|one| format!("{} ({}, such as {})", one.filter, files(one.paths), one.example))
        .collect();
    Ok(Some(format!(
        "files of the repository go through git filters, which do not run here: {}. The agent sees them as git stores \
         them, and a change to one of them is not published",
        named.join("; ")
    )))
}

/// Names the skills that are nowhere; with `MOSAIC_SKILLS=require` they are a failure.
async fn missing_skills(
    context: &StepContext<'_>,
    step_state: &mut StepState,
    base: &CommitId,
) -> Result<Vec<String>, Failure> {
    let missing = context.skills(step_state, base).await?.missing;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let names = missing.join(", ");
    if context.orchestrator.settings.require_skills {
        let text = format!(
            "skills not found: {names}. Looked in {} of the base commit and in MOSAIC_SKILLS_DIR.",
            context
                .runtime(context.runtime_name())?
                .capabilities()
                .skills_directory
                .unwrap_or("no directory")
        );
        return Err(Failure::new(FailureKind::BadInput, text));
    }
    Ok(vec![format!("skills not found, passed on as hints only: {names}")])
}
