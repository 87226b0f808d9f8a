//! The event that a run ends with, out of its exit, an alarm, and what the dialogue makes of both.

use std::time::Duration;

use super::messages::under_way;
use super::{Alarm, Supervisor};
use crate::domain::lifecycle::Event;
use crate::domain::outcome::{Failure, FailureKind, Outcome, cut};
use crate::domain::stall::{Stage, summary};
use crate::limits;
use crate::ports::processes::Exit;
use crate::steps::context::stopped;

impl Supervisor<'_> {
    pub(super) fn conclude(mut self, exit: &Exit, alarm: Option<Alarm>, left: Option<Duration>) -> Event {
        let outcome = match alarm {
            // The stop file is an order. It goes before an alarm of the same moment, which would make a
            // failure of it that is tried again.
            _ if exit.stopped => Outcome::Failed(stopped()),
            Some(Alarm::Deadline) => {
                let text = format!(
                    "the attempt ran past timeoutSeconds ({} s){}",
                    self.context.agent.spec.timeout_seconds,
                    under_way(&self.dialogue.pending())
                );
                Outcome::Failed(Failure::new(FailureKind::Timeout, text))
            }
            Some(Alarm::Silence(signals)) => {
                Outcome::Failed(Failure::new(FailureKind::Stalled, summary(Stage::Kill, &signals)))
            }
            Some(Alarm::AfterResult) => {
                self.warnings.push("the agent's program lived on after its result and was ended".to_owned());
                self.dialogue.outcome(exit)
            }
            None if exit.ended_by.is_some() => {
                let why = exit.ended_by.as_deref().unwrap_or_default();
                Outcome::Failed(Failure::new(FailureKind::Crash, format!("its supervisor ended it: {why}")))
            }
            None if exit.timed_out => Outcome::Failed(Failure::new(
                FailureKind::Timeout,
                "the attempt ran past its time while no server watched it",
            )),
            None => match &exit.start_error {
                Some(why) => {
                    let text = format!("the agent's program could not be started: {why}");
                    Outcome::Failed(Failure::new(FailureKind::ProgramMissing, text))
                }
                None => self.dialogue.outcome(exit),
            },
        };
        let outcome = match outcome {
            Outcome::Failed(f) if f.reset.is_some() => {
                Outcome::Failed(Failure { credential: self.credential.take(), ..f })
            }
            other => other,
        };
        // What an interrupted turn says of itself is what we did to it.
        let outcome = match outcome {
            Outcome::Failed(f) if self.interrupted && alarm.is_none() => {
                let text = format!("it was interrupted after a long silence: {}", f.message);
                Outcome::Failed(Failure::new(FailureKind::Stalled, text))
            }
            other => other,
        };
        if exit.leaked > 0 {
            self.warnings
                .push(format!("{} processes outlived the agent's program and were ended", exit.leaked));
        }
        let (scanner, keys) = (&self.context.orchestrator.ports.scanner, &self.keys);
        let mask = |text: String| scanner.mask(&keys.hide_again(&text));
        self.warnings.extend(self.dialogue.warnings().into_iter().map(&mask));
        let abandoned = under_way(&self.dialogue.pending());
        if alarm.is_none() && !abandoned.is_empty() {
            self.warnings.push(mask(format!("the agent's program ended by itself{abandoned}")));
        }
        let outcome = match outcome {
            Outcome::Completed { text } => Outcome::Completed { text: mask(cut(text, limits::ENTRY_BYTES)) },
            Outcome::Failed(f) => Outcome::Failed(f.reworded(mask)),
        };
        Event::TurnEnded { outcome, left, session: self.dialogue.session(), warnings: self.warnings }
    }
}
