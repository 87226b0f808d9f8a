//! Facts about one agent's entries that are known without reading them: the last number, the end of the good lines, and
//! some places in the file to begin reading at.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mosaic_core::domain::ids::Timestamp;
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::transcripts::{Checkpoint, Line, TranscriptCursor};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::private_place::{open_unheld, read_plain};

/// The file of the entries.
pub(super) const ENTRIES: &str = "entries.jsonl";
/// The file that counts what did not fit.
const DROPPED: &str = "dropped";
/// The text of the last entry of a full transcript.
const FULL: &str = "the transcript is full; later entries are only counted";
/// One place to begin reading is kept for so many bytes: at most a thousand for a full transcript.
const STRIDE: u64 = 256 * 1024;

/// One agent's entries.
#[derive(Default)]
pub(super) struct Book {
    loaded: bool,
    last: u64,
    end: u64,
    /// Numbers with the offsets of their lines, rising.
    places: Vec<(u64, u64)>,
    full: bool,
    dropped: u64,
    /// The newest checkpoint, and the entries after it.
    mark: Option<Checkpoint>,
    unmarked: u64,
}

/// The fields of a line that are needed to number the next one, and to know how much of the output is told.
#[derive(Deserialize)]
struct Numbered {
    n: u64,
    #[serde(default)]
    mark: Option<Checkpoint>,
}

/// A line as it stands in the file: the last one of every append says how much of the output is told with it.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    line: Line,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<Checkpoint>,
}

impl Book {
    /// Reads the file unless that was done before; again when somebody removed or cut it meanwhile.
    pub(super) fn load(&mut self, folder: &Path) -> io::Result<()> {
        let path = folder.join(ENTRIES);
        if self.loaded && path.metadata().is_ok_and(|meta| meta.len() >= self.end) {
            return Ok(());
        }
        let file = match open_unheld(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                *self = Self::default();
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let mut fresh = Self::default();
        let mut input = BufReader::with_capacity(64 * 1024, file);
        let (mut bytes, mut offset, mut newest) = (Vec::new(), 0, Vec::new());
        loop {
            bytes.clear();
            let length = input.read_until(b'\n', &mut bytes)? as u64;
            if length == 0 {
                break;
            }
            if bytes.ends_with(b"\n")
                && let Ok(line) = serde_json::from_slice::<Numbered>(&bytes)
            {
                fresh.note(line.n, offset, length);
                fresh.see(line.mark);
                std::mem::swap(&mut newest, &mut bytes);
            }
            offset += length;
        }
        fresh.full = serde_json::from_slice(&newest).is_ok_and(|line: Line| is_marker(&line));
        fresh.dropped = match read_plain(&folder.join(DROPPED), 64) {
            Ok(text) => String::from_utf8_lossy(&text).trim().parse().unwrap_or(0),
            Err(_) => 0,
        };
        fresh.loaded = true;
        *self = fresh;
        Ok(())
    }

    /// Notes a line that was written or read.
    fn note(&mut self, n: u64, offset: u64, length: u64) {
        if self.places.last().is_none_or(|(_, place)| offset >= place + STRIDE) {
            self.places.push((n, offset));
        }
        (self.last, self.end) = (n, offset + length);
    }

    fn see(&mut self, mark: Option<Checkpoint>) {
        match mark {
            Some(mark) => (self.mark, self.unmarked) = (Some(mark), 0),
            None => self.unmarked += 1,
        }
    }

    /// Returns the cursor in a run's output. Entries after the last checkpoint are of the run that was being told, which
    /// is the newest.
    pub(super) fn cursor(&self, run: u32) -> TranscriptCursor {
        match self.mark {
            Some(mark) if mark.run > run => TranscriptCursor { bytes: u64::MAX, entries: 0 },
            Some(mark) if mark.run == run => TranscriptCursor { bytes: mark.bytes, entries: self.unmarked },
            _ => TranscriptCursor { bytes: 0, entries: self.unmarked },
        }
    }

    /// Returns where to begin reading for the entries after this number.
    pub(super) fn seek(&self, after: u64) -> u64 {
        let next = self.places.partition_point(|(n, _)| *n <= after.saturating_add(1));
        next.checked_sub(1).map_or(0, |at| self.places[at].1)
    }

    /// Returns where the good lines end.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Returns how many entries did not fit.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends entries as far as they fit; returns the last number.
    pub(super) fn append(
        &mut self,
        folder: &Path,
        at: Timestamp,
        attempt: u32,
        checkpoint: Checkpoint,
        events: Vec<AgentEvent>,
        quota: u64,
    ) -> io::Result<u64> {
        let (mut text, mut places, mut refused) = (Vec::new(), Vec::new(), 0);
        let (mut last, mut full) = (self.last, self.full);
        let mut left = events.len();
        for event in events {
            left -= 1;
            // Only the last line of a batch has it. A crash in the middle of the write leaves lines behind the
            // checkpoint before, which the next server counts instead of writing them once more.
            let mark = (left == 0).then_some(checkpoint);
            if full {
                refused += 1;
                continue;
            }
            let mut line = encode(Line { n: last + 1, at, attempt, event }, mark)?;
            if self.end + (text.len() + line.len()) as u64 > quota {
                full = true;
                refused += 1;
                let event = AgentEvent::Notice { text: FULL.to_owned() };
                line = encode(Line { n: last + 1, at, attempt, event }, mark)?;
            }
            last += 1;
            places.push((last, self.end + text.len() as u64, line.len() as u64));
            text.extend(line);
        }
        if !text.is_empty() {
            // The file is written first. When that fails on a full disk, the numbers and offsets kept here must still
            // be those of the file.
            self.write(folder, &text)?;
            for (n, offset, length) in places {
                self.note(n, offset, length);
            }
            (self.mark, self.unmarked) = (Some(checkpoint), 0);
            (self.full, self.loaded) = (full, true);
        }
        if refused > 0 {
            self.dropped += refused;
            std::fs::write(folder.join(DROPPED), format!("{}\n", self.dropped))?;
        }
        Ok(self.last)
    }

    /// Writes after the last good line; cuts away what a crash or a full disk left behind it.
    fn write(&self, folder: &Path, text: &[u8]) -> io::Result<()> {
        let unheld = OFlags::NONBLOCK.bits().cast_signed();
        let options = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(unheld).clone();
        let mut file = options.open(folder.join(ENTRIES))?;
        if file.metadata()?.len() != self.end {
            // A line that was cut off by a crash is removed before the next one is added. Left in place, the
            // two would make one line that no reader understands.
            file.set_len(self.end)?;
        }
        file.write_all(text)
    }
}

fn encode(line: Line, mark: Option<Checkpoint>) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Written { line, mark })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn is_marker(line: &Line) -> bool {
    matches!(&line.event, AgentEvent::Notice { text } if text == FULL)
}

/// Says in the last entry of a full transcript how many are missing.
pub(super) fn count_dropped(line: &mut Line, dropped: u64) {
    if dropped > 0 && is_marker(line) {
        line.event = AgentEvent::Notice { text: format!("{FULL}: {dropped} so far") };
    }
}
