//! Private keys in PEM: a header with a body after it. The header alone is a word that programs look for, not a
//! secret.

use std::ops::Range;

/// Longest key that is taken as one, in bytes: RSA with 16,384 bits has 13 KiB.
const LONGEST: usize = 32 * 1024;
/// Fewest characters of a body: an Ed25519 key has 64.
const BODY: usize = 40;
const DASHES: &[u8] = b"-----";

/// Finds the key whose header has the words `PRIVATE KEY` here.
pub(super) fn find(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let before = &text[keyword.start.saturating_sub(40)..keyword.start];
    let Some(begin) = before.windows(10).rposition(|part| part == b"-----BEGIN") else {
        return rest(text, keyword);
    };
    let words = &before[begin + 10..];
    if !words.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ') {
        return None;
    }
    let after = &text[keyword.end..];
    let after = after.strip_prefix(b" BLOCK").unwrap_or(after).strip_prefix(DASHES)?;
    let start = keyword.start - before.len() + begin;
    let body = text.len() - after.len();
    let window = &after[..after.len().min(LONGEST)];
    // Headers without an end are skipped at the next dashes, so no text is looked at twice.
    let end = window.windows(5).position(|part| part == DASHES);
    match end {
        Some(end) if after[end..].starts_with(b"-----END") && letters(&after[..end]) >= BODY => {
            let rest = &after[end + 5..];
            let close = rest.iter().take(60).position(|byte| *byte == b'-').unwrap_or(0);
            let dashes = rest[close..].iter().take(5).take_while(|byte| **byte == b'-').count();
            Some(start..body + end + 5 + if dashes == 5 { close + 5 } else { 3 })
        }
        _ => {
            let length = cut_off(window);
            (letters(&window[..length]) >= BODY).then_some(start..body + length)
        }
    }
}

/// Finds the rest of a key whose end has the words here and whose header does not stand in the text.
fn rest(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let before = &text[keyword.start.saturating_sub(40)..keyword.start];
    let end = before.windows(8).rposition(|part| part == b"-----END")?;
    let words = &before[end + 8..];
    let after = &text[keyword.end..];
    let after = after.strip_prefix(b" BLOCK").unwrap_or(after).strip_prefix(DASHES)?;
    if !words.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ') {
        return None;
    }
    let end = keyword.start - before.len() + end;
    let window = &text[end.saturating_sub(LONGEST)..end];
    let (mut start, mut line_end) = (window.len(), window.len());
    // From the last line back, as long as they are lines of a body; only the last one is short.
    for (n, line) in window.rsplit(|byte| *byte == b'\n').enumerate() {
        let content = line.trim_ascii();
        let is_body = content.iter().all(|byte| is_base64(*byte)) && (n <= 1 || content.len() >= BODY);
        if !is_body {
            break;
        }
        start = line_end - line.len();
        line_end = start.saturating_sub(1);
    }
    let body = &window[start..];
    (letters(body) >= BODY).then_some(end - body.len()..text.len() - after.len())
}

/// Counts the characters of a body. `\n` and `\r` written out are line breaks.
fn letters(body: &[u8]) -> usize {
    let escapes = body.windows(2).filter(|pair| **pair == *b"\\n" || **pair == *b"\\r").count();
    body.iter().filter(|byte| is_base64(**byte)).count().saturating_sub(escapes)
}

/// Returns how much of the text goes on like a body without an end: base64 in lines of any kind.
fn cut_off(text: &[u8]) -> usize {
    let goes_on = |byte: &u8| is_base64(*byte) || matches!(byte, b'\n' | b'\r' | b'\t' | b'\\' | b'"' | b' ');
    let length = text.iter().take_while(|byte| goes_on(byte)).count();
    let first_line =
        text[..length].split(|byte| matches!(byte, b'\n' | b'\\')).find(|line| letters(line) > 4);
    // Prose after a header has spaces between its words; a body has none.
    match first_line {
        Some(line) if letters(line) >= BODY && !line.trim_ascii().contains(&b' ') => length,
        _ => 0,
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
