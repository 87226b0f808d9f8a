//! The last resort for a tree whose `.git` cannot be used: its files are walked by our own code (no link followed, no
//! filter, no nested `.git`) and become one commit on top of the base, in a fresh repository in the outbox. Runs
//! inside the agent's confinement, like the rest of the harvest.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use mosaic_core::limits;

use super::harvest::{Git, Report, SUBJECT, Spec, bundle_head};
use super::store;

/// A path relative to the tree, as bytes.
type RelPath = Vec<u8>;

/// Takes the tree's files and bundles them.
pub(super) fn walk(spec: &Spec) -> Result<Report, String> {
    let dir = spec.outbox.join("walk.git");
    let say = |e: io::Error| e.to_string();
    store::skeleton(&dir, false, spec.base.len() == 64, "").map_err(say)?;
    store::share_objects(&dir, &[&spec.shared]).map_err(say)?;
    fs::write(dir.join("HEAD"), "ref: refs/heads/walk\n").map_err(say)?;
    let git = Git::at(spec, dir);
    let (files, links) = {
        let mut found = Found::default();
        collect(&spec.tree, &mut Vec::new(), &mut found).map_err(say)?;
        (found.files, found.links)
    };
    let tracked = tracked(&git, &spec.base).map_err(say)?;
    let ignored = ignored(&git, &files, &tracked);
    write_commit(&git, spec, &files, &ignored, &links, &tracked).map_err(say)?;
    let same = git.run(["diff-tree", "--quiet", spec.base.as_str(), "refs/heads/walk"])?;
    if same.code == Some(0) {
        return Ok(Report::Nothing);
    }
    bundle_head(&git, spec, &[])
}

#[derive(Default)]
struct Found {
    files: Vec<RelPath>,
    /// Links and directories with a `.git` of their own: kept as the base has them, never taken anew.
    links: HashSet<RelPath>,
}

fn collect(dir: &Path, below: &mut Vec<u8>, found: &mut Found) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(dir)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let length = below.len();
    for entry in entries {
        let name = entry.file_name();
        if name.as_bytes().eq_ignore_ascii_case(b".git") {
            if length > 0 {
                found.links.insert(below[..length - 1].to_vec());
            }
            continue;
        }
        below.extend_from_slice(name.as_bytes());
        let kind = entry.file_type()?;
        if kind.is_dir() && below.len() < 4096 {
            below.push(b'/');
            collect(&entry.path(), below, found)?;
        } else if kind.is_file() {
            found.files.push(below.clone());
        } else if kind.is_symlink() {
            found.links.insert(below.clone());
        }
        below.truncate(length);
        if found.files.len() > limits::WALKER_FILES {
            return Err(io::Error::other(format!("the tree has more than {} files", limits::WALKER_FILES)));
        }
    }
    Ok(())
}

/// The base's entries: path → (mode, object).
fn tracked(git: &Git, base: &str) -> io::Result<HashMap<RelPath, (String, String)>> {
    let out = git.command(["ls-tree", "-r", "-z", "--full-tree", base]).output()?;
    if !out.status.success() {
        return Err(io::Error::other(format!(
            "the base could not be read: {}",
            String::from_utf8_lossy(&out.stderr)
        )));
    }
    let mut all = HashMap::new();
    for line in out.stdout.split(|b| *b == 0) {
        let Some(tab) = line.iter().position(|b| *b == b'\t') else { continue };
        let head = String::from_utf8_lossy(&line[..tab]).into_owned();
        let mut words = head.split(' ');
        if let (Some(mode), Some(_), Some(object)) = (words.next(), words.next(), words.next()) {
            all.insert(line[tab + 1..].to_vec(), (mode.to_owned(), object.to_owned()));
        }
    }
    Ok(all)
}

