//! Keeps secrets out of what agents and gates wrote before it leaves the server: a secret that was blocked still
//! stands in the kept commits, in the raw output and in the logs of gates. What holds no secret goes out byte for
//! byte.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use futures_util::stream;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::key_lines::KeyLines;
use mosaic_core::ports::Ports;
use mosaic_core::ports::scanner::SecretScanner;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::Problem;

/// Bytes of a file read at once.
const CHUNK: usize = 64 * 1024;
/// Bytes at the end of what was read that wait for what follows them, so that a secret of up to this length (a
/// private key) is seen whole.
const BEHIND: usize = 32 * 1024;

/// Masks every text of a type of the API.
pub(crate) fn view<T: Serialize + DeserializeOwned>(
    scanner: &dyn SecretScanner,
    view: T,
) -> Result<T, Problem> {
    let masked = || {
        let mut value = serde_json::to_value(view)?;
        texts(scanner, &mut value);
        serde_json::from_value(value)
    };
    masked().map_err(|_: serde_json::Error| Problem::internal())
}

/// Masks every text in a JSON value: a value that became known after it was written is shown as little as the others.
pub(crate) fn texts(scanner: &dyn SecretScanner, value: &mut Value) {
    match value {
        Value::String(text) => *text = scanner.mask(text),
        Value::Array(items) => items.iter_mut().for_each(|item| texts(scanner, item)),
        Value::Object(fields) => fields.values_mut().for_each(|field| texts(scanner, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the bytes as text of the same length: what is no UTF-8 becomes question marks.
fn as_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// Finds secrets in order of place. Quotes and blanks at an end are left out, so that masking keeps JSON whole.
fn secrets(scanner: &dyn SecretScanner, text: &str) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    for secret in scanner.scan(None, text) {
        for (Range { start, end }, masked) in secret.marks() {
            let Some(inside) = text.get(start..end) else { continue };
            let length = inside.trim_end_matches(['"', '\\', ' ', '\t', '\r', '\n']).len();
            found.push((start..start + length, masked.to_owned()));
        }
    }
    found.sort_by_key(|(span, _)| span.start);
    found
}

/// Masks the lines of a unified diff and keeps their number. Within a hunk the old and the new side are looked at
/// apart and without their marks, so that a secret of several lines is found as it stands in the file.
pub(crate) fn diff(scanner: &dyn SecretScanner, diff: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = diff.split_inclusive(|byte| *byte == b'\n').collect();
    let texts: Vec<String> = lines.iter().map(|line| as_text(line)).collect();
    let mut marks: Vec<Vec<(Range<usize>, String)>> = vec![Vec::new(); lines.len()];
    let (mut hunk, mut packed): (Option<usize>, bool) = (None, false);
    for (n, line) in lines.iter().enumerate() {
        let inside = hunk.is_some() && matches!(line.first(), Some(b' ' | b'+' | b'-' | b'\\'));
        if inside {
            continue;
        }
        if let Some(start) = hunk.take() {
            mask_hunk(scanner, &texts, start..n, &mut marks);
        }
        // The content of a binary file is packed: what looks like a secret there is chance, and masking would break it.
        packed = line.starts_with(b"GIT binary patch") || (packed && !line.starts_with(b"diff --git "));
        if !packed {
            // A header: it names files and functions.
            marks[n].extend(secrets(scanner, &texts[n]));
        }
        hunk = line.starts_with(b"@@ ").then_some(n + 1);
    }
    if let Some(start) = hunk {
        mask_hunk(scanner, &texts, start..lines.len(), &mut marks);
    }
    let mut out = Vec::with_capacity(diff.len());
    // The texts have the lines' lengths, so places in one are places in the other.
    for (line, marks) in lines.into_iter().zip(marks) {
        replace(line, marks, &mut out);
    }
    out
}

/// Marks what is secret in one hunk, on its new and on its old side.
fn mask_hunk(
    scanner: &dyn SecretScanner,
    texts: &[String],
    hunk: Range<usize>,
    marks: &mut [Vec<(Range<usize>, String)>],
) {
    for side in ['+', '-'] {
        let on_side = |n: &usize| texts[*n].starts_with([' ', side]);
        let numbers: Vec<usize> = hunk.clone().filter(on_side).collect();
        let joined: String = numbers.iter().map(|n| &texts[*n][1..]).collect();
        let mut found = secrets(scanner, &joined).into_iter().peekable();
        let mut start = 0;
        for n in numbers {
            let end = start + texts[n].len() - 1;
            while let Some((span, masked)) = found.peek() {
                if span.start >= end {
                    break;
                }
                // The line's end stays, whatever the secret covers.
                let content = texts[n][1..].trim_end_matches(['\r', '\n']).len();
                let from = span.start.max(start) - start;
                let to = (span.end.min(end) - start).min(content);
                let word = if span.start >= start { masked.as_str() } else { "…" };
                if from < to {
                    marks[n].push((from + 1..to + 1, word.to_owned()));
                }
                if span.end > end {
                    break;
                }
                found.next();
            }
            start = end;
        }
    }
}

/// Writes a text with its marked parts replaced. Parts that overlap are replaced once.
fn replace(text: &[u8], mut marks: Vec<(Range<usize>, String)>, out: &mut Vec<u8>) {
    marks.sort_by_key(|(span, _)| span.start);
    let mut copied = 0;
    for (span, masked) in marks {
        if span.start >= copied {
            out.extend_from_slice(&text[copied..span.start]);
            out.extend_from_slice(masked.as_bytes());
        }
        copied = copied.max(span.end);
    }
    out.extend_from_slice(&text[copied..]);
}

/// Part of what was read that can go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// All but the end, which waits for what follows it.
    AllButEnd,
    /// Whole lines: what follows them was not written yet, and a reader waits.
    Lines,
    /// All of it: nothing follows.
    All,
}

/// Masks bytes that come in pieces.
pub(crate) struct Sieve {
    scanner: Arc<dyn SecretScanner>,
    waiting: Vec<u8>,
    /// Private keys whose lines are events of their own.
    keys: KeyLines,
}

impl Sieve {
    /// Makes one that has read nothing.
    pub(crate) fn new(scanner: Arc<dyn SecretScanner>) -> Self {
        Self { scanner, waiting: Vec::new(), keys: KeyLines::default() }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
    }

    /// Tells whether enough waits that some of it should go out.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= CHUNK
    }

    /// Returns what can go out of what was read so far.
    pub(crate) fn pass(&mut self, part: Pass) -> Vec<u8> {
        let whole_lines = self.waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if part == Pass::Lines && whole_lines == 0 && !self.is_full() {
            return Vec::new();
        }
        let text = as_text(&self.waiting);
        let found = secrets(&*self.scanner, &text);
        let mut cut = self.waiting.len();
        if part != Pass::All {
            // A line without an end is held back, unless it is so long that the buffer would grow with it.
            cut = match part {
                Pass::Lines if whole_lines > 0 => whole_lines,
                _ => cut.saturating_sub(BEHIND),
            };
            // Best between two lines; a line without an end is cut between two characters.
            cut = match self.waiting[..cut].iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => newline + 1,
                None => (0..=cut).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0),
            };
            if let Some((span, _)) = found.iter().find(|(span, _)| span.start < cut && cut < span.end) {
                // Cut before a secret that fills the buffer from its start, nothing would ever go out and the buffer
                // would grow without end.
                cut = if span.start > 0 { span.start } else { span.end };
            }
        }
        let rest = self.waiting.split_off(cut);
        let whole = std::mem::replace(&mut self.waiting, rest);
        let lines = self.keys.spans(&text[..cut]).into_iter().map(|span| (span, "…".to_owned()));
        let marks = found.into_iter().filter(|(span, _)| span.end <= cut).chain(lines).collect();
        let mut out = Vec::with_capacity(whole.len());
        replace(&whole, marks, &mut out);
        out
    }
}

