//! Opens a chain for writing: finds its end, sets aside what a crash left unfinished, takes over what the command
//! line recorded by itself, and says in the log itself whatever was not as it should be. Nothing is ever written over:
//! a chain that does not hold goes on behind its highest number, so that the check still finds the place.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mosaic_core::domain::audit::{Action, AuditEntry, FormatError, Hash, Head, HeadFile, MOSAIC, Record};
use mosaic_core::limits;
use mosaic_core::ports::audit::Wanted;
use parking_lot::Mutex;

use super::files::Chain;
use super::reader::{Piece, lines, read};
use super::taken;
use super::writer::{Shared, Writer, now};
use crate::bounded_file;

/// The end of a chain's newest file, as it was found.
#[derive(Default)]
struct Tail {
    path: Option<PathBuf>,
    first: Option<Record>,
    last: Option<Record>,
    /// Length up to the last whole line.
    size: u64,
    torn: Vec<u8>,
    unreadable: u64,
    /// Records of the command line that this file has taken over.
    taken: u64,
}

fn tail(chain: &Chain) -> io::Result<Tail> {
    let mut tail = Tail::default();
    for path in chain.files()?.into_iter().rev() {
        for piece in lines(&path)? {
            match piece? {
                Piece::Torn(bytes) => tail.torn = bytes,
                Piece::Whole(line) => {
                    tail.size += line.len() as u64 + 1;
                    match Record::read(&line) {
                        Ok(record) => {
                            tail.taken = tail.taken.max(taken::number(&record.entry).unwrap_or(0));
                            tail.first.get_or_insert_with(|| record.clone());
                            tail.last = Some(record);
                        }
                        Err(_) => tail.unreadable += 1,
                    }
                }
            }
        }
        if tail.last.is_some() || !tail.torn.is_empty() {
            tail.path = Some(path);
            break;
        }
    }
    Ok(tail)
}

/// Opens a chain. `None` when somebody else writes it.
pub(super) fn open(chain: Chain, keep: Duration) -> io::Result<Option<Writer>> {
    let Some(lock) = chain.lock()? else { return Ok(None) };
    let tail = tail(&chain)?;
    let found = chain.read_head()?;
    let mut entries = Vec::new();
    let mut say = |action, text: String| entries.push(AuditEntry::new(action, MOSAIC, now()).result(text));
    let end = end(&chain, &tail, found, &mut say);
    if !tail.torn.is_empty() {
        say(Action::AuditHealed, set_aside(&chain, &tail, end.head)?);
    }
    let file = chain.append()?;
    let size = file.metadata()?.len();
    let shared = Arc::new(Shared { head: Mutex::new(end.head), lost: AtomicU64::new(0) });
    let mut writer = Writer { chain, file, size, dirty: false, end, keep, shared, _lock: lock };
    writer.chain.write_head(&writer.end)?;
    if !entries.is_empty() {
        for entry in &entries {
            tracing::warn!(action = entry.action, "audit log: {}", entry.result.as_deref().unwrap_or(""));
        }
        writer.append(entries)?;
    }
    take_over(&mut writer)?;
    writer.rotate()?;
    writer.trim(now())?;
    Ok(Some(writer))
}

/// Decides where the chain goes on, and says what was not as it should be.
fn end(
    chain: &Chain,
    tail: &Tail,
    found: Option<Result<HeadFile, FormatError>>,
    say: &mut impl FnMut(Action, String),
) -> HeadFile {
    let last = tail.last.as_ref().map(Record::head);
    let broken = Action::AuditBroken;
    if tail.unreadable > 0 {
        say(
            broken,
            format!(
                "{} lines of the newest file are no records; see \"mosaic audit verify\"",
                tail.unreadable
            ),
        );
    }
    let file = match found {
        Some(Ok(file)) => file,
        // Only a chain without any file is a new one. Beside records, a missing second copy is damage: deleting it
        // would otherwise hide that the log was cut.
        None if last.is_none() && tail.path.is_none() => HeadFile::genesis(chain.name()),
        other => {
            let unread = other.and_then(Result::err);
            let why = unread.map_or_else(|| "it is missing".to_owned(), |e| e.to_string());
            say(broken, format!("the second copy of the log's end could not be used: {why}"));
            let anchor = oldest(chain).unwrap_or_else(|| Head::genesis(chain.name()));
            let head = last.unwrap_or(anchor);
            return HeadFile { anchor, head, pending: None, taken: tail.taken };
        }
    };
    let taken = file.taken.max(tail.taken);
    let last = last.unwrap_or(file.anchor);
    let most = file.pending.map_or(file.head.n, |pending| pending.n);
    if last.n < file.head.n {
        say(broken, format!("records {} to {} are missing at the end", last.n + 1, file.head.n));
    } else if last.n == file.head.n && last.hash != file.head.hash {
        say(broken, format!("record {} is not the one that was acknowledged", last.n));
    } else if last.n > most {
        say(broken, format!("records {} to {} were announced by nobody", most + 1, last.n));
    } else if last.n < most {
        let text = format!(
            "of records {} to {most}, announced when a crash came, {} arrived; none was acknowledged",
            file.head.n + 1,
            last.n - file.head.n
        );
        say(Action::AuditHealed, text);
    }
    // The chain never goes on below what was acknowledged. New records would take the numbers of the missing ones, and
    // no check would find the gap any more.
    let head = if last.n > file.head.n { last } else { file.head };
    HeadFile { head, pending: None, taken, ..file }
}

/// Returns the end of what is before the oldest record there is.
fn oldest(chain: &Chain) -> Option<Head> {
    let first = read(chain, &Wanted { limit: 1, ..Wanted::default() }).ok()?.records.into_iter().next()?;
    Some(Head { n: first.n.saturating_sub(1), hash: first.previous })
}

/// Moves the unfinished end of the newest file into a file of its own; says what and where.
fn set_aside(chain: &Chain, tail: &Tail, head: Head) -> io::Result<String> {
    let Some(path) = &tail.path else { return Ok(String::new()) };
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    // All of it, however long: what was read is bounded.
    file.seek(SeekFrom::Start(tail.size))?;
    let aside = chain.torn(head.n + 1);
    let mut copy = bounded_file::append_own(&aside)?;
    let bytes = io::copy(&mut file, &mut copy)?;
    copy.flush()?;
    copy.sync_all()?;
    file.set_len(tail.size)?;
    file.sync_all()?;
    let name = aside.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let hash = Hash::of(&tail.torn);
    Ok(format!("an unfinished line of {bytes} bytes was set aside in {name}, sha256 {hash}"))
}

/// Takes over what the command line recorded by itself while no server answered.
fn take_over(writer: &mut Writer) -> io::Result<()> {
    let local = writer.chain.local();
    loop {
        let wanted = Wanted { after: writer.end.taken, limit: limits::AUDIT_BATCH, ..Wanted::default() };
        let page = read(&local, &wanted)?;
        if page.records.is_empty() {
            return Ok(());
        }
        let entries = page.records.into_iter().map(|record| {
            let result = record.entry.result.clone().unwrap_or_default();
            let text =
                format!("{result} (done by the command line; record {} of {})", record.n, local.name());
            record.entry.clone().result(text).request(&taken::mark(record.n))
        });
        writer.append(entries.collect())?;
    }
}
