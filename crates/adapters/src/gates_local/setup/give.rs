//! Handing out what a setup made: copies in a tree and in a home. In the tree they are no work of the agent's: git and the harvest
//! pass them over.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use mosaic_core::domain::gates::SetupDefinition;

use super::error::SetupError;
use super::job::leads_straight;
use super::{Side, blocking, output};
use crate::gates_local::cache::{Entry, Moves, copy_into};
use crate::given_outputs;
use crate::isolation;

/// Directories that get copies.
#[derive(Debug, Clone)]
pub(in super::super) struct Place {
    /// A tree or checkout that nobody has worked in yet; nothing is put into one that somebody has.
    pub(in super::super) tree: Option<PathBuf>,
    /// A home.
    pub(in super::super) home: Option<PathBuf>,
    /// Paths of tree and home as programs there see them, where those are others.
    pub(in super::super) inside: Option<(PathBuf, PathBuf)>,
    /// The agent's directory, in which it is noted for the harvest what its tree was given.
    pub(in super::super) note: Option<PathBuf>,
}

/// Puts copies of an entry's files where they belong. What is there already stays as it is.
pub(super) async fn all(entry: &Entry, setup: &SetupDefinition, place: Place) -> Result<(), SetupError> {
    let (entry, setup) = (entry.clone(), setup.clone());
    blocking(move || {
        let given = in_tree(&entry, &setup, &place)?;
        if let (Some(tree), false) = (&place.tree, given.is_empty()) {
            exclude(tree, &given)?;
            if let Some(directory) = &place.note {
                given_outputs::note(directory, &given)?;
            }
        }
        in_home(&entry, &place)
    })
    .await
}

fn in_home(entry: &Entry, place: &Place) -> io::Result<()> {
    let home = entry.path.join(Side::Home.name());
    match &place.home {
        Some(to) if home.is_dir() => merge(&home, to, Path::new(Side::Home.name()), &moves(entry, place)),
        _ => Ok(()),
    }
}

/// Files of a setup for the gates of one judgement: a copy in the checkout that all of them copy, and one in each home.
#[derive(Debug, Clone)]
pub(in super::super) struct Given {
    pub(in super::super) entry: Entry,
    /// The checkout.
    pub(in super::super) checkout: PathBuf,
    /// Its gates run isolated, where tree and home have other paths.
    pub(in super::super) isolated: bool,
}

impl Given {
    fn place(&self, tree: bool, home: Option<PathBuf>) -> Place {
        let inside = self.isolated.then(|| (PathBuf::from(isolation::TREE), PathBuf::from(isolation::HOME)));
        Place { tree: tree.then(|| self.checkout.clone()), home, inside, note: None }
    }

    /// Puts copies into the checkout.
    pub(super) async fn to_checkout(&self, setup: &SetupDefinition) -> Result<(), SetupError> {
        all(&self.entry, setup, self.place(true, None)).await
    }

    /// Puts copies into the home of one gate. Blocks.
    pub(in super::super) fn to_home(&self, home: &Path) -> io::Result<()> {
        in_home(&self.entry, &self.place(true, Some(home.to_owned())))
    }
}

/// Copies the outputs into the tree; returns those that are there now and were not before.
fn in_tree(entry: &Entry, setup: &SetupDefinition, place: &Place) -> io::Result<Vec<String>> {
    let Some(tree) = &place.tree else { return Ok(Vec::new()) };
    let moves = moves(entry, place);
    let mut given = Vec::new();
    for (side, path) in setup.outputs.iter().filter_map(|path| output(path)) {
        let name = Path::new(side.name()).join(&path);
        let (from, to) = (entry.path.join(&name), tree.join(&path));
        // What the commit itself has there is the repository's, and stays.
        let is_wanted = side == Side::Tree && from.symlink_metadata().is_ok();
        if !is_wanted || to.symlink_metadata().is_ok() {
            continue;
        }
        make_way(tree, &path)?;
        copy_into(&from, &to, &name, &moves)?;
        given.extend(path.to_str().map(str::to_owned));
    }
    Ok(given)
}

/// Makes the directories above a path. A link among them is refused: it would lead out of the tree.
fn make_way(tree: &Path, path: &Path) -> io::Result<()> {
    let above = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(tree.join(above))?;
    match leads_straight(tree, path) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} lies behind a link in the tree", path.display()))),
    }
}

fn moves(entry: &Entry, place: &Place) -> Moves {
    let pairs: Vec<(PathBuf, PathBuf)> = entry
        .note
        .made_in
        .iter()
        .filter_map(|(side, old)| {
            let is_tree = side == Side::Tree.name();
            let new = match &place.inside {
                Some((tree, _)) if is_tree => tree.clone(),
                Some((_, home)) => home.clone(),
                None if is_tree => place.tree.clone()?,
                None => place.home.clone()?,
            };
            Some((old.clone(), new))
        })
        .collect();
    Moves::new(&pairs, &entry.note.holding)
}

/// Copies a directory's entries beside what is there already; of directories that both have, the entries in turn.
fn merge(from: &Path, to: &Path, name: &Path, moves: &Moves) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let part = entry?.file_name();
        let (from, to, name) = (from.join(&part), to.join(&part), name.join(&part));
        match (to.symlink_metadata(), from.symlink_metadata()?.is_dir()) {
            (Err(e), _) if e.kind() == io::ErrorKind::NotFound => copy_into(&from, &to, &name, moves)?,
            (Ok(there), true) if there.is_dir() => merge(&from, &to, &name, moves)?,
            // It is somebody else's.
            _ => {}
        }
    }
    Ok(())
}

/// Tells git in the tree to pass the outputs over. It has no agent yet, so that nothing in the way is a trap.
fn exclude(tree: &Path, outputs: &[String]) -> io::Result<()> {
    let info = tree.join(".git/info");
    if !tree.join(".git").symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return Ok(());
    }
    fs::create_dir_all(&info)?;
    let mut file = OpenOptions::new().append(true).create(true).open(info.join("exclude"))?;
    let lines: String = outputs.iter().map(|path| format!("/{}\n", escaped(path))).collect();
    file.write_all(format!("# Made by the repository's setup.\n{lines}").as_bytes())
}

/// Takes their meaning from the characters of a pattern.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | '\\' | '!' | '#' | ' ') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
