//! Git with real repositories: an agent's tree, what is kept of it and how it comes back, pushes whose lease is over, and the
//! locks that killed gits leave in trees and in the store.

mod beside;
mod filters;
mod fuse;
mod hostile;
mod http;
mod ignored;
mod in_tree;
mod judging;
mod life;
mod locks;
mod many_refs;
mod old_base;
mod replaced;
mod salvage;
mod submodules;
mod world;
