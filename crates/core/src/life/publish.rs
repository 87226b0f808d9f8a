//! Step 9, publish: conflict with the newest base looked for, then exactly the judged commit pushed, if the remote
//! branch still is where it was recorded.

use super::Scene;
use crate::domain::agent::State;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::fleet::push_lease;
use crate::limits;
use crate::ports::fleet::Hold;
use crate::ports::repositories::{Fit, Pushed};
use crate::ports::store::StoreError;

pub(super) async fn run(scene: &Scene<'_>) -> Result<Event, Failure> {
    let agent = scene.agent;
    let State::Publishing { head } = &agent.state else {
        return Err(Failure::new(FailureKind::Internal, "the judged commit is not known"));
    };
    let context = &agent.spec.context;
    let repositories = &scene.o.ports.repositories;
    if let Fit::Conflict { base, files } =
        repositories.fit(&context.repository, &context.branch, head).await?
    {
        return Ok(Event::Conflicted { base, files });
    }
    let recorded = agent.work.remote_tip.as_ref();
    if !may_push(scene).await? {
        return Ok(Event::Interrupted);
    }
    let hold = Hold::of(scene.driver.held.subscribe());
    let push = |expected| repositories.push(&context.repository, head, &agent.branch, expected, &hold);
    let pushed = match push(recorded).await? {
        // An earlier push of ours arrived although its answer did not.
        Pushed::Moved(Some(tip)) if agent.work.offered.contains(&tip) => push(Some(&tip)).await?,
        pushed => pushed,
    };
    match pushed {
        Pushed::Done => Ok(Event::Pushed),
        Pushed::Moved(tip) => {
            let now = tip.map_or("absent".to_owned(), |tip| format!("at {}", tip.short()));
            let text = format!(
                "somebody else changed {} on the remote while the agent worked (it is now {now}); nothing was pushed. \
                 The judged commit {} is kept; retry to start over.",
                agent.branch,
                head.short()
            );
            Err(Failure::new(FailureKind::PushRejected, text))
        }
        Pushed::Refused(why) => {
            let why = scene.o.ports.scanner.mask(&why);
            Err(Failure::new(
                FailureKind::PushRejected,
                format!("the remote refused {}: {why}", agent.branch),
            ))
        }
    }
}

/// Waits until enough is left of the lease, and asks the store right before the push whether it is the newest still: a
/// node that stood still meanwhile must not push what somebody else has gone on from.
async fn may_push(scene: &Scene<'_>) -> Result<bool, Failure> {
    let (o, driver) = (scene.o, scene.driver);
    let (Some(term), Some(lease)) = (o.ports.fleet.term(), &driver.lease) else { return Ok(true) };
    let least = push_lease(term);
    let begun = o.elapsed();
    while o.elapsed().saturating_sub(begun) < term {
        if !driver.holds_for(o, least).await {
            return Ok(false);
        }
        match o.ports.store.get(lease.agent).await {
            Ok(now) if now.node.as_ref() != Some(&lease.node) || now.epoch != lease.epoch => {
                return Ok(false);
            }
            Ok(_) if driver.held_until().is_none_or(|until| until >= o.elapsed() + least) => return Ok(true),
            // The answer took long: what is left is looked at again.
            Ok(_) => {}
            Err(StoreError::Unavailable(_)) => o.ports.clock.sleep(limits::STORE_RETRY).await,
            Err(e) => return Err(Failure::new(FailureKind::Internal, format!("before the push: {e}"))),
        }
    }
    Ok(false)
}
