//! Messages of git and ssh that decide something: the one place where text of another program is matched. git has no other way
//! to tell these cases apart, its exit status is 1 or 128 for all of them. Every git of ours runs with `LC_ALL=C`, so that
//! nothing here is translated.

use mosaic_core::domain::outcome::FailureKind;

/// The kinds of failures by message, most telling first.
const WORDS: &[(&[&str], FailureKind)] = &[
    (&["No space left on device", "Disk quota exceeded"], FailureKind::Disk),
    (
        &["returned error: 301", "returned error: 302", "returned error: 307", "returned error: 308"],
        FailureKind::BadInput,
    ),
    (&["dubious ownership", "fatal: transport '"], FailureKind::BadInput),
    (
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "unable to get password",
            "Permission denied",
            "Host key verification failed",
            "returned error: 401",
            "returned error: 403",
            "HTTP Basic: Access denied",
            "Invalid username or",
        ],
        FailureKind::RemoteAuth,
    ),
    (&["couldn't find remote ref"], FailureKind::MissingBranch),
    (
        &[
            "Repository not found",
            "repository not found",
            "not appear to be a git repository",
            "not a git repository",
            "returned error: 404",
            "does not exist",
            "project you were looking for could not be found",
        ],
        FailureKind::MissingRepository,
    ),
    (
        &[
            "returned error: 429",
            "returned error: 503",
            "cannot lock ref",
            "unable to lock",
            "Unable to create",
        ],
        FailureKind::RemoteBusy,
    ),
    (
        &[
            "Could not resolve host",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "Failed to connect",
            "early EOF",
            "hung up unexpectedly",
            "RPC failed",
            "returned error: 5",
            "unable to access",
            "Network is unreachable",
            "No route to host",
            "Connection closed",
            "Could not read from remote repository",
            "Operation timed out",
        ],
        FailureKind::Network,
    ),
];

/// Returns the kind of a failure that git or ssh explains so.
pub(super) fn kind(stderr: &str) -> FailureKind {
    let hit = WORDS.iter().find(|(words, _)| words.iter().any(|word| stderr.contains(word)));
    hit.map_or(FailureKind::Internal, |(_, kind)| *kind)
}

/// Tells whether the disk was full. git reports it in the middle of whatever it was doing.
pub(super) fn is_disk_full(stderr: &str) -> bool {
    stderr.contains("No space left on device") || stderr.contains("Disk quota exceeded")
}

/// Tells whether the remote sent git elsewhere, which is not followed: the other place was never allowed.
pub(super) fn is_redirect(stderr: &str) -> bool {
    stderr.contains("returned error: 30")
}

/// Tells whether a lock file was in the way; a look at who holds it decides what comes next.
pub(super) fn is_lock_in_the_way(stderr: &str) -> bool {
    stderr.contains(".lock") || stderr.contains("cannot lock ref")
}

/// Tells whether a tag could not be written, such as `v1/a` where `v1` was.
pub(super) fn is_about_a_tag(stderr: &str) -> bool {
    stderr.contains("refs/tags/")
}

/// Tells whether a branch was left out because the remote is a shallow clone. git calls that a success.
pub(super) fn left_out_a_shallow_branch(stderr: &str) -> bool {
    stderr.contains("shallow roots are not allowed")
}

/// Tells whether this git has no such program, as one without the helper for an address.
pub(super) fn has_no_such_command(stderr: &str) -> bool {
    stderr.contains("is not a git command")
}

/// Tells whether an object was refused by its content, and not for example by a lack of space.
pub(super) fn is_refused_object(stderr: &str) -> bool {
    stderr.contains("fsck error")
}

/// Tells whether there was no commit to put into a bundle. git calls that a failure.
pub(super) fn is_empty_bundle(stderr: &str) -> bool {
    stderr.contains("empty bundle")
}

/// Tells whether the remote's branch was not where the lease of a push expected it.
pub(super) fn is_stale_lease(summary: &str) -> bool {
    summary.contains("stale info")
}

/// Tells whether another push came between the lease of a push and the remote's own lock.
pub(super) fn lost_a_race(why: &str) -> bool {
    ["failed to update ref", "cannot lock ref", "reference already exists"]
        .iter()
        .any(|words| why.contains(words))
}
