//! Step 9, publish: conflict with the newest base looked for, then exactly the judged commit pushed, if the remote
//! branch still is where it was recorded. It counts as pushed once the remote shows it.

use super::context::{StepContext, StepState};
use crate::domain::agent::State;
use crate::domain::ids::CommitId;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::fleet::push_lease;
use crate::limits;
use crate::ports::fleet::Hold;
use crate::ports::repositories::{Fit, Pushed};
use crate::ports::store::StoreError;

pub(super) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Result<Event, Failure> {
    let agent = context.agent;
    let State::Publishing { head } = &agent.state else {
        return Err(Failure::new(FailureKind::Internal, "the judged commit is not known"));
    };
    let task = &agent.spec.context;
    let publisher = &context.orchestrator.ports.publisher;
    if let Fit::Conflict { base, files } = publisher.fit(&task.repository, &task.branch, head).await? {
        return Ok(Event::Conflicted { base, files });
    }
    // Only now, because the trial merge above fetches and may take minutes, in which the lease can be lost.
    if !may_push(context).await? {
        return Ok(Event::Interrupted);
    }
    step_state.push_over = false;
    let pushed = push(context, head).await;
    // Only where the remote turned the push down nothing of it can arrive any more. A connection that broke
    // may have delivered it.
    step_state.push_over = matches!(pushed, Ok(Pushed::Moved(_) | Pushed::Refused(_)));
    match pushed {
        Ok(Pushed::Done) => confirm(context, head).await,
        Ok(Pushed::Moved(tip)) => Err(moved(context, head, tip)),
        Ok(Pushed::Refused(why)) => {
            let why = context.orchestrator.ports.scanner.mask(&why);
            Err(Failure::new(
                FailureKind::PushRejected,
                format!("the remote refused {}: {why}", agent.branch),
            ))
        }
        // It may have arrived although its answer did not.
        Err(failure) => match context.orchestrator.shown(agent).await {
            Ok(Some(shown)) if shown == *head => Ok(Event::Pushed { shown: true }),
            _ => Err(failure),
        },
    }
}

async fn push(context: &StepContext<'_>, head: &CommitId) -> Result<Pushed, Failure> {
    let (agent, publisher) = (context.agent, &context.orchestrator.ports.publisher);
    let hold = Hold::of(context.driver.held.subscribe());
    let to = &agent.spec.context.repository;
    let push = |expected| publisher.push(to, head, &agent.branch, expected, &hold);
    match push(agent.work.remote_tip.as_ref()).await? {
        // An earlier push of ours arrived although its answer did not.
        Pushed::Moved(Some(tip)) if agent.work.offered.contains(&tip) => push(Some(&tip)).await,
        pushed => Ok(pushed),
    }
}

/// Asks the remote for what it said that it took. One that cannot be asked is taken at its word, and the record says so.
async fn confirm(context: &StepContext<'_>, head: &CommitId) -> Result<Event, Failure> {
    let o = context.orchestrator;
    let mut answered = false;
    for look in 0..limits::PUSH_LOOKS {
        if look > 0 {
            o.ports.clock.sleep(limits::PUSH_LOOK_PAUSE).await;
        }
        match o.shown(context.agent).await {
            Ok(Some(shown)) if shown == *head => return Ok(Event::Pushed { shown: true }),
            // One answer is enough to doubt the push. Only a remote that never answers is taken at its word.
            Ok(_) => answered = true,
            Err(e) => {
                tracing::warn!(agent.id = %context.agent.id, error = %e.message, "the remote could not be asked for what was pushed");
            }
        }
    }
    if !answered {
        return Ok(Event::Pushed { shown: false });
    }
    let (branch, commit, name) = (&context.agent.branch, head.short(), &context.agent.name);
    let text = format!(
        "the remote said that it took {branch}, but it does not show the commit {commit}; the commit is kept: look at \
         it with mosaic restore {name}, ask the remote's administrator, then retry"
    );
    Err(Failure::new(FailureKind::PushNotShown, text))
}

fn moved(context: &StepContext<'_>, head: &CommitId, tip: Option<CommitId>) -> Failure {
    let now = tip.map_or("absent".to_owned(), |tip| format!("at {}", tip.short()));
    let text = format!(
        "somebody else changed {} on the remote while the agent worked (it is now {now}); nothing was pushed. \
         The judged commit {} is kept; retry to start over.",
        context.agent.branch,
        head.short()
    );
    Failure::new(FailureKind::PushRejected, text)
}

/// Waits until enough is left of the lease, and asks the store right before the push whether it is the newest still: a
/// node that stood still meanwhile must not push what somebody else has gone on from.
async fn may_push(context: &StepContext<'_>) -> Result<bool, Failure> {
    let (o, driver) = (context.orchestrator, context.driver);
    let (Some(term), Some(lease)) = (o.ports.fleet.term(), &driver.lease) else { return Ok(true) };
    let least = push_lease(term);
    let begun = o.elapsed();
    while o.elapsed().saturating_sub(begun) < term {
        if !driver.holds_for(&o.clocks, least).await {
            return Ok(false);
        }
        match o.ports.store.get(lease.agent).await {
            Ok(now) if now.node.as_ref() != Some(&lease.node) || now.epoch != lease.epoch => {
                return Ok(false);
            }
            Ok(_) if driver.held_until().is_none_or(|until| until >= o.elapsed() + least) => return Ok(true),
            // The answer took long: what is left is looked at again.
            Ok(_) => {}
            Err(StoreError::Unavailable(_) | StoreError::NotSafe(_)) => {
                o.ports.clock.sleep(limits::STORE_RETRY).await
            }
            Err(e) => return Err(Failure::new(FailureKind::Internal, format!("before the push: {e}"))),
        }
    }
    Ok(false)
}
