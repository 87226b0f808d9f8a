//! Claude Code: recorded streams, and the real program where it is installed.

mod endings;
mod garbage;
mod launch;
mod real;
mod requests;
mod streams;
mod world;
