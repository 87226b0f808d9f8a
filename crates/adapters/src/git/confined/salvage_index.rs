//! The index of a tree being salvaged: its entries as a tree, and beside it what no tree can say (sides of conflicts,
//! entries that were only announced, names that git refuses in a tree).

use std::collections::BTreeMap;

use super::error::HarvestError;
use super::salvage::{Salvage, info_line};
use crate::git::bundle_spec::salvage_state::{RelPath, Unmerged, is_odd};
use crate::git::index_file::Entry;

impl Salvage<'_> {
    /// Reads the index and returns its tree; `None` when it cannot be read.
    pub(crate) fn index(&mut self) -> Result<Option<String>, HarvestError> {
        let Some(index) = &self.look.mirror.index else {
            eprintln!("the index cannot be read; it is restored from HEAD");
            return Ok(None);
        };
        let mut chosen: BTreeMap<&[u8], (u8, &Entry)> = BTreeMap::new();
        for entry in index {
            // One whose file was removed again can only come back with the empty content that the index has.
            let found = &self.look.found;
            let is_there = || {
                found.files.contains_key(&entry.path) || found.left.iter().any(|one| one.path == entry.path)
            };
            if entry.stage == 0 && entry.intent && is_there() {
                self.state.intent.push(RelPath(entry.path.clone()));
                continue;
            }
            let odd = is_odd(&entry.path, entry.mode == 0o120_000) && entry.path != b".gitmodules";
            if entry.stage > 0 || odd {
                let (path, mode) = (RelPath(entry.path.clone()), format!("{:06o}", entry.mode));
                let (stage, object) = (entry.stage, entry.object.clone());
                self.state.unmerged.push(Unmerged { path, stage, mode, object });
            }
            if odd {
                continue;
            }
            // Ours before theirs before the common ancestor.
            let rank = [0, 3, 1, 2][usize::from(entry.stage.min(3))];
            let better = chosen.get(entry.path.as_slice()).is_none_or(|(known, _)| rank < *known);
            if better {
                chosen.insert(&entry.path, (rank, entry));
            }
        }
        let line = |(path, (_, entry)): (&&[u8], &(u8, &Entry))| {
            info_line(&format!("{:o}", entry.mode), &entry.object, path)
        };
        let info: Vec<u8> = chosen.iter().flat_map(line).collect();
        match self.tree_of("index", &info) {
            Ok(tree) => Ok(Some(tree)),
            Err(why) => {
                eprintln!("the index cannot be kept ({why}); it is restored from HEAD");
                // An index that git refuses as a tree must not cost the files: what was noted of it would contradict the
                // index of HEAD that is restored instead.
                (self.state.unmerged, self.state.intent) = (Vec::new(), Vec::new());
                Ok(None)
            }
        }
    }
}
