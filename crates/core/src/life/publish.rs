//! Step 9, publish: conflict with the newest base looked for, then exactly the judged commit pushed, if the remote
//! branch still is where it was recorded.

use super::Scene;
use crate::domain::agent::State;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::ports::repositories::{Fit, Pushed};

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
    let push = |expected| repositories.push(&context.repository, head, &agent.branch, expected);
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
