//! Kinds of what a data directory holds: something else in the place of one of the server's files or directories is named
//! before anything is opened, with what to do about it.

use std::fs::{FileType, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A regular file; a link to one counts.
    File,
    /// A regular file; no link counts, as the library that opens it follows none.
    PlainFile,
    /// A file that is replaced as a whole: only a directory is in the way.
    Replaced,
    /// A directory; a link to one counts.
    Directory,
}

/// Entries that a start opens or makes, and what follows when the operator moves one away. What else lies in a data
/// directory is set aside, or looked at only when it is needed.
const ENTRIES: [(&str, Kind, &str); 11] = [
    ("mosaic.db", Kind::File, STORE),
    ("mosaic.db-wal", Kind::PlainFile, "the changes in it, if it ever was the store's, are lost"),
    ("mosaic.db-shm", Kind::PlainFile, "it is made anew, and nothing is lost"),
    ("token", Kind::File, "a new token is made, which every client then needs"),
    ("agent-secret", Kind::File, "a new one is made; tokens of agents that still run no longer count"),
    ("store", Kind::Replaced, "it is written anew, and nothing is lost"),
    ("server.json", Kind::Replaced, "it is written anew, and nothing is lost"),
    ("instance", Kind::File, "a new one is made; this node joins its fleet as a new one"),
    ("audit", Kind::Directory, "a new audit log begins; keep the old one"),
    ("git", Kind::Directory, "it is made anew, and nothing is lost"),
    ("archive", Kind::Directory, "a new archive begins; records in the old one cannot be read"),
];

const LOG: &str = "a new audit log begins; keep the old one";
const STORE: &str = "a new store without tasks is made; restore a backup in its place to keep them";
/// Endings of the files of an audit log.
const LOG_FILES: [&str; 3] = [".head", ".jsonl", ".lock"];
/// The endings by which a log is found.
const READ_FILES: [&str; 2] = [".head", ".jsonl"];

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::File | Self::PlainFile | Self::Replaced => "a file",
            Self::Directory => "a directory",
        }
    }

    /// Tells whether what has the name may stay. `target` is what a link leads to.
    fn allows(self, found: &Metadata, target: Option<&Metadata>) -> bool {
        match self {
            Self::File if found.is_symlink() => target.is_none_or(Metadata::is_file),
            Self::File | Self::PlainFile => found.is_file(),
            Self::Replaced => !found.is_dir(),
            Self::Directory => target.is_some_and(Metadata::is_dir),
        }
    }
}

/// Refuses a data directory that has something else in the place of one of the server's files or directories; `node` names its
/// audit log. Returns warnings about what only has the name of a log of another node, which this server reads when it
/// is asked and never writes. Nothing is opened, so nothing is waited for; what cannot be looked at is told by whoever needs it.
pub fn check(dir: &Path, node: &str) -> Result<Vec<String>, StoreError> {
    for (name, kind, consequence) in ENTRIES {
        check_entry(&dir.join(name), kind, consequence)?;
    }
    let audit = dir.join("audit");
    for chain in [node.to_owned(), format!("{node}+cli")] {
        for ending in LOG_FILES {
            check_entry(&audit.join(format!("{chain}{ending}")), Kind::PlainFile, LOG)?;
        }
    }
    let mut warnings = Vec::new();
    let Ok(entries) = std::fs::read_dir(audit) else { return Ok(warnings) };
    for entry in entries.take(limits::AGENT_ENTRIES).flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_plain = || entry.file_type().is_ok_and(|kind| kind.is_file());
        if !READ_FILES.iter().any(|ending| name.ends_with(ending)) || is_plain() {
            continue;
        }
        let full = name.strip_suffix(".jsonl").and_then(|name| name.split_once('@'));
        let is_own = full.is_some_and(|(chain, first)| {
            chain.trim_end_matches("+cli") == node && first.bytes().all(|byte| byte.is_ascii_digit())
        });
        match check_entry(&entry.path(), Kind::PlainFile, LOG) {
            Err(refused) if is_own => return Err(refused),
            Err(_) => warnings.push(format!(
                "{} has the name of an audit log and is none; it is passed over: look where it comes from and move it away",
                entry.path().display()
            )),
            Ok(()) => {}
        }
    }
    Ok(warnings)
}

