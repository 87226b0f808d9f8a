//! Formats whose tokens have their sign in the middle or at the end, so that what stands before it belongs to them.

use std::ops::Range;

use super::plausible::entropy;

/// Finds a bot's token: id, time and signature in base64, with dots between them. The time of every bot since 2021 begins with `G`.
pub(super) fn discord(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let dot = keyword.start;
    // The cheapest look first: `.g` stands everywhere.
    let second = dot + 7;
    if text.get(second) != Some(&b'.') {
        return None;
    }
    let start = dot - run_before(text, dot, 30);
    let end = second + 1 + run_after(text, second + 1, 40);
    let fits = (24..=28).contains(&(dot - start))
        && matches!(text[start], b'M' | b'N' | b'O')
        && run_after(text, dot + 1, 6) == 6
        && (27..=38).contains(&(end - second - 1));
    (fits && entropy(&text[start..end]) >= 4.0).then_some(start..end)
}

/// Finds a key of MaxMind: 6 and 29 letters and digits, then the keyword.
pub(super) fn maxmind(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let start = keyword.start - run_before(text, keyword.start, 40);
    let value = &text[start..keyword.start];
    let fits = value.len() == 36 && value[6] == b'_' && run_after(text, keyword.end, 1) == 0;
    (fits && entropy(value) >= 4.0).then_some(start..keyword.end)
}

/// Finds a key of Mailchimp: 32 hexadecimal digits, then the keyword and the number of a data centre.
pub(super) fn mailchimp(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let start = keyword.start - run_before(text, keyword.start, 33);
    let value = &text[start..keyword.start];
    let number = text[keyword.end..].iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let hex = value.len() == 32 && value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex && (1..=2).contains(&number) && entropy(value) >= 3.0).then_some(start..keyword.end + number)
}

fn of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn run_before(text: &[u8], at: usize, most: usize) -> usize {
    text[..at].iter().rev().take(most).take_while(|byte| of_token(byte)).count()
}

fn run_after(text: &[u8], at: usize, most: usize) -> usize {
    text[at..].iter().take(most).take_while(|byte| of_token(byte)).count()
}
