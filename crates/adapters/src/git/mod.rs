//! The git program behind the repositories port: bare repositories, trees, bundles, judging checkouts, pushes. What always
//! holds: no git of ours runs on a tree that an agent has had; only [`harvest_main`] does, inside the agent's own
//! confinement, and what it hands over is taken as hostile (see `cache::receive`).
//!
//! The walls: `confined` is all that runs inside the agent's confinement on its tree, `cache` is the server's side, which works
//! on bare repositories and never on a tree, `tree` makes trees that no agent has had yet and removes them. What crosses
//! between the first two is described in `bundle_spec`, and neither imports the other.
//!
//! In the order of a task's life: `cache::fetch` asks the remote, `tree::make_tree` makes the agent's clone,
//! `confined::harvest` commits and bundles, or `confined::salvage` bundles the tree as it is for `tree::restore`,
//! `cache::receive` takes the bundle in, `cache::additions` and `cache::read` show what is in it, `tree::judging_checkout`
//! checks it out, `cache::trial_merge` tries the merge, `cache::push` publishes it, `tree::removal` takes the tree away.
//! `command` makes every git process of the server, `credentials` and `errors` serve it. This file only declares them.

mod options;
mod port;
mod repositories;

mod cache;
mod confined;
mod tree;

mod bundle_spec;

mod bare_repository;
mod command;
mod config_text;
mod credentials;
mod environment;
mod errors;
mod gitmodules;
mod handles;
mod hardening;
mod head_file;
mod index_file;
mod layout;
mod local_path;
mod lock_holders;
mod locks;
mod loose_refs;
mod messages;
mod output;
mod private_files;
mod push_watchdog;
mod ref_files;
mod ref_names;
mod resolve;

pub use self::cache::operator_attributes::unreadable_attributes;
pub(crate) use self::config_text::config_value;
pub use self::confined::harvest::harvest_main;
pub use self::credentials::Credentials;
pub use self::environment::{chooses_repository, forget_repository};
pub use self::options::GitOptions;
pub use self::push_watchdog::{FUSE, fuse_main};
pub use self::repositories::GitRepositories;
pub use self::tree::left_beside::holds_work;