fn check_entry(path: &Path, kind: Kind, consequence: &str) -> Result<(), StoreError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let target = std::fs::metadata(path);
    // A link that leads to itself, or along too many others, is neither.
    let is_loop = target.as_ref().is_err_and(|e| e.kind() != ErrorKind::NotFound) && found.is_symlink();
    if kind.allows(&found, target.as_ref().ok()) && (!is_loop || kind == Kind::Replaced) {
        return Ok(());
    }
    let what = match (found.is_symlink(), &target) {
        (true, Ok(target)) => format!("a link to {}", word(target.file_type())),
        (true, Err(e)) if e.kind() == ErrorKind::NotFound => "a link to nothing".to_owned(),
        (true, Err(_)) => "a link that leads nowhere".to_owned(),
        (false, _) => word(found.file_type()).to_owned(),
    };
    Err(StoreError::Unusable(format!(
        "{} is {what}, and the server needs {} there; look where it comes from, move it away and start again: {consequence}",
        path.display(),
        kind.word()
    )))
}

fn word(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_file() => "a file",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    type Make = (&'static str, fn(&Path));

    /// Shapes, and the words by which each is told.
    const SHAPES: [Make; 7] = [
        ("a directory", |at| std::fs::create_dir_all(at.join("full")).unwrap()),
        ("a file", |at| std::fs::write(at, "text").unwrap()),
        ("a named pipe", |at| {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        ("a socket", |at| drop(UnixListener::bind(at).unwrap())),
        ("a link to a device", |at| symlink("/dev/zero", at).unwrap()),
        ("a link to nothing", |at| symlink("/nonexistent/place", at).unwrap()),
        ("a link that leads nowhere", |at| symlink(at, at).unwrap()),
    ];

    fn is_allowed(kind: Kind, shape: &str) -> bool {
        match kind {
            Kind::File => ["a file", "a link to nothing"].contains(&shape),
            Kind::PlainFile => shape == "a file",
            Kind::Replaced => shape != "a directory",
            Kind::Directory => shape == "a directory",
        }
    }

    #[test]
    fn every_wrong_kind_in_the_place_of_a_file_or_directory_is_named_with_what_to_do() {
        let logs = LOG_FILES.iter().flat_map(|ending| {
            ["node", "node+cli"].map(|chain| (format!("audit/{chain}{ending}"), Kind::PlainFile))
        });
        let logs = logs.chain([("audit/node@000000000007.jsonl".to_owned(), Kind::PlainFile)]);
        let entries = ENTRIES.iter().map(|(name, kind, _)| ((*name).to_owned(), *kind));
        for (name, kind) in entries.chain(logs) {
            for (shape, make) in SHAPES {
                let place = tempfile::tempdir().unwrap();
                let path = place.path().join(&name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                make(&path);
                let checked = check(place.path(), "node");
                assert_eq!(checked.is_ok(), is_allowed(kind, shape), "{shape} at {name}: {checked:?}");
                let Err(refused) = checked else { continue };
                let text = refused.to_string();
                for part in [path.to_str().unwrap(), shape, kind.word(), "move it away and start again"] {
                    assert!(text.contains(part), "{shape} at {name}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_has_the_name_of_another_nodes_log_is_named_and_stops_nothing() {
        for name in ["audit/x.jsonl", "audit/x.head", "audit/nodes@1.jsonl", "audit/node@x.jsonl"] {
            for (shape, make) in SHAPES.into_iter().filter(|(shape, _)| *shape != "a file") {
                let place = tempfile::tempdir().unwrap();
                let path = place.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                make(&path);
                let warnings = check(place.path(), "node").unwrap();
                assert_eq!(warnings.len(), 1, "{shape} at {name}: {warnings:?}");
                assert!(warnings[0].contains(path.to_str().unwrap()), "{shape} at {name}: {warnings:?}");
                let chains = crate::audit_file::Chain::all(place.path()).unwrap();
                assert!(chains.is_empty(), "{shape} at {name} is read as a log");
            }
        }
        // A lock is asked for by its own node only.
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("audit/x.lock")).unwrap();
        assert_eq!(check(place.path(), "node").unwrap(), [""; 0]);
    }

    #[test]
    fn a_link_to_what_belongs_there_is_as_good() {
        let place = tempfile::tempdir().unwrap();
        let (data, other) = (place.path().join("data"), place.path().join("other"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("token"), "secret").unwrap();
        symlink(other.join("token"), data.join("token")).unwrap();
        symlink(&other, data.join("audit")).unwrap();
        assert_eq!(check(&data, "node").unwrap(), [""; 0]);
    }
}
