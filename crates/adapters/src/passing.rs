//! Errors of the operating system that say nothing about what was asked for: descriptors, memory or threads have run out, or the
//! disk did not answer. The same call is tried again; nothing is concluded from them.

use std::io;

use rustix::io::Errno;

/// Tells whether an error passes, so that what was asked for is not known yet.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    const PASSING: [Errno; 8] = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::AGAIN,
        Errno::INTR,
        Errno::IO,
        Errno::TIMEDOUT,
    ];
    let raw = error.raw_os_error().map(Errno::from_raw_os_error);
    raw.map_or(error.kind() == io::ErrorKind::TimedOut, |raw| PASSING.contains(&raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_passes_and_what_is_not_there_does_not() {
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
            assert!(is_passing(&passing.into()), "{passing:?}");
        }
        for known in [Errno::NOENT, Errno::ACCESS, Errno::LOOP, Errno::NOSPC] {
            assert!(!is_passing(&known.into()), "{known:?}");
        }
        assert!(is_passing(&io::Error::new(io::ErrorKind::TimedOut, "late")));
        assert!(!is_passing(&io::Error::other("odd")));
    }
}
