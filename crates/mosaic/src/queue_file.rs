//! The file of an exported queue: NDJSON, a head, an entry per line, and an end without which it is not whole. Written aside,
//! synced and renamed, readable by its owner only.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use mosaic_adapters::durable_write::WholeFile;
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use mosaic_core::transfer::Entry;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The newest version of the format that is written and read.
const VERSION: u32 = 1;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum QueueFileError {
    /// It cannot be read or written.
    #[error("{path} cannot be used: {why}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// A line is none of an export.
    #[error("line {line} of {path} is none of an exported queue: {why}")]
    Line {
        /// The file.
        path: String,
        /// Which line, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// It was written by a newer version.
    #[error(
        "{path} has version {version}, and this program reads {VERSION}; import it with the version that wrote it"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
    /// It has no end.
    #[error("{path} is not whole: its end is missing; the export was broken off, run it again to finish it")]
    CutOff {
        /// The file.
        path: String,
    },
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    /// The version of the format.
    pub(crate) mosaic_queue: u32,
    /// The export, as the records that it ended name it.
    pub(crate) export: String,
    /// When it began.
    pub(crate) at: Timestamp,
    /// The store that it came from, for people.
    pub(crate) from: String,
}

impl Head {
    /// Makes the head of a new export.
    pub(crate) fn new(export: String, at: Timestamp, from: String) -> Self {
        Self { mosaic_queue: VERSION, export, at, from }
    }
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: u64,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct QueueFile {
    pub(crate) head: Head,
    pub(crate) entries: Vec<Entry>,
    /// Its end was there, with the number of entries.
    pub(crate) whole: bool,
}

/// Returns the name of what an export writes before anything ended for it.
pub(crate) fn journal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> QueueFileError {
    let path = path.display().to_string();
    move |why| QueueFileError::Io { path, why }
}

/// Writes a file so that it is there as a whole or not at all; one with an end when it is `whole`.
pub(crate) fn write(path: &Path, head: &Head, entries: &[Entry], whole: bool) -> Result<(), QueueFileError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let written = WholeFile::at(path).through(aside).fill(|file| {
        let mut text = io::BufWriter::new(file);
        lines(&mut text, head, entries, whole)?;
        text.flush()
    });
    written.map_err(failed(path))
}

/// Writes the lines of an export.
pub(crate) fn lines(to: &mut impl Write, head: &Head, entries: &[Entry], whole: bool) -> io::Result<()> {
    let mut line = |value: serde_json::Result<String>| writeln!(to, "{}", value.map_err(io::Error::other)?);
    line(serde_json::to_string(head))?;
    for entry in entries {
        line(serde_json::to_string(entry))?;
    }
    match whole {
        true => line(serde_json::to_string(&End { end: entries.len() as u64 })),
        false => Ok(()),
    }
}

/// Reads a file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<QueueFile>, QueueFileError> {
    match File::open(path) {
        Ok(file) => read_from(file, path).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path)(e)),
    }
}

/// Reads an export; `name` is what errors call it. Half a line at the end counts as a missing end.
pub(crate) fn read_from(from: impl Read, name: &Path) -> Result<QueueFile, QueueFileError> {
    let path = || name.display().to_string();
    let mut reader = BufReader::new(from);
    let (mut head, mut entries, mut end) = (None::<Head>, Vec::new(), None);
    for number in 1.. {
        let wrong = |why: String| QueueFileError::Line { path: path(), line: number, why };
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(limits::TRANSFER_LINE_BYTES);
        let read = bounded.read_until(b'\n', &mut line).map_err(failed(name))?;
        if read == 0 || line.last() != Some(&b'\n') {
            if read as u64 == limits::TRANSFER_LINE_BYTES {
                return Err(wrong("it is too long".to_owned()));
            }
            break;
        }
        if end.is_some() {
            return Err(wrong("it stands behind the end".to_owned()));
        }
        if head.is_none() {
            let read: Head = serde_json::from_slice(&line).map_err(|e| wrong(e.to_string()))?;
            if read.mosaic_queue > VERSION {
                return Err(QueueFileError::Newer { path: path(), version: read.mosaic_queue });
            }
            head = Some(read);
        } else if let Ok(End { end: count }) = serde_json::from_slice(&line) {
            end = Some(count);
        } else {
            entries.push(serde_json::from_slice(&line).map_err(|e| wrong(e.to_string()))?);
        }
    }
    let head = head.ok_or_else(|| QueueFileError::CutOff { path: path() })?;
    let whole = end == Some(entries.len() as u64);
    Ok(QueueFile { head, entries, whole })
}
