//! Writing of the transcript: masked, bounded, and without what an earlier server wrote.

use super::Supervisor;
use super::messages::{masked, spoken};
use crate::domain::outcome::cut;
use crate::limits;
use crate::ports::runtime::AgentEvent;
use crate::ports::transcripts::Checkpoint;

impl Supervisor<'_> {
    /// Keeps an event for the transcript while there is room; the raw output has the rest.
    pub(super) fn keep(&mut self, event: AgentEvent) {
        if self.room == 0 {
            return;
        }
        let (scanner, keys) = (&self.context.orchestrator.ports.scanner, &mut self.keys);
        // Keys are followed over the whole text before it is cut: a header beyond the cut still opens the
        // body that later events bring.
        let event =
            masked(event, |text| scanner.mask(&cut(keys.hide(&text).into_owned(), limits::ENTRY_BYTES)));
        if let AgentEvent::Denied { tool, reason } = &event {
            self.warnings.push(cut(format!("{tool} was denied: {reason}"), 500));
        }
        self.room = self.room.saturating_sub(limits::ENTRY_OVERHEAD_BYTES + spoken(&event));
        self.tell(event);
        if self.room == 0 {
            let text = "the transcript is full; what follows is in the raw output only".to_owned();
            self.warnings
                .push("the agent said more than a transcript holds; the raw output has the rest".to_owned());
            self.tell(AgentEvent::Notice { text });
        }
    }

    /// Tells whether an earlier server dealt with the current line whole.
    pub(super) fn is_told(&self) -> bool {
        self.line_end <= self.cursor.bytes
    }

    /// Puts an event into the transcript unless it stands there.
    fn tell(&mut self, event: AgentEvent) {
        if self.is_told() {
            return;
        }
        match self.cursor.entries.checked_sub(1) {
            Some(left) => self.cursor.entries = left,
            None => self.entries.push(event),
        }
    }

    /// Writes what was said, many lines at once.
    pub(super) async fn write_entries(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let (o, agent, entries) =
            (self.context.orchestrator, self.context.agent, std::mem::take(&mut self.entries));
        // While lines of an earlier server are read again the end of the line lies behind the cursor, and a
        // checkpoint that went back would tell them twice to the next server.
        let checkpoint = Checkpoint { run: agent.runs, bytes: self.line_end.max(self.cursor.bytes) };
        if let Err(e) =
            o.ports.transcripts.append(agent.id, o.now(), agent.attempt, checkpoint, entries).await
        {
            tracing::warn!(agent.id = %agent.id, error = %e, "transcript could not be written");
        }
    }
}
