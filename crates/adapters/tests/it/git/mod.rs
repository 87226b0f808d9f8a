//! Git with real repositories: an agent's tree, what is kept of it and how it comes back, pushes whose lease is over, and the
//! locks that killed gits leave in trees and in bare repositories.

mod cache;
mod confined;
mod credentials;
mod hostile;
mod life;
mod port;
mod push_watchdog;
mod tree;
mod world;
