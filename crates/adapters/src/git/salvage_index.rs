//! The index of a tree being salvaged: its entries as a tree, and beside it what no tree can say (sides of conflicts,
//! entries that were only announced, names that git refuses in a tree).

use std::collections::{BTreeMap, BTreeSet};

use super::salvage::{Salvage, ask, info_line};
use super::salvage_state::{RelPath, Unmerged, is_odd};

impl Salvage<'_> {
    /// Reads the index and returns its tree; `None` when it cannot be read.
    pub(super) fn index(&mut self) -> Result<Option<String>, String> {
        let Ok(listed) = ask(&self.git, None, ["ls-files", "-s", "-z"], &[]) else {
            eprintln!("the index cannot be read; it is restored from HEAD");
            return Ok(None);
        };
        let new = ["diff-files", "--name-only", "-z", "--diff-filter=A", "--ignore-submodules=all"];
        let intent = ask(&self.git, None, new, &[]).unwrap_or_default();
        let intent: BTreeSet<&[u8]> = intent.split(|b| *b == 0).filter(|p| !p.is_empty()).collect();
        let mut chosen: BTreeMap<Vec<u8>, (u8, String, String)> = BTreeMap::new();
        for line in listed.split(|b| *b == 0).filter(|line| !line.is_empty()) {
            let Some(tab) = line.iter().position(|b| *b == b'\t') else { continue };
            let (head, path) = (String::from_utf8_lossy(&line[..tab]).into_owned(), &line[tab + 1..]);
            let words: Vec<&str> = head.split(' ').collect();
            let [mode, object, stage] = words.as_slice() else { continue };
            let stage: u8 = stage.parse().unwrap_or(0);
            if stage == 0 && intent.contains(path) {
                self.state.intent.push(RelPath(path.to_vec()));
                continue;
            }
            let odd = is_odd(path, *mode == "120000") && path != b".gitmodules";
            if stage > 0 || odd {
                let (path, mode, object) = (RelPath(path.to_vec()), (*mode).to_owned(), (*object).to_owned());
                self.state.unmerged.push(Unmerged { path, stage, mode, object });
            }
            if odd {
                continue;
            }
            // Ours before theirs before the common ancestor.
            let rank = [0, 3, 1, 2][usize::from(stage.min(3))];
            let better = chosen.get(path).is_none_or(|(known, ..)| rank < *known);
            if better {
                chosen.insert(path.to_vec(), (rank, (*mode).to_owned(), (*object).to_owned()));
            }
        }
        let info: Vec<u8> =
            chosen.iter().flat_map(|(path, (_, mode, object))| info_line(mode, object, path)).collect();
        match self.tree_of("index", &info) {
            Ok(tree) => Ok(Some(tree)),
            Err(why) => {
                eprintln!("the index cannot be kept ({why}); it is restored from HEAD");
                (self.state.unmerged, self.state.intent) = (Vec::new(), Vec::new());
                Ok(None)
            }
        }
    }
}
