//! Values under telling names: `api_key = "…"`, `"token": "…"`, `DB_PASSWORD=…`. Without a format to go by, the
//! name must say secret and the value must look like one: random, and nobody's placeholder.

use std::ops::Range;

use super::plausible::{self, changes, classes, entropy};

/// Parts of names that say secret.
pub(super) const KEYWORDS: &[&str] = &[
    "api_key",
    "apikey",
    "api-key",
    "secret",
    "token",
    "password",
    "passwd",
    "passphrase",
    "access_key",
    "accesskey",
    "access-key",
    "auth_key",
    "authkey",
    "private_key",
    "privatekey",
    "encryption_key",
    "signing_key",
    "account_key",
    "accountkey",
    "credential",
    "master_key",
    "masterkey",
    "admin_key",
    "adminkey",
    "admin_api_key",
    "app_key",
    "appkey",
    "service_key",
    "license_key",
    "deploy_key",
    "signingkey",
    "signing-key",
    "encryptionkey",
    "_pat",
    "_pwd",
    "_pass",
];

/// Parts of the rest of a name that say the value is about a secret and not the secret.
const ABOUT: &[&str] = &[
    "id",
    "ids",
    "name",
    "names",
    "url",
    "uri",
    "path",
    "file",
    "type",
    "kind",
    "hash",
    "count",
    "length",
    "len",
    "size",
    "limit",
    "regex",
    "pattern",
    "header",
    "field",
    "label",
    "env",
    "arn",
    "ref",
    "version",
    "expiry",
    "expires",
    "ttl",
    "at",
    "prefix",
    "policy",
    "hint",
    "hint",
    "digest",
    "sha",
    "sha256",
    "checksum",
    "fingerprint",
    "endpoint",
    "input",
    "column",
    "index",
    "scope",
];

/// Names whose value is meant to be known.
const PUBLIC: &[&[u8]] =
    &[b"public", b"page", b"next", b"continuation", b"cancel", b"csrf", b"xsrf", b"design", b"sync"];

/// Parts of names of services whose keys are UUIDs, which are identifiers everywhere else.
const UUID_KEYS: &[&[u8]] =
    &[b"heroku", b"snyk", b"codecov", b"authtoken", b"postmark", b"linkedin", b"appdynamics"];

/// Longest rest of a name after its keyword, in bytes.
const NAME: usize = 40;
/// Longest value, in bytes.
const VALUE: usize = 512;

/// Tells whether the name of a variable says that its value is a secret: it has one of the parts that say so, and ends in none
/// that says that the value is only about a secret. Of a whole name, `…_KEY`, `…_PW` and `…_AUTH` say so too.
pub(super) fn names_secret(name: &str) -> bool {
    let (bytes, lower) = (name.as_bytes(), name.to_ascii_lowercase());
    let by_keyword = |keyword: &&str| {
        lower.match_indices(*keyword).any(|(at, _)| {
            let is_public = PUBLIC.iter().any(|word| plausible::has(&bytes[..at], word));
            !is_public && name_end(bytes, &(at..at + keyword.len())).is_some()
        })
    };
    let is_public = PUBLIC.iter().any(|word| plausible::has(bytes, word));
    let ends = ["_key", "_pw", "_auth", "_pass", "pgpassword"].iter().any(|end| lower.ends_with(end));
    KEYWORDS.iter().any(by_keyword) || (ends && !is_public)
}

