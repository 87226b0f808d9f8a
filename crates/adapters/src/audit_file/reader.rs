//! Reads the files of a chain: pages of records, and the check of the whole. Needs no server and changes nothing.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use mosaic_core::domain::audit::{Action, Broken, FormatError, Head, HeadFile, Record, Walk};
use mosaic_core::limits;
use mosaic_core::ports::audit::{Page, Verified, Wanted};

use crate::bounded_file;

use super::files::Chain;

/// Most attempts of a check, which starts over when the chain grew meanwhile.
const AGAIN: usize = 50;

/// A line of a file.
pub(super) enum Piece {
    /// A whole line, without its end.
    Whole(Vec<u8>),
    /// The bytes after the last end of line.
    Torn(Vec<u8>),
}

/// Reads a file line by line. A line longer than any record counts as torn.
pub(super) fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Piece>>> {
    let mut reader = BufReader::new(bounded_file::open(path)?);
    let mut over = false;
    Ok(std::iter::from_fn(move || {
        if over {
            return None;
        }
        let mut line = Vec::new();
        match reader.by_ref().take(limits::AUDIT_LINE_BYTES as u64).read_until(b'\n', &mut line) {
            Err(e) => Some(Err(e)),
            Ok(0) => None,
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                Some(Ok(Piece::Whole(line)))
            }
            Ok(_) => {
                over = true;
                Some(Ok(Piece::Torn(line)))
            }
        }
    }))
}

/// Reads one page of records; what cannot be read as one is left out, for it is the check that finds it.
pub fn read(chain: &Chain, wanted: &Wanted) -> io::Result<Page> {
    let mut page = Page { records: Vec::new(), next: None };
    let mut seen = 0;
    for path in from(chain, wanted.after)? {
        for piece in lines(&path)? {
            let Piece::Whole(line) = piece? else { break };
            let Ok(record) = Record::read(&line) else { continue };
            if record.n <= wanted.after {
                continue;
            }
            // The bound counts records that were looked at, too. A filter that fits none would make one request read
            // the whole log.
            if page.records.len() >= wanted.limit || seen >= limits::AUDIT_SCAN {
                page.next = Some(record.n - 1);
                return Ok(page);
            }
            seen += 1;
            if wanted.fits(&record.entry) {
                page.records.push(record);
            }
        }
    }
    Ok(page)
}

/// Returns the files that can have records after this number, oldest first.
fn from(chain: &Chain, after: u64) -> io::Result<Vec<PathBuf>> {
    let full = chain.full_files()?;
    let skip = full.iter().rposition(|(first, _)| *first <= after).unwrap_or(0);
    let mut files: Vec<PathBuf> = full.into_iter().skip(skip).map(|(_, path)| path).collect();
    files.extend(Some(chain.active()).filter(|path| path.exists()));
    Ok(files)
}

/// Checks a whole chain and its second copy of the end. `known` is an end that the caller knows by itself. A chain
/// that grows meanwhile is looked at again.
pub fn verify(chain: &Chain, known: Option<Head>) -> io::Result<Verified> {
    for _ in 0..AGAIN {
        let before = chain.read_head()?;
        let checked = check(chain, before.clone(), known)?;
        if chain.read_head()? == before {
            return Ok(checked);
        }
    }
    Err(io::Error::other("the log grows faster than it can be checked; try again"))
}

fn check(
    chain: &Chain,
    head: Option<Result<HeadFile, FormatError>>,
    known: Option<Head>,
) -> io::Result<Verified> {
    let mut look = Look {
        walk: Walk::behind(Head::genesis(chain.name())),
        marks: Vec::new(),
        first: None,
        torn: false,
        remarks: Vec::new(),
    };
    let checked = match head {
        None => look.without_head(chain, known)?,
        Some(Err(why)) => Err(Broken::new(1, format!("the second copy of the log's end is damaged: {why}"))),
        Some(Ok(file)) => look.all(chain, &file, known)?,
    };
    Ok(Verified {
        chain: chain.name().to_owned(),
        head: look.walk.head(),
        first: look.first.unwrap_or(1),
        broken: checked.err(),
        remarks: look.remarks,
    })
}

