//! The chain: every record carries the hash of the one before it and its own, and the head file holds the end a second
//! time.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::entry::AuditEntry;
use crate::domain::ids::{InvalidName, Timestamp};

/// A SHA-256 hash, in lower-case hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// Hashes bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns what the first record of a chain carries in the place of a record before it. The chain's name is in
    /// it, so that the log of one node cannot stand for another's.
    pub fn genesis(chain: &str) -> Self {
        Self::of(format!("mosaic audit log 1 {chain}").as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is no SHA-256 hash in lower-case hexadecimal digits")]
pub struct NotAHash;

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let pairs: Option<Vec<u8>> =
            text.as_bytes().chunks(2).map(|p| Some(digit(p[0])? << 4 | digit(*p.get(1)?)?)).collect();
        let bytes = pairs.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NotAHash)
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

/// The end of a chain: how many records there are, and the hash of the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The hash of the newest record; that of [`Hash::genesis`] when there is none.
    pub hash: Hash,
    /// The number of the newest record; 0 when there is none.
    pub n: u64,
}

impl Head {
    /// Returns the end of a chain without records.
    pub fn genesis(chain: &str) -> Self {
        Self { hash: Hash::genesis(chain), n: 0 }
    }
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub n: u64,
    /// The audit entry.
    pub entry: AuditEntry,
    /// The hash of the record before it.
    pub previous: Hash,
    /// The hash of everything above, in the canonical form.
    pub hash: Hash,
}

/// A record as it stands in the file: the fields in the order of the alphabet, no blanks, nothing left out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    action: Cow<'a, str>,
    actor: Cow<'a, str>,
    at: Cow<'a, str>,
    // Left out of what is hashed, and never out of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    n: u64,
    previous: Hash,
    reason: Option<Cow<'a, str>>,
    request: Option<Cow<'a, str>>,
    result: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
}

impl Record {
    /// Makes the next record of a chain.
    pub fn seal(head: Head, entry: AuditEntry) -> Self {
        let mut record = Self { n: head.n.saturating_add(1), entry, previous: head.hash, hash: head.hash };
        record.hash = record.own_hash();
        record
    }

    fn text(&self, hash: Option<Hash>) -> String {
        let entry = &self.entry;
        fn part(text: &Option<String>) -> Option<Cow<'_, str>> {
            text.as_deref().map(Cow::Borrowed)
        }
        let line = Line {
            action: Cow::Borrowed(&entry.action),
            actor: Cow::Borrowed(&entry.actor),
            at: entry.at.to_rfc3339().into(),
            hash,
            n: self.n,
            previous: self.previous,
            reason: part(&entry.reason),
            request: part(&entry.request),
            result: part(&entry.result),
            subject: part(&entry.subject),
        };
        serde_json::to_string(&line).expect("texts and numbers always become JSON")
    }

    fn own_hash(&self) -> Hash {
        Hash::of(self.text(None).as_bytes())
    }

    /// Returns its line in the file, without the end of line: canonical JSON.
    pub fn line(&self) -> String {
        self.text(Some(self.hash))
    }

    /// Reads a line. Errors when it is anything else than what [`Record::line`] writes, byte for byte, or when its
    /// hash is not its own.
    pub fn read(line: &[u8]) -> Result<Self, FormatError> {
        let parsed: Line<'_> =
            serde_json::from_slice(line).map_err(|e| FormatError::Unreadable(e.to_string()))?;
        let at = Timestamp::from_rfc3339(&parsed.at).map_err(FormatError::Time)?;
        let hash = parsed.hash.ok_or(FormatError::NoHash)?;
        let entry = AuditEntry {
            at,
            actor: parsed.actor.into_owned(),
            action: parsed.action.into_owned(),
            subject: parsed.subject.map(Cow::into_owned),
            reason: parsed.reason.map(Cow::into_owned),
            result: parsed.result.map(Cow::into_owned),
            request: parsed.request.map(Cow::into_owned),
        };
        let record = Self { n: parsed.n, entry, previous: parsed.previous, hash };
        // JSON can say the same in many ways. Only the bytes that this program writes are taken, so that no
        // byte of a record can change unseen.
        if record.line().as_bytes() != line {
            return Err(FormatError::NotCanonical);
        }
        if record.own_hash() != record.hash {
            return Err(FormatError::WrongHash);
        }
        Ok(record)
    }

    /// Returns the end of the chain that this record is.
    pub fn head(&self) -> Head {
        Head { hash: self.hash, n: self.n }
    }
}

/// Reasons why a record, or the file that names the end of a chain, is not one that this program wrote.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// It is not JSON with the right fields.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Its time is none.
    #[error("its time {0}")]
    Time(#[source] InvalidName),
    /// It has no hash.
    #[error("it has no hash")]
    NoHash,
    /// It means a record, but has other bytes than this program writes.
    #[error("it is not written as records are written")]
    NotCanonical,
    /// Its hash is that of other content.
    #[error("its content does not have its hash")]
    WrongHash,
}

/// The first place at which a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The number of the first bad record.
    pub n: u64,
    /// Fault of that record.
    pub why: String,
}

impl Broken {
    /// Names a place and what is wrong with it.
    pub fn new(n: u64, why: impl Into<String>) -> Self {
        Self { n, why: why.into() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.n, self.why)
    }
}

/// Walks along a chain from a known end of it.
#[derive(Debug, Clone, Copy)]
pub struct Walk(Head);

impl Walk {
    /// Starts behind this record.
    pub fn behind(head: Head) -> Self {
        Self(head)
    }

    /// Returns the newest record so far.
    pub fn head(&self) -> Head {
        self.0
    }

