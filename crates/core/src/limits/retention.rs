//! The caretaker: retention, archives, clean-up.

use std::time::Duration;

/// Most restored copies of one agent's work beside each other.
pub const RESTORED_COPIES: u32 = 1000;
/// First pause before something in the trash that could not be deleted is tried again; doubled each time.
pub const TRASH_RETRY: Duration = Duration::from_secs(1);
/// Longest pause before something in the trash is tried again.
pub const TRASH_RETRY_CAP: Duration = Duration::from_secs(300);
/// Notes of removed agents that are kept, so that whoever asks for one is told that it was removed: a year of thousands
/// a week, at about a hundred bytes each.
pub const TOMBSTONES: u64 = 200_000;
/// Longest reason of a removal that is kept, in bytes.
pub const REMOVAL_WHY_BYTES: usize = 512;
/// Facts removed from the log in one write, so that the writer is never kept for long.
pub const PRUNED_EVENTS: usize = 2000;
/// Ended agents looked at by one call of prune, or by one round of retention.
pub const PRUNE_PAGE: usize = 200;
/// Time between two rounds of the caretaker, which look for what was left behind and for what is too old.
pub const CARE_PERIOD: Duration = Duration::from_secs(60);
/// Time between two looks at transcripts, logs, events and bare repositories: they grow slowly.
pub const RETENTION_PERIOD: Duration = Duration::from_secs(600);
/// Longest time for one pass of a reconciler; what is not done by then is done by the next.
pub const CARE_PASS: Duration = Duration::from_secs(120);
/// Most directories that one pass of a reconciler works on.
pub const CARE_BATCH: usize = 100;
/// First and longest pause before something that could not be cleaned up is tried again.
pub const CARE_RETRY: Duration = Duration::from_secs(30);
/// See [`CARE_RETRY`].
pub const CARE_RETRY_CAP: Duration = Duration::from_secs(3600);
/// Agents with refs in files of their own from which a repository's refs are packed: a directory of a thousand is still
/// listed in a millisecond.
pub const LOOSE_REFS: usize = 1000;
/// Age below which a ref stays in a file of its own: that of an agent at work is written again and again.
pub const LOOSE_REF_AGE: Duration = Duration::from_secs(3600);
/// Loose objects from which a bare repository is packed again: what git itself packs at.
pub const LOOSE_OBJECTS: usize = 6700;
/// Packs from which a bare repository is packed again: what git itself packs at.
pub const PACKS: usize = 50;
/// Age below which an object that no ref reaches stays when a store is packed again: whatever reads or writes in the
/// store meanwhile, its objects are younger.
pub const UNREACHABLE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longest time for packing one bare repository again.
pub const REPACK: Duration = Duration::from_secs(600);
/// Age of an empty control group from which nobody is about to enter it.
pub const EMPTY_GROUP: Duration = Duration::from_secs(3600);
/// The part of the disk floor that is set aside: 32 MiB of the default, room for thousands of decisions.
pub const RESERVE_PART: u64 = 8;
/// Default time for which the record of an ended agent stays whole in the shared store: clients that watch the agent read
/// its end there.
pub const ARCHIVE_AFTER: Duration = Duration::from_secs(30);
/// Ended agents looked at by one look for records to archive: heads of records, so some milliseconds of the store.
pub const ARCHIVE_LOOKS: u64 = 2000;
/// Records moved to the archive in one piece: one transaction on disk, one script in the store.
pub const ARCHIVE_BATCH: usize = 100;
/// Pages of old records that one round of retention removes: with [`PRUNE_PAGE`] more than sixty a second.
pub const RETENTION_PAGES: usize = 20;
/// Time between two looks of a node for records to archive.
pub const ARCHIVE_PERIOD: Duration = Duration::from_secs(5);
/// Pieces of one such look: more than a thousand records a second, and an end for a backlog.
pub const ARCHIVE_PIECES: usize = 60;
/// Bytes of a task's context that stay in the store once its agent's record was archived; the published keys of an ended
/// task together take less than a kilobyte.
pub const SHORT_CONTEXT_BYTES: usize = 120;
/// Bytes of an ended agent's error that stay in the store.
pub const SHORT_ERROR_BYTES: usize = 160;
/// Bytes of an ended agent's labels that stay in the store; more than that lies in the archive only.
pub const SHORT_LABELS_BYTES: usize = 128;
/// Longest wait for the archive of another node: a list is shown with short forms then.
pub const ARCHIVE_ANSWER: Duration = Duration::from_secs(3);
/// Most bytes of records that another node's archive answers with: a page of large ones.
pub const ARCHIVE_BYTES: usize = 64 * 1024 * 1024;
