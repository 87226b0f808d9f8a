//! Code that runs on an agent's tree inside its confinement, without anything of the agent's running with it. git is never
//! shown the tree or the agent's `.git`: `mirror` copies the latter as data into a git directory of our own, `walk`
//! finds what lies in the tree, `rules` asks git what the tree's ignore files leave out, `ignored` finds
//! what of that the base's rules would not, `look` puts it together, `commit` (with `import`) makes the commit that
//! holds what is not committed yet. `left` names what no commit can hold. `harvest` is the program, `salvage` what takes the
//! place of its commit for an agent that is ended before its turn is over.

mod commit;
mod error;
mod found;
pub(super) mod harvest;
mod ignored;
mod import;
mod left;
mod links;
mod listing;
mod look;
mod mirror;
mod nested;
mod program;
mod quoting;
mod rules;
mod salvage;
mod salvage_files;
mod salvage_index;
mod salvage_tips;
mod under_way;
mod walk;
