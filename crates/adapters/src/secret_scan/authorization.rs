//! Credentials of requests: `Authorization` headers, and user and password on a command line.

use std::ops::Range;

use super::plausible::{changes, classes, entropy, is_example, is_placeholder};
use super::url_password::is_secret;

/// Longest value, in bytes.
const LONGEST: usize = 512;
/// Shortest bearer token that is taken as one, in bytes.
const BEARER: usize = 20;

/// Finds the credentials after `Bearer ` or `Basic `.
pub(super) fn header(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let start = keyword.end;
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let length = text[start..].iter().take(LONGEST).take_while(|byte| of_token(byte)).count();
    let value = &text[start..start + length];
    let found = if text[keyword].eq_ignore_ascii_case(b"basic ") {
        let decoded = from_base64(value)?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        decoded.iter().all(u8::is_ascii_graphic) && is_secret(&decoded[..colon], &decoded[colon + 1..])
    } else {
        let random = classes(value) >= 2 && changes(value) >= 3 && entropy(value) >= 3.5;
        value.len() >= BEARER && random && !is_placeholder(value) && !is_example(value)
    };
    found.then_some(start..start + length)
}

/// Finds the password of `-u user:password`, as curl takes it.
pub(super) fn option(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let starts = text[..keyword.start].last().is_none_or(u8::is_ascii_whitespace);
    let start = keyword.end + usize::from(matches!(text.get(keyword.end), Some(b'"' | b'\'')));
    let ends = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'`' | b'\\');
    let length = text[start..].iter().take(LONGEST).take_while(|byte| !ends(byte)).count();
    let value = &text[start..start + length];
    let colon = value.iter().position(|byte| *byte == b':')?;
    let (user, password) = (&value[..colon], &value[colon + 1..]);
    // `-u 1000:1000` and `-u https://…` are no passwords.
    let strong = password.len() >= 8 && classes(password) >= 2 && !password.starts_with(b"//");
    (starts && !user.is_empty() && strong && is_secret(user, password))
        .then_some(start + colon + 1..start + length)
}

/// Decodes base64; `None` when it is none.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (!out.is_empty()).then_some(out)
}
