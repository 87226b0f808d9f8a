//! The life of a task: ten steps, one file each, and the one way out. A step performs one effect and returns one
//! event; the sequence is decided in [`crate::domain::lifecycle`].

mod admit;