/// Streams files of an agent one after the other, masked, a piece at a time, as the reader takes them.
pub(crate) fn stream_files(ports: &Ports, agent: AgentId, files: Vec<PathBuf>) -> Body {
    stream_up_to(ports, agent, files, Pass::All)
}

/// Streams a file that is being written, up to its last whole line.
pub(crate) fn stream_growing(ports: &Ports, agent: AgentId, file: PathBuf) -> Body {
    stream_up_to(ports, agent, vec![file], Pass::Lines)
}

fn stream_up_to(ports: &Ports, agent: AgentId, files: Vec<PathBuf>, last: Pass) -> Body {
    let (scanner, transcripts) = (Arc::clone(&ports.scanner), Arc::clone(&ports.transcripts));
    let state = (files.into_iter(), None::<Open>);
    let chunks = stream::try_unfold(state, move |(mut files, mut open)| {
        let (scanner, transcripts) = (Arc::clone(&scanner), Arc::clone(&transcripts));
        async move {
            loop {
                let Open { file, mut from, mut sieve } = match open.take() {
                    Some(open) => open,
                    None => match files.next() {
                        Some(file) => Open { file, from: 0, sieve: Sieve::new(scanner.clone()) },
                        None => return Ok::<_, std::io::Error>(None),
                    },
                };
                let piece = transcripts.piece(agent, &file, from, CHUNK).await?;
                let is_end = piece.is_empty();
                from += piece.len() as u64;
                sieve.push(&piece);
                // A short read of a growing file is no reason to look at the same text again.
                if !is_end && !sieve.is_full() {
                    open = Some(Open { file, from, sieve });
                    continue;
                }
                let out = sieve.pass(if is_end { last } else { Pass::AllButEnd });
                if !is_end {
                    open = Some(Open { file, from, sieve });
                }
                if !out.is_empty() {
                    return Ok(Some((out, (files, open))));
                }
            }
        }
    });
    Body::from_stream(chunks)
}

