//! Passwords in URLs: `scheme://user:password@host`. Only the password is the secret.

use std::ops::Range;

use super::plausible;

/// Longest user name and password, in bytes.
const LONGEST: usize = 256;
/// Shortest password that is one.
const SHORTEST: usize = 5;

/// Passwords of manuals and of databases on a developer's own machine.
const KNOWN: &[&str] = &[
    "pass",
    "passw",
    "passwd",
    "password",
    "pwd",
    "secret",
    "token",
    "user",
    "username",
    "root",
    "admin",
    "guest",
    "postgres",
    "mysql",
    "mariadb",
    "mongo",
    "mongodb",
    "redis",
    "rabbitmq",
    "amqp",
    "test",
    "testing",
    "tests",
    "dev",
    "devel",
    "local",
    "localhost",
    "docker",
    "example",
    "default",
    "dbpass",
    "dbpassword",
    "db_password",
    "db_pass",
    "mypassword",
    "mypass",
    "hunter2-example",
    "apikey",
    "api_key",
    "api-key",
    "access_token",
    "x-oauth-basic",
    "x-access-token",
    "password1",
    "password123",
    "pass123",
    "secret123",
    "12345",
    "123456",
    "1234567",
    "12345678",
];

/// Finds the password of the URL whose `://` stands here.
pub(super) fn find(text: &[u8], keyword: Range<usize>) -> Option<Range<usize>> {
    // The search backwards is bounded, because a file of letters before one `://` would otherwise be read once per
    // occurrence.
    let scheme = text[..keyword.start]
        .iter()
        .rev()
        .take(16)
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'+')
        .count();
    if scheme < 2 {
        return None;
    }
    let user = run(&text[keyword.end..]);
    let colon = keyword.end + user;
    if text.get(colon) == Some(&b'@') {
        return token(text, keyword.end..colon);
    }
    if text.get(colon) != Some(&b':') {
        return None;
    }
    let start = colon + 1;
    let end = start + run(&text[start..]);
    // `a://b:c@` without a host is a format string or a pattern in most files.
    let host = text
        .get(end + 1)
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'[' | b'_' | b'-' | b'.'));
    if text.get(end) != Some(&b'@') || !host {
        return None;
    }
    let (user, password) = (&text[keyword.end..colon], &text[start..end]);
    is_secret(user, password).then_some(start..end)
}

/// Finds a token that stands in place of a user's name. The keys in the addresses of Sentry are public.
fn token(text: &[u8], user: Range<usize>) -> Option<Range<usize>> {
    let host = &text[user.end + 1..text.len().min(user.end + 65)];
    let value = &text[user.clone()];
    let random = plausible::classes(value) >= 2 && plausible::changes(value) >= 4;
    let fits = value.len() >= TOKEN
        && random
        && plausible::entropy(value) >= 3.3
        && !plausible::is_placeholder(value);
    (fits && !plausible::has(host, b"sentry")).then_some(user)
}

/// Shortest token in place of a user's name, in bytes.
const TOKEN: usize = 20;

/// Returns how long a user name or password goes on.
fn run(text: &[u8]) -> usize {
    let ends = |byte: &u8| {
        !byte.is_ascii_graphic()
            || matches!(byte, b'/' | b'@' | b':' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' | b'#' | b'?')
    };
    text.iter().take(LONGEST).take_while(|byte| !ends(byte)).count()
}

pub(super) fn is_secret(user: &[u8], password: &[u8]) -> bool {
    let text = String::from_utf8_lossy(password).to_lowercase();
    let port = password.len() <= 5 && password.iter().all(u8::is_ascii_digit);
    let filled_in =
        password.iter().any(|byte| matches!(byte, b'$' | b'{' | b'}' | b'*' | b'(' | b')' | b'['));
    let format = text.starts_with('%')
        && !text.get(1..3).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    password.len() >= SHORTEST
        && !port
        && !filled_in
        && !format
        && !user.eq_ignore_ascii_case(password)
        && !KNOWN.contains(&text.as_str())
        && !["example", "changeme", "xxxx", "your", "redacted", "placeholder"]
            .iter()
            .any(|word| plausible::has(password, word.as_bytes()))
}
