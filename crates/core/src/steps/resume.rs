//! Taking over: what an earlier server held in memory is found again, so that an agent goes on where it was. A program
//! that outlived its server is followed on; one that ended meanwhile is read to its end; any other step is begun again.

use std::time::Duration;

use super::context::{Running, StepContext, StepState, supervisor_failed};
use crate::domain::agent::State;
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind};
use crate::ports::processes::Adopted;
use crate::ports::runtime::Opening;
use crate::ports::transcripts::TranscriptCursor;
use crate::steps::launch::Memo;

pub(crate) async fn run(context: &StepContext<'_>, step_state: &mut StepState) -> Event {
    match &context.agent.state {
        State::Launching { .. } | State::Working => program(context, step_state).await,
        State::Committing { .. } | State::Gating { .. } | State::Publishing { .. } => {
            // A harvest or a gate of the earlier server would meet the one that is begun now.
            match context.orchestrator.stop_jobs(context.agent.id, Duration::ZERO).await {
                Ok(_) => Event::TakenOver,
                Err(e) => {
                    tracing::error!(agent.id = %context.agent.id, error = %e, "a job of an earlier server could not be stopped");
                    Event::Interrupted
                }
            }
        }
        _ => Event::TakenOver,
    }
}

/// Finds the agent's program again.
async fn program(context: &StepContext<'_>, step_state: &mut StepState) -> Event {
    let (o, agent) = (context.orchestrator, context.agent);
    let launching = matches!(agent.state, State::Launching { .. });
    match o.ports.processes.adopt(agent.id, &context.run_name()).await {
        Ok(Some(adopted)) if adopted.rebooted => {
            tracing::info!(agent.id = %agent.id, "the machine was started again; the attempt is repeated");
            Event::Interrupted
        }
        Ok(Some(adopted)) => match running(context, adopted).await {
            Ok((running, session)) => {
                step_state.running = Some(running);
                match launching {
                    true => Event::Launched { session, warnings: Vec::new() },
                    false => Event::TakenOver,
                }
            }
            Err(failure) => Event::Failed(failure),
        },
        // No program ever ran: the server died in the middle of the launch, which is begun again and is no failure.
        Ok(None) if launching => Event::TakenOver,
        Ok(None) => Event::Failed(Failure::new(
            FailureKind::Internal,
            "the supervisor of the agent's program was lost without a trace",
        )),
        Err(e) => Event::Failed(supervisor_failed(&e)),
    }
}

/// Puts conversation and transcript back to the transcript cursor.
async fn running(context: &StepContext<'_>, adopted: Adopted) -> Result<(Running, Option<String>), Failure> {
    let (o, agent) = (context.orchestrator, context.agent);
    let memo = adopted.memo.as_deref().and_then(|text| serde_json::from_str::<Memo>(text).ok());
    // Without a memo the conversation is only poorer: what was said before it began is not repeated.
    let memo = memo.unwrap_or_else(|| Memo {
        runtime: context.runtime_name().to_owned(),
        opening: Opening { session: agent.work.session.clone(), ..Opening::default() },
        credential: None,
    });
    let runtime = context.runtime(&memo.runtime)?;
    let mut dialogue = runtime.dialogue(&memo.opening);
    // The supervisor wrote this when the program started.
    drop(dialogue.start());
    let cursor = o.ports.transcripts.cursor(agent.id, agent.runs).await.unwrap_or_else(|e| {
        tracing::warn!(agent.id = %agent.id, error = %e, "transcript could not be read; this run is told from its start again");
        TranscriptCursor::default()
    });
    let credential = memo.credential.or_else(|| runtime.credential());
    let (job, runtime, opening) = (adopted.job, memo.runtime, memo.opening);
    let session = opening.session.clone();
    Ok((Running { job, dialogue, opening, runtime, credential, cursor, ours: false }, session))
}
