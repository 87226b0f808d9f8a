//! Trees of agents, of gates and of people who restore one: made before anyone else has had them, removed at the end. git
//! writes the files of a tree here once; afterwards no git of the server runs in it.

pub(super) mod advance;
pub(super) mod harvest_job;
pub(super) mod judging_checkout;
pub(super) mod left_beside;
pub(super) mod make_tree;
pub(super) mod marker;
pub(super) mod orphan_trees;
pub(super) mod removal;
pub(super) mod restore;
pub(super) mod restore_files;
pub(super) mod set_aside;
pub(super) mod submodules;