/// The new files that the tree's ignore rules leave out. When the rules cannot be asked nothing is left out.
fn ignored(git: &Git, files: &[RelPath], tracked: &HashMap<RelPath, (String, String)>) -> HashSet<RelPath> {
    let asked = || -> io::Result<HashSet<RelPath>> {
        let mut command = git.command(["check-ignore", "-z", "--stdin", "--no-index"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut stdin = BufWriter::new(child.stdin.take().expect("stdin was piped"));
        let new: Vec<RelPath> = files.iter().filter(|f| !tracked.contains_key(*f)).cloned().collect();
        let writer = std::thread::spawn(move || {
            new.iter().try_for_each(|path| stdin.write_all(path).and_then(|()| stdin.write_all(&[0])))
        });
        let out = child.wait_with_output()?;
        let _ = writer.join();
        match out.status.code() {
            Some(0 | 1) => {
                Ok(out.stdout.split(|b| *b == 0).filter(|p| !p.is_empty()).map(<[u8]>::to_vec).collect())
            }
            _ => Err(io::Error::other("the ignore rules could not be read")),
        }
    };
    asked().unwrap_or_default()
}

fn write_commit(
    git: &Git,
    spec: &Spec,
    files: &[RelPath],
    ignored: &HashSet<RelPath>,
    links: &HashSet<RelPath>,
    tracked: &HashMap<RelPath, (String, String)>,
) -> io::Result<()> {
    let mut command = git.command(["fast-import", "--quiet", "--date-format=now", "--done"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut out = BufWriter::new(child.stdin.take().expect("stdin was piped"));
    let message = format!("{SUBJECT}\n\n{}\n{}\n", spec.trailers[0], spec.trailers[1]);
    let who: Vec<String> =
        [&spec.author.0, &spec.author.1].map(|t| t.replace(['<', '>', '\n', '\0'], "")).to_vec();
    let mut write = || -> io::Result<()> {
        writeln!(
            out,
            "commit refs/heads/walk\ncommitter {} <{}> now\ndata {}\n{message}",
            who[0],
            who[1],
            message.len()
        )?;
        writeln!(out, "from {}\ndeleteall", spec.base)?;
        let mut room = limits::BUNDLE_BYTES;
        for path in files.iter().filter(|f| !ignored.contains(*f)) {
            write_file(&mut out, &spec.tree, path, &mut room)?;
        }
        for (path, (mode, object)) in tracked
            .iter()
            .filter(|(path, (mode, _))| mode == "160000" || (mode == "120000" && links.contains(*path)))
        {
            let here = spec.tree.join(std::ffi::OsStr::from_bytes(path));
            if mode == "120000" || fs::symlink_metadata(here).is_ok_and(|m| m.is_dir()) {
                writeln!(out, "M {mode} {object} {}", quoted(path))?;
            }
        }
        writeln!(out, "done")?;
        out.flush()
    };
    let written = write();
    drop(out);
    finish(child, written)
}

fn finish(child: Child, written: io::Result<()>) -> io::Result<()> {
    let out = child.wait_with_output()?;
    match (out.status.success(), written) {
        (true, Ok(())) => Ok(()),
        (_, Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
        _ => Err(io::Error::other(format!("fast-import failed: {}", String::from_utf8_lossy(&out.stderr)))),
    }
}

fn write_file(out: &mut impl Write, tree: &Path, path: &[u8], room: &mut u64) -> io::Result<()> {
    let full: PathBuf = tree.join(std::ffi::OsStr::from_bytes(path));
    let flags = i32::try_from((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits())
        .map_err(io::Error::other)?;
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(&full) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("left out, unreadable: {} ({error})", String::from_utf8_lossy(path));
            return Ok(());
        }
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(());
    }
    *room = room.checked_sub(meta.len()).ok_or_else(|| {
        io::Error::other(format!("the tree's files are larger than {} bytes", limits::BUNDLE_BYTES))
    })?;
    let mode = if meta.permissions().mode() & 0o100 == 0 { "100644" } else { "100755" };
    writeln!(out, "M {mode} inline {}\ndata {}", quoted(path), meta.len())?;
    let copied = io::copy(&mut file.take(meta.len()), out)?;
    if copied != meta.len() {
        return Err(io::Error::other("a file shrank while it was read"));
    }
    out.write_all(b"\n")
}

/// A path in fast-import's quoting.
pub(super) fn quoted(path: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in path {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_for_fast_import() {
        assert_eq!(quoted("a \"b\"\\\n\u{e9}".as_bytes()), "\"a \\\"b\\\"\\\\\\012\\303\\251\"");
    }

    #[test]
    fn links_and_nested_git_directories_are_not_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("sub/.git/objects")).unwrap();
        fs::write(at("sub/.git/config"), "x").unwrap();
        fs::write(at("sub/file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", at("out")).unwrap();
        let mut found = Found::default();
        collect(dir.path(), &mut Vec::new(), &mut found).unwrap();
        assert_eq!(found.files, [b"sub/file".to_vec()]);
        assert!(found.links.contains(b"out".as_slice()) && found.links.contains(b"sub".as_slice()));
    }
}