/// Finds the value assigned to the name with this keyword.
pub(super) fn find(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    let name_end = name_end(text, &keyword)?;
    let name_start = name_start(text, keyword.start);
    if PUBLIC.iter().any(|word| plausible::has(&text[name_start..keyword.start], word)) {
        return None;
    }
    let name = &text[name_start..name_end];
    let uuid = UUID_KEYS.iter().any(|word| plausible::has(name, word));
    let value_start = match operator(text, name_end) {
        Some(start) => start,
        // An option with its value behind a blank.
        None if name.starts_with(b"--") && text.get(name_end) == Some(&b' ') => name_end + 1,
        None => return None,
    };
    let password = plausible::has(&text[keyword.clone()], b"pass") || plausible::has(&text[keyword], b"pwd");
    match text.get(value_start) {
        Some(quote @ (b'"' | b'\'' | b'`')) => {
            let start = value_start + 1;
            let length = text[start..].iter().take(VALUE).position(|byte| byte == quote || *byte == b'\n')?;
            let value = &text[start..start + length];
            let closed = text.get(start + length) == Some(quote);
            // Inside another string the closing quote is escaped too.
            let value = value.strip_suffix(b"\\").unwrap_or(value);
            (closed && quoted(value, password, uuid)).then_some(start..start + value.len())
        }
        // A string within a string: \"token\": \"…\".
        Some(b'\\') if matches!(text.get(value_start + 1), Some(b'"' | b'\'')) => {
            let start = value_start + 2;
            let length =
                text[start..].iter().take(VALUE).position(|byte| matches!(byte, b'\\' | b'"' | b'\n'))?;
            quoted(&text[start..start + length], password, uuid).then_some(start..start + length)
        }
        Some(_) => bare(text, name_start, value_start, password, uuid),
        None => None,
    }
}

/// Returns where the name ends that goes on after its keyword, or nothing when it names something else: a longer
/// word (`tokenizer`), or something about the secret (`token_url`).
fn name_end(text: &[u8], keyword: &Range<usize>) -> Option<usize> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let rest = &text[keyword.end..];
    let length = rest.iter().take(NAME).take_while(|byte| is_name(byte)).count();
    let mut rest = &rest[..length];
    if length == NAME {
        return None;
    }
    if let [b's' | b'S', more @ ..] = rest {
        rest = more;
    }
    let last = text[keyword.end - 1];
    let joined = rest.first().is_some_and(|next| {
        next.is_ascii_lowercase() && last.is_ascii_alphabetic()
            || next.is_ascii_uppercase() && last.is_ascii_uppercase()
    });
    let about = |part: &str| ABOUT.iter().any(|word| part.eq_ignore_ascii_case(word));
    let says_about = parts(rest).last().is_some_and(|part| about(part));
    (!joined && !says_about).then_some(keyword.end + length)
}

/// Parts of a name: `tokenUrl_v2` is `token`, `Url`, `v2`.
fn parts(name: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(name).unwrap_or_default();
    let camel = |part: &'_ str| -> Vec<usize> {
        let bytes = part.as_bytes();
        let edge = |at: &usize| bytes[*at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase();
        (1..bytes.len()).filter(edge).collect()
    };
    let mut out = Vec::new();
    for part in text.split(['_', '-']).filter(|part| !part.is_empty()) {
        let mut from = 0;
        for edge in camel(part) {
            out.push(&part[from..edge]);
            from = edge;
        }
        out.push(&part[from..]);
    }
    out
}

fn name_start(text: &[u8], at: usize) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    at - text[..at].iter().rev().take(NAME).take_while(|byte| is_name(byte)).count()
}

/// Returns where the value starts after quote, blanks, operator and blanks; a value may start on the next line.
fn operator(text: &[u8], at: usize) -> Option<usize> {
    let count = |from: usize, most: usize, fits: fn(&u8) -> bool| {
        text[from..].iter().take(most).take_while(|b| fits(b)).count()
    };
    let blank: fn(&u8) -> bool = |byte| matches!(byte, b' ' | b'\t');
    let mut at = at + count(at, 3, |byte| matches!(byte, b'"' | b'\'' | b'`' | b']' | b'\\'));
    at += count(at, 32, blank);
    let rest = &text[at..];
    let operators: [&[u8]; 9] = [b"===", b"==", b"=>", b":=", b"?=", b"||=", b"=", b":", b">"];
    at += operators.iter().find(|operator| rest.starts_with(operator))?.len();
    at += count(at, 32, blank);
    let line_break = count(at, 2, |byte| matches!(byte, b'\r' | b'\n'));
    if line_break == 0 {
        return Some(at);
    }
    at += line_break + count(at + line_break, 64, blank);
    matches!(text.get(at), Some(b'"' | b'\'')).then_some(at)
}

