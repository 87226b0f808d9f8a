//! Isolation of judged code: a command runs as another user, in namespaces of its own, on a root directory that shows the
//! system read-only and nothing of the server's data.
//!
//! Always true: the process that collects the command's end is the first one of the command's pid namespace, which nothing in
//! there can signal, trace or see; and the end is reported only after the kernel has ended every process of that namespace.
//!
//! Three processes of this very program take part: `enter` stays outside and writes the outcome, `first` builds the view and
//! buries the dead, `program` gives every right away and becomes the command.

mod enter;
mod first;
mod isolator;
mod mounts;
mod program;
mod spec;
mod view;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

pub(crate) use isolator::{Account, HOME, Isolated, Place, TMP, TREE, give};
pub use isolator::{Isolator, Means};
pub(crate) use spec::Outcome;

/// The word after `shim` that enters an isolation.
pub(crate) const ENTER: &str = "--enter";
/// The word that makes this program the first process of an isolation.
const FIRST: &str = "--first";
/// The word that makes this program the isolated command.
const PROGRAM: &str = "--program";

/// The byte by which the first process tells that the command was stopped, or goes on. No report begins with it.
const SUSPENDED: u8 = b'S';

/// Exit status of a helper that could not do its part; the outcome says why.
const BROKEN: u8 = 125;

/// Tells whether a word names one of the three parts.
pub(crate) fn is_part(word: &OsStr) -> bool {
    [ENTER, FIRST, PROGRAM].iter().any(|part| word == *part)
}

/// Runs the part that a word names. `args` is what follows the word.
pub(crate) fn main(word: &OsStr, mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let argument = args.next().unwrap_or_default();
    match word.to_str() {
        Some(FIRST) => first::main(&argument),
        Some(PROGRAM) => program::main(&argument),
        _ => enter::main(&argument),
    }
}
