//! Copies out of the cache. Where the file system shares blocks, a copy shares them until one of the two is written; else the
//! bytes are copied. Never a hard link: whoever writes through one would change what everybody gets.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use mosaic_core::limits;

/// Paths that stand in copied files and must be others where the copy lies.
pub(in super::super) struct Moves {
    /// Paths of the original and of the copy.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    finder: Option<AhoCorasick>,
    /// The files in which one of them stands.
    holding: HashSet<PathBuf>,
}

impl Moves {
    /// Begins with pairs of an old and a new directory, and the files that name an old one.
    pub(in super::super) fn new(pairs: &[(PathBuf, PathBuf)], holding: &[PathBuf]) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let pairs: Vec<_> = pairs.iter().map(|(old, new)| (bytes(old), bytes(new))).collect();
        let finder = AhoCorasick::new(pairs.iter().map(|(old, _)| old)).ok();
        Self { pairs, finder, holding: holding.iter().cloned().collect() }
    }

    fn rewrite(&self, text: &[u8]) -> Vec<u8> {
        let new: Vec<&[u8]> = self.pairs.iter().map(|(_, new)| new.as_slice()).collect();
        self.finder.as_ref().map_or_else(|| text.to_vec(), |finder| finder.replace_all_bytes(text, &new))
    }
}

/// Copies a file, a link or a directory. `name` is its path in the entry. What is none of these is left out.
pub(in super::super) fn copy_into(from: &Path, to: &Path, name: &Path, moves: &Moves) -> io::Result<()> {
    let mut waiting = vec![(from.to_owned(), to.to_owned(), name.to_owned())];
    // Rights of directories last, deepest first: one that may not be written to could not be filled.
    let mut rights = Vec::new();
    while let Some((from, to, name)) = waiting.pop() {
        let meta = fs::symlink_metadata(&from)?;
        if meta.is_dir() {
            super::private(&to)?;
            rights.push((to.clone(), meta.permissions().mode() & 0o777));
            for entry in fs::read_dir(&from)? {
                let part = entry?.file_name();
                waiting.push((from.join(&part), to.join(&part), name.join(&part)));
            }
        } else if meta.is_file() {
            file(&from, &to, moves.holding.contains(&name).then_some(moves), &meta)?;
        } else if meta.is_symlink() {
            let target = fs::read_link(&from)?;
            symlink(OsStr::from_bytes(&moves.rewrite(target.as_os_str().as_bytes())), &to)?;
        }
    }
    for (directory, mode) in rights.into_iter().rev() {
        fs::set_permissions(directory, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn file(from: &Path, to: &Path, moves: Option<&Moves>, meta: &fs::Metadata) -> io::Result<()> {
    let mut source = File::open(from)?;
    // Neither setuid nor setgid bits are taken along.
    let mode = meta.permissions().mode() & 0o777;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(mode | 0o200).open(to)?;
    match moves {
        Some(moves) => {
            let mut text = Vec::new();
            source.read_to_end(&mut text)?;
            target.write_all(&moves.rewrite(&text))?;
        }
        // Blocks are shared where the file system can; `io::copy` asks the kernel, which shares them or copies.
        None => drop(io::copy(&mut source, &mut target)?),
    }
    target.set_permissions(Permissions::from_mode(mode))?;
    // Interpreters compare a compiled file with its source by this time.
    target.set_modified(meta.modified()?)
}

/// Walks a staged entry; returns its bytes and the text files in which one of these paths stands. Errors when it has more
/// files than an entry may have.
pub(in super::super) fn paths_holding(entry: &Path, paths: &[&Path]) -> io::Result<(u64, Vec<PathBuf>)> {
    let finder =
        AhoCorasick::new(paths.iter().map(|path| path.as_os_str().as_bytes())).map_err(io::Error::other)?;
    let (mut bytes, mut count, mut holding) = (0u64, 0, Vec::new());
    let mut waiting = vec![entry.to_owned()];
    while let Some(directory) = waiting.pop() {
        for found in fs::read_dir(&directory)? {
            let found = found?;
            let (path, meta) = (found.path(), found.metadata()?);
            count += 1;
            if count > limits::GATE_CACHE_FILES {
                let why = format!("it made more than {} files", limits::GATE_CACHE_FILES);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            // The blocks that it takes; a file with holes takes few.
            bytes = bytes.saturating_add(std::os::unix::fs::MetadataExt::blocks(&meta) * 512);
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_file() && meta.len() <= limits::GATE_CACHE_TEXT_BYTES && names(&path, &finder) {
                let name = path.strip_prefix(entry).map_err(io::Error::other)?;
                // A name that is not UTF-8 cannot stand in the note; such a file is given as it is.
                holding.extend(name.to_str().map(PathBuf::from));
            }
        }
    }
    Ok((bytes, holding))
}

/// Tells whether a text file names one of the paths. In a binary file a path of another length would break it.
fn names(path: &Path, finder: &AhoCorasick) -> bool {
    fs::read(path).is_ok_and(|text| !text.contains(&0) && finder.is_match(&text))
}
