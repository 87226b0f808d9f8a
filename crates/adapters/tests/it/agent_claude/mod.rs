//! Claude Code: recorded streams, and the real program where it is installed.

mod real;
mod streams;
