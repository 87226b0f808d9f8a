//! Logs of gates: one as a whole or its last lines, and the ends of those of gates that did not pass.

use std::collections::VecDeque;
use std::io::Read;

use mosaic_api::{AgentGates, GateOutcome};

use super::path;
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Agent;
use crate::session::Session;

/// Bytes of a log's end that are fetched for a screen.
const END_BYTES: usize = 16 * 1024;
/// Logs whose ends are shown; the others are named by their results.
const ENDS: usize = 3;

/// The end of a gate's log.
pub(super) struct LogEnd {
    /// The gate.
    pub(super) gate: String,
    /// Its last bytes, as text.
    pub(super) text: String,
}

/// Returns the path of a gate's log.
pub(super) fn of(agent: &Agent, gate: &str) -> String {
    path(agent, &format!("/{}/log", escape(gate)))
}

/// Prints the log of a gate. On a terminal control characters are escaped; in a pipe the bytes are exact.
pub(super) fn run(
    session: &Session,
    client: &Client,
    agent: &Agent,
    gate: &str,
    tail: Option<usize>,
) -> Result<Exit, Problem> {
    let mut reader = client.stream(&of(agent, gate), "text/plain")?;
    let mut kept = Tail::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(|e| anyhow::Error::new(e).context("the log could not be read to its end"))?;
        if read == 0 {
            break;
        }
        match tail {
            Some(lines) => kept.push(&buffer[..read], lines),
            None => print(session, &buffer[..read])?,
        }
    }
    print(session, &kept.bytes())?;
    Ok(Exit::Ok)
}

fn print(session: &Session, bytes: &[u8]) -> Result<(), Problem> {
    if session.terminal.out {
        return session.print_raw(sanitize::block(&String::from_utf8_lossy(bytes)).as_bytes());
    }
    session.print_raw(bytes)
}

/// The last lines of a text that comes in pieces. A log has some MiB at most, so the lines have, too.
#[derive(Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
}

impl Tail {
    fn push(&mut self, piece: &[u8], most: usize) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            match self.lines.back_mut() {
                Some(last) if !last.ends_with(b"\n") => last.extend_from_slice(part),
                _ => self.lines.push_back(part.to_vec()),
            }
            if self.lines.len() > most {
                self.lines.pop_front();
            }
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.lines.into_iter().flatten().collect()
    }
}

/// Fetches the ends of the logs of gates that did not pass. One that is gone is left out: the results say enough without it.
pub(super) fn ends(client: &Client, agent: &Agent, gates: &AgentGates) -> Result<Vec<LogEnd>, Problem> {
    let is_red = |outcome| matches!(outcome, GateOutcome::Fail | GateOutcome::Error | GateOutcome::Flaky);
    let results = gates.report.iter().flat_map(|report| &report.results);
    let red = results.filter(|result| is_red(result.outcome) && result.log.is_some());
    let mut ends = Vec::new();
    for result in red.take(ENDS) {
        if let Some(bytes) = client.end_of(&of(agent, &result.name), END_BYTES)? {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ends.push(LogEnd { gate: result.name.clone(), text });
        }
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::Tail;

    #[test]
    fn a_tail_has_whole_lines_however_the_text_is_cut() {
        let text = b"one\ntwo\nthree\nfo\xffur";
        for size in [1, 3, 100] {
            for (most, wanted) in [(2, &b"three\nfo\xffur"[..]), (9, text), (0, b"")] {
                let mut tail = Tail::default();
                text.chunks(size).for_each(|piece| tail.push(piece, most));
                assert_eq!(tail.bytes(), wanted, "{most} lines in pieces of {size}");
            }
        }
    }
}