/// One check while it goes on.
struct Look {
    walk: Walk,
    /// Ends that the chain must pass through.
    marks: Vec<(Head, &'static str)>,
    first: Option<u64>,
    torn: bool,
    remarks: Vec<String>,
}

impl Look {
    fn without_head(&mut self, chain: &Chain, known: Option<Head>) -> io::Result<Result<(), Broken>> {
        let empty = chain.files()?.is_empty() && known.is_none_or(|head| head.n == 0);
        Ok(match empty {
            true => Ok(()),
            false => Err(Broken::new(1, "the second copy of the log's end is missing")),
        })
    }

    fn all(&mut self, chain: &Chain, file: &HeadFile, known: Option<Head>) -> io::Result<Result<(), Broken>> {
        let anchored = file.anchor.n > 0 || file.anchor == Head::genesis(chain.name());
        if !anchored {
            return Ok(Err(Broken::new(1, "the chain does not begin with this node's name")));
        }
        self.walk = Walk::behind(file.anchor);
        self.marks = vec![(file.anchor, "the anchor"), (file.head, "the second copy of the log's end")];
        self.marks.extend(file.pending.map(|head| (head, "the announced end")));
        self.marks.extend(known.map(|head| (head, "what the server wrote")));
        for path in chain.files()? {
            if self.torn {
                return Ok(Err(Broken::new(
                    self.walk.head().n + 1,
                    "an unfinished line stands in the middle",
                )));
            }
            if let Err(broken) = self.file(&path)? {
                return Ok(Err(broken));
            }
        }
        Ok(self.end(file, known))
    }

    fn file(&mut self, path: &Path) -> io::Result<Result<(), Broken>> {
        for piece in lines(path)? {
            let line = match piece? {
                Piece::Whole(line) => line,
                Piece::Torn(_) => {
                    self.torn = true;
                    continue;
                }
            };
            if let Err(broken) = self.line(&line) {
                return Ok(Err(broken));
            }
        }
        Ok(Ok(()))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let record = Record::read(line).map_err(|e| Broken::new(self.walk.head().n + 1, e.to_string()))?;
        if self.first.is_none() {
            self.first = Some(record.n);
            // What was to be deleted when a crash came is still there, and must still lead to the anchor.
            if (1..=self.walk.head().n).contains(&record.n) {
                self.walk = Walk::behind(Head { n: record.n - 1, hash: record.previous });
            }
        }
        self.walk.step(&record)?;
        if let Some((_, what)) =
            self.marks.iter().find(|(mark, _)| mark.n == record.n && mark.hash != record.hash)
        {
            return Err(Broken::new(record.n, format!("it is not the record that {what} names")));
        }
        self.remark(&record);
        Ok(())
    }

    fn remark(&mut self, record: &Record) {
        let notable = [Action::AuditHealed, Action::AuditBroken, Action::AuditLost];
        if notable.iter().any(|action| record.entry.action == action.as_str()) {
            let text = format!(
                "record {}: {}: {}",
                record.n,
                record.entry.action,
                record.entry.result.as_deref().unwrap_or("")
            );
            if self.remarks.len() < limits::AUDIT_REMARKS {
                self.remarks.push(text);
            }
        }
    }

    /// Looks whether the end is where it must be. Only records that were announced and never acknowledged may be
    /// missing, or stand there unfinished.
    fn end(&mut self, file: &HeadFile, known: Option<Head>) -> Result<(), Broken> {
        let last = self.walk.head().n;
        let most = file.pending.map_or(file.head.n, |pending| pending.n);
        let missing = |by: &str| {
            Broken::new(last + 1, format!("it is missing: {by} names record {}", most.max(file.head.n)))
        };
        if last < file.head.n {
            return Err(missing("the second copy of the log's end"));
        }
        if known.is_some_and(|head| last < head.n) {
            return Err(Broken::new(last + 1, "it is missing: the server wrote it"));
        }
        if last > most {
            return Err(Broken::new(
                most + 1,
                "nobody announced it: the second copy of the log's end is older",
            ));
        }
        if self.torn {
            if file.pending.is_none() {
                return Err(Broken::new(
                    last + 1,
                    "an unfinished line stands at the end, and nothing was being written",
                ));
            }
            self.remarks.push("a crash left an unfinished record; the next start sets it aside".to_owned());
        }
        Ok(())
    }
}