fn quoted(value: &[u8], password: bool, uuid: bool) -> bool {
    if uuid && plausible::is_uuid(value) {
        return entropy(value) >= 3.0;
    }
    if value.iter().any(|byte| !byte.is_ascii_graphic()) || plausible::is_placeholder(value) || is_path(value)
    {
        return false;
    }
    match password {
        true => value.len() >= 8 && classes(value) >= 3 && entropy(value) >= 2.8 && !value.contains(&b'('),
        false => key(value),
    }
}

/// Tells whether a value may be a key: long, random and with digits in it.
fn key(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let plain = value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-+/=.~:!@#%^&*".contains(byte));
    let hex = value.iter().all(u8::is_ascii_hexdigit);
    let enough = if hex { 3.0 } else { 3.5 };
    value.len() >= 16
        && plain
        && digits >= 2
        && changes(value) >= 2
        && digits < value.len()
        && entropy(value) >= enough
}

/// Finds a value without quotes. Code is full of names after names, so it must be a line of its own (a file of
/// settings, the whole rest of the line), a part of a list (a connection string, a query), an element or an option; and random.
fn bare(text: &[u8], name_start: usize, start: usize, password: bool, uuid: bool) -> Option<Range<usize>> {
    let before = name_start.checked_sub(1).map(|at| text[at]);
    let option = text[name_start..].starts_with(b"--");
    let part = option || matches!(before, Some(b';' | b'?' | b'&' | b'<'));
    if !part && !begins_line(text, name_start) {
        return None;
    }
    let ends = |byte: &u8| {
        let of_part = part && matches!(byte, b'&' | b'<');
        !byte.is_ascii_graphic() || of_part || matches!(byte, b'"' | b'\'' | b'`' | b',' | b';')
    };
    let length = text[start..].iter().take(VALUE).take_while(|byte| !ends(byte)).count();
    let value = &text[start..start + length];
    let rest = &text[start + length..];
    let rest = &rest[rest.iter().take(64).take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count()..];
    // A line break within a JSON string or a patch is written out.
    let ends_line = part || matches!(rest.first(), None | Some(b'\n' | b'#'));
    let code = value.iter().any(|byte| matches!(byte, b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>'));
    if uuid && ends_line && plausible::is_uuid(value) {
        return (entropy(value) >= 3.0).then_some(start..start + length);
    }
    if !ends_line || code || plausible::is_placeholder(value) || is_path(value) {
        return None;
    }
    let fits = match password {
        true => value.len() >= 8 && classes(value) >= 3 && changes(value) >= 1 && entropy(value) >= 2.8,
        false => key(value) && changes(value) >= 3,
    };
    fits.then_some(start..start + length)
}

/// Tells whether only blanks, a list mark or `export` stand before the name on its line.
fn begins_line(text: &[u8], name_start: usize) -> bool {
    let before = &text[name_start.saturating_sub(64)..name_start];
    let line = before.iter().rposition(|byte| *byte == b'\n').map_or(before, |at| &before[at + 1..]);
    let whole = line.len() < before.len() || name_start <= 64;
    let words = [b"".as_slice(), b"-", b"+", b"export", b"set", b"ENV", b"ARG", b"\"", b"'"];
    whole && words.contains(&line.trim_ascii())
}

fn is_path(value: &[u8]) -> bool {
    let path = [b"/".as_slice(), b"./", b"../", b"~/"].iter().any(|start| value.starts_with(start));
    path && value.iter().filter(|byte| **byte == b'/').count() >= 2 && changes(value) < 6
}