    /// Goes on to the next record. Errors when it is not the one that follows. That its content has its hash is what
    /// [`Record::read`] has looked at.
    pub fn step(&mut self, record: &Record) -> Result<(), Broken> {
        let n = self.0.n.saturating_add(1);
        if record.n != n {
            return Err(Broken::new(n, format!("it is missing; in its place is record {}", record.n)));
        }
        if record.previous != self.0.hash {
            return Err(Broken::new(n, "it does not follow the record before it"));
        }
        self.0 = record.head();
        Ok(())
    }
}

/// Checks a whole chain from this end of what is before it; returns its end.
pub fn verify<'a>(before: Head, records: impl IntoIterator<Item = &'a Record>) -> Result<Head, Broken> {
    let mut walk = Walk::behind(before);
    for record in records {
        walk.step(record)?;
        if record.own_hash() != record.hash {
            return Err(Broken::new(record.n, "its content does not have its hash"));
        }
    }
    Ok(walk.head())
}

/// The second copy of a chain's end, in a file of its own: without it, whoever cuts off the newest records or writes
/// the last one anew would not be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadFile {
    /// The record before the oldest one that is kept.
    pub anchor: Head,
    /// The newest record that was acknowledged.
    pub head: Head,
    /// Head of the chain once the records that are being written have arrived.
    pub pending: Option<Head>,
    /// Records of the command line's own chain that were taken over.
    pub taken: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadText {
    anchor: Head,
    head: Head,
    pending: Option<Head>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<Hash>,
    taken: u64,
}

impl HeadFile {
    /// Returns the head of a chain without records.
    pub fn genesis(chain: &str) -> Self {
        let head = Head::genesis(chain);
        Self { anchor: head, head, pending: None, taken: 0 }
    }

    fn json(&self, seal: Option<Hash>) -> String {
        let Self { anchor, head, pending, taken } = *self;
        serde_json::to_string(&HeadText { anchor, head, pending, seal, taken })
            .expect("numbers and hashes always become JSON")
    }

    /// Returns the file's content.
    pub fn text(&self) -> String {
        let seal = Hash::of(self.json(None).as_bytes());
        format!("{}\n", self.json(Some(seal)))
    }

    /// Reads the file's content; errors when it is anything else than what [`HeadFile::text`] writes.
    pub fn read(text: &[u8]) -> Result<Self, FormatError> {
        let parsed: HeadText =
            serde_json::from_slice(text).map_err(|e| FormatError::Unreadable(e.to_string()))?;
        let HeadText { anchor, head, pending, taken, .. } = parsed;
        let file = Self { anchor, head, pending, taken };
        if file.text().as_bytes() == text { Ok(file) } else { Err(FormatError::WrongHash) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Action;
    use crate::limits;

    fn chain(count: u64) -> Vec<Record> {
        let mut head = Head::genesis("n");
        let mut records = Vec::new();
        for i in 0..count {
            let entry =
                AuditEntry::new(Action::Kill, "operator", Timestamp(1_795_341_849_112 + i)).subject(i);
            let record = Record::seal(head, entry.reason(Some("looping \"so\"\n")).result("killed"));
            head = record.head();
            records.push(record);
        }
        records
    }

    #[test]
    fn a_record_is_read_back_and_its_form_is_fixed() {
        let record = &chain(1)[0];
        let line = record.line();
        assert_eq!(Record::read(line.as_bytes()).unwrap(), *record);
        // Whoever checks a log with another program relies on this form.
        let expected = concat!(
            r#"{"action":"kill","actor":"operator","at":"2026-11-22T10:04:09.112Z","hash":"HASH","n":1,"#,
            r#""previous":"PREV","reason":"looping \"so\"\n","request":null,"result":"killed","subject":"0"}"#
        );
        let expected = expected.replace("HASH", &record.hash.to_string());
        assert_eq!(line, expected.replace("PREV", &Hash::genesis("n").to_string()));
        let unhashed = line.replace(&format!(r#""hash":"{}","#, record.hash), "");
        assert_eq!(Hash::of(unhashed.as_bytes()), record.hash);
        for other in [
            unhashed,
            line.replace(":1,", ": 1,"),
            line.replace("\"n\":1", "\"n\":1,\"x\":1"),
            format!("{line} "),
        ] {
            assert!(Record::read(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_chain_holds_only_whole_and_in_order() {
        let records = chain(20);
        let start = Head::genesis("n");
        assert_eq!(verify(start, &records).unwrap(), records[19].head());
        for i in 0..19 {
            let without: Vec<_> = records.iter().filter(|r| r.n != i + 1).collect();
            assert_eq!(verify(start, without).unwrap_err().n, i + 1);
            let mut swapped = records.clone();
            swapped.swap(i as usize, i as usize + 1);
            assert_eq!(verify(start, &swapped).unwrap_err().n, i + 1);
        }
        assert_eq!(verify(Head::genesis("other"), &records).unwrap_err().n, 1);
    }

    #[test]
    fn a_head_file_is_read_back_only_as_it_was_written() {
        let head = chain(3)[2].head();
        let file = HeadFile { head, pending: Some(head), taken: 2, ..HeadFile::genesis("n") };
        let text = file.text().into_bytes();
        assert_eq!(HeadFile::read(&text).unwrap(), file);
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert!(HeadFile::read(&other).is_err(), "byte {at}");
        }
    }

    #[test]
    fn texts_are_bounded() {
        let entry =
            AuditEntry::new(Action::Kill, &"x".repeat(1 << 20), Timestamp(0)).result("y".repeat(1 << 20));
        let record = Record::seal(Head::genesis("n"), entry);
        assert!(record.line().len() < limits::AUDIT_LINE_BYTES);
    }
}
