//! Output of gates, read back for the caller: bounded, with the middle left out, secrets of this machine masked.

use crate::domain::gates::GateReport;
use crate::domain::ids::AgentId;
use crate::limits;
use crate::ports::Ports;

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// Reads the output of each gate of a report. An output that cannot be read is left out: the verdict does not depend on it.
pub(super) async fn of(ports: &Ports, agent: AgentId, report: &GateReport) -> Vec<Option<String>> {
    let named = report.results.iter().filter(|result| result.log.is_some()).count().max(1);
    let most = (limits::CHECK_OUTPUT_BYTES / named).min(limits::CHECK_GATE_OUTPUT_BYTES);
    let mut outputs = Vec::with_capacity(report.results.len());
    for result in &report.results {
        outputs.push(match &result.log {
            Some(name) => read(ports, agent, name).await.map(|bytes| shown(ports, &bytes, most)),
            None => None,
        });
    }
    outputs
}

async fn read(ports: &Ports, agent: AgentId, name: &str) -> Option<Vec<u8>> {
    let file = ports.transcripts.log(agent, name);
    let (mut bytes, most) = (Vec::new(), usize::try_from(limits::GATE_LOG_BYTES).unwrap_or(usize::MAX));
    // The file holds a marker beyond its bound.
    while bytes.len() < most + PIECE {
        let from = bytes.len() as u64;
        let piece = ports.transcripts.piece(agent, &file, from, PIECE).await.ok()?;
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    Some(bytes)
}

fn shown(ports: &Ports, bytes: &[u8], most: usize) -> String {
    bounded(&ports.scanner.mask(&String::from_utf8_lossy(bytes)), most)
}

/// Returns a text whose start and end are kept, and which has at most so many bytes as JSON.
fn bounded(text: &str, most: usize) -> String {
    // Control characters but the usual ones take six bytes as JSON and say nothing in a log.
    let text: String =
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\u{1b}')).collect();
    if text.len() <= most {
        return text;
    }
    let (mut head, mut tail) = (most / 2, text.len() - most / 2);
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!("{}\n[… {} bytes left out …]\n{}", &text[..head], tail - head, &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_and_end_of_a_long_output_are_kept() {
        let text = format!("first\n{}\nlast", "é".repeat(10_000));
        let shown = bounded(&text, 1000);
        assert!(shown.starts_with("first\n") && shown.ends_with("\nlast"), "{shown}");
        assert!(shown.len() < 1100 && shown.contains("bytes left out"));
        assert_eq!(bounded("a\0b\r\n", 1000), "ab\n");
    }
}