/// A file that is being streamed, read up to a byte.
struct Open {
    file: PathBuf,
    from: u64,
    sieve: Sieve,
}

#[cfg(test)]
mod tests {
    use mosaic_core::ports::scanner::Secret;

    use super::*;

    /// Takes everything from `<<` to `>>` for a secret.
    struct Brackets;

    impl SecretScanner for Brackets {
        fn scan(&self, _: Option<&str>, text: &str) -> Vec<Secret> {
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(start) = text[from..].find("<<").map(|at| from + at) {
                let end = text[start..].find(">>").map_or(text.len(), |at| start + at + 2);
                found.push(Secret {
                    rule: "brackets".to_owned(),
                    line: 1,
                    masked: "X…".to_owned(),
                    span: (start, end),
                    pieces: Vec::new(),
                    known: false,
                });
                from = end;
            }
            found
        }
    }

    #[test]
    fn a_diff_keeps_its_lines_and_loses_its_secrets() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@ fn <<header>>\n a <<old>>\n-<<be\n+<<new\n-gone>> tail\n+second\r\n+third>> tail\n\
                    \\ No newline at end of file\ndiff --git a/y b/y\n@@ -1 +1 @@\n+plain\n";
        let expected = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@ fn X…\n a X…\n-X…\n+X…\n-… tail\n+…\r\n+… tail\n\
                        \\ No newline at end of file\ndiff --git a/y b/y\n@@ -1 +1 @@\n+plain\n";
        assert_eq!(String::from_utf8(diff(&Brackets, text.as_bytes())).unwrap(), expected);
        let odd = b"diff --git a/x b/x\n@@ -1 +1 @@\n+\xff\xfe \xe2\x82\n";
        assert_eq!(diff(&Brackets, odd), odd);
    }

    fn sieved(pieces: &[&[u8]]) -> Vec<u8> {
        let mut sieve = Sieve { scanner: Arc::new(Brackets), waiting: Vec::new(), keys: KeyLines::default() };
        let mut out = Vec::new();
        for piece in pieces {
            sieve.waiting.extend_from_slice(piece);
            out.extend(sieve.pass(Pass::AllButEnd));
        }
        out.extend(sieve.pass(Pass::All));
        out
    }

    #[test]
    fn a_secret_across_pieces_is_masked_and_the_rest_is_exact() {
        let long = vec![b'a'; BEHIND + 10];
        for split in 1..12 {
            let text = [&b"\xff<<sec\nret>>\x80\n"[..], &long].concat();
            let (first, second) = text.split_at(split);
            let expected = [&b"\xffX\xe2\x80\xa6\x80\n"[..], &long].concat();
            assert_eq!(sieved(&[first, second]), expected, "split at {split}");
            let padded = [&long[..], first].concat();
            assert_eq!(sieved(&[&padded, second]), [&long[..], &expected].concat(), "late, split at {split}");
        }
        assert_eq!(sieved(&[b"{\"a\":\"<<open\"\n"]), "{\"a\":\"X…\"\n".as_bytes());
    }
}
