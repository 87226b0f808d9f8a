//! Names of things: ids, branch names, commits, times. Each is a newtype that cannot be built wrong, so that a
//! value from outside has been looked at before it meets a path, a command line or a query.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

pub use super::characters::is_unprintable;
use super::characters::was_unprintable;
use crate::limits;

/// Says why a string is not a valid name. The text is a lower-case fragment fit for an error answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidName(pub String);

fn refuse<T>(why: impl Into<String>) -> Result<T, InvalidName> {
    Err(InvalidName(why.into()))
}

/// Tells whether a character is refused.
type Refused = fn(char) -> bool;

/// Implements the conversions that every string newtype here has: parse, print, serde through the string. What is parsed
/// comes from outside and is checked by today's table of characters; what serde reads was stored, perhaps by an earlier
/// version with a narrower one.
macro_rules! string_newtype {
    ($name:ident, $check:expr) => {
        impl $name {
            fn checked(text: &str, refused: Refused) -> Result<Self, InvalidName> {
                let check: fn(&str, Refused) -> Result<(), InvalidName> = $check;
                check(text, refused)?;
                Ok(Self(text.to_owned()))
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::checked(text, is_unprintable)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::checked(&text, was_unprintable)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl $name {
            /// Returns the text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

/// Identifies one agent: a version 4 UUID, so that the first eight digits already tell agents apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub Uuid);

impl AgentId {
    /// Returns the first eight hexadecimal digits, as used in branch names.
    pub fn short(&self) -> String {
        self.0.simple().to_string()[..8].to_owned()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for AgentId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match Uuid::try_parse(text) {
            Ok(id) if text.len() == 36 => Ok(Self(id)),
            _ => refuse("an agent id is a UUID such as 7d0c6c1e-4a52-4d0e-9a55-0d7c9f2f3f9a"),
        }
    }
}

/// Identifies what the caller wants done: 1–128 characters, the first a letter or digit, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

string_newtype!(TaskId, |text, refused| {
    if text.is_empty() {
        return refuse("must not be empty");
    }
    if text.chars().count() > limits::TASK_ID_CHARS {
        return refuse(format!("must have at most {} characters", limits::TASK_ID_CHARS));
    }
    if !text.starts_with(|c: char| c.is_alphanumeric()) {
        return refuse("must start with a letter or a digit");
    }
    if text.chars().any(refused) {
        return refuse("must not contain control or invisible formatting characters");
    }
    Ok(())
});

impl TaskId {
    /// Returns the id as a path- and branch-safe slug: lower-case ASCII letters, digits and single dashes,
    /// 1–40 characters. Ids that differ may share a slug; the agent id next to it keeps names apart.
    pub fn slug(&self) -> String {
        slug(&self.0)
    }
}

/// Turns any text into a slug of lower-case ASCII letters, digits and single dashes, 1–40 characters.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= 40 {
            break;
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "task".to_owned() } else { out.to_owned() }
}

/// Names a branch. The rules are those of `git check-ref-format --branch`, with two of ours: at most 200 bytes,
/// and ASCII controls, spaces and a leading dash are always refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

string_newtype!(BranchName, |text, refused| {
    if text.is_empty() {
        return refuse("must not be empty");
    }
    if text.len() > limits::BRANCH_BYTES {
        return refuse(format!("must have at most {} bytes", limits::BRANCH_BYTES));
    }
    if text.starts_with('-') {
        return refuse("must not start with a dash");
    }
    if text.chars().any(|c| refused(c) || c.is_whitespace()) {
        return refuse("must not contain spaces or control characters");
    }
    if text.contains(['~', '^', ':', '?', '*', '[', '\\']) {
        return refuse("must not contain any of ~ ^ : ? * [ \\");
    }
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.contains("..") || text.contains("@{") || text == "@" || text == "HEAD" || text.ends_with('.') {
        return refuse("is not a valid git branch name");
    }
    if text.split('/').any(bad_part) || text.starts_with("refs/") {
        return refuse("is not a valid git branch name");
    }
    Ok(())
});

/// Names a commit by its full object id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

string_newtype!(CommitId, |text, _| {
    let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && matches!(text.len(), 40 | 64) { Ok(()) } else { refuse("is not a full commit id") }
});

impl CommitId {
    /// Returns the first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

/// Names a gate, a label key or a skill: 1–64 of ASCII letters, digits, dot, dash and underscore, the first a
/// letter or digit. Safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(String);

string_newtype!(Word, |text, _| {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if !text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) {
        return refuse("must start with a letter or a digit");
    }
    if text.len() > 64 || !text.bytes().all(ok) {
        return refuse("must be at most 64 of letters, digits, dot, dash and underscore");
    }
    Ok(())
});

/// Names a node of the fleet, by default the host name.
pub type NodeId = Word;

/// Counts the leases given on one agent. A write that carries an older epoch than the newest is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z. On the wire it is RFC 3339 in UTC with
/// milliseconds; in the store it is the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the point this much later.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the time from `earlier` to this point, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns RFC 3339 text, such as `2026-11-22T10:04:09.112Z`.
    pub fn to_rfc3339(self) -> String {
        // Year 9999 is the last that RFC 3339 can write.
        let at = UNIX_EPOCH + Duration::from_millis(self.0.min(253_402_300_799_999));
        humantime::format_rfc3339_millis(at).to_string()
    }

    /// Reads RFC 3339 text. Errors when the text is anything else.
    pub fn from_rfc3339(text: &str) -> Result<Self, InvalidName> {
        let at = humantime::parse_rfc3339(text)
            .map_err(|e| InvalidName(format!("is not an RFC 3339 time: {e}")))?;
        Ok(Self::from(at))
    }
}

/// A time as people and programs read it: RFC 3339 text in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(pub Timestamp);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339())
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_are_checked_and_slugged() {
        for bad in [
            "",
            "-x",
            " x",
            "a\nb",
            "a\0b",
            "a\u{202e}b",
            "a\u{61c}",
            "a\u{e0041}",
            "a\u{3164}b",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
        let slugs = [("US-001", "us-001"), ("Ärger/../x", "rger-x"), ("a  b", "a-b"), ("日本", "task")];
        for (id, slug) in slugs {
            assert_eq!(id.parse::<TaskId>().unwrap().slug(), slug);
        }
        // What an earlier version admitted can still be read.
        assert_eq!(TaskId::try_from("a\u{ad}b".to_owned()).unwrap().as_str(), "a\u{ad}b");
        assert!("a\u{ad}b".parse::<TaskId>().is_err() && TaskId::try_from("a\nb".to_owned()).is_err());
        assert!("x".repeat(128).parse::<TaskId>().unwrap().slug().len() <= 40);
    }

    #[test]
    fn branch_names_follow_gits_rules() {
        for good in ["main", "feature/x-1", "mosaic/us-001/7d0c6c1e", "v1.2"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "../../x",
            "a b",
            "a~1",
            "a.lock",
            ".a",
            "a/",
            "/a",
            "@",
            "a@{1}",
            "refs/heads/x",
            "HEAD",
        ] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn timestamps_read_back_what_they_print() {
        let at = Timestamp(1_795_341_849_112);
        assert_eq!(Timestamp::from_rfc3339(&at.to_rfc3339()).unwrap(), at);
    }
}
