//! Requests: the fields of a spawn and of other orders.

use std::time::Duration;

/// Longest task id, in characters: the contract's field, wide enough for a ticket title.
pub const TASK_ID_CHARS: usize = 128;
/// Longest branch name, in bytes: git's own limit is the file system's 255 for a loose ref's file name.
pub const BRANCH_BYTES: usize = 200;
/// Longest repository address, in bytes: what browsers and proxies agree on.
pub const URL_BYTES: usize = 2048;
/// Most work items of one spawn.
pub const WORK_ITEMS: usize = 100;
/// Longest work item, in bytes: an item may be the text itself.
pub const WORK_ITEM_BYTES: usize = 16 * 1024;
/// Most skills of one spawn.
pub const SKILLS: usize = 50;
/// Longest free instructions of one spawn, in bytes.
pub const INSTRUCTIONS_BYTES: usize = 256 * 1024;
/// Most labels of one agent.
pub const LABELS: usize = 32;
/// Longest label value, in bytes.
pub const LABEL_BYTES: usize = 256;
/// Most gates of a `custom` list.
pub const GATES: usize = 32;
/// Most automatic retries a caller may ask for.
pub const MAX_RETRIES: u32 = 20;
/// Shortest and longest `timeoutSeconds`.
pub const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;
/// Waiting entries after which a spawn is answered `queue_full`.
pub const QUEUE_ENTRIES: u64 = 1_000_000;
/// Largest request body, in bytes.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Time for which an idempotency key is remembered.
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);
/// Most fix rounds a caller may ask for.
pub const MAX_FIX_ROUNDS: u32 = 10;
/// Longest title of a tool call, in characters: one line on a wide terminal.
pub const TITLE_CHARS: usize = 200;
/// Lines of a plain program's output that are kept as its result: the last screenful.
pub const RESULT_LINES: usize = 20;
/// Longest grace of a stop, whatever was asked.
pub const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Longest reason for a kill or a pause, in bytes.
pub const REASON_BYTES: usize = 512;
/// Longest name of a job: what a [`Word`](crate::domain::ids::Word) holds.
pub const JOB_NAME_BYTES: usize = 64;
/// Longest age that may be asked for.
pub const LONGEST_AGE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Length of a UUID in its usual spelling.
pub const UUID_CHARS: usize = 36;
/// Longest pause before an automatic retry that a caller may ask for, in milliseconds: a day.
pub const BACKOFF_ASKED_MS: u64 = 24 * 3600 * 1000;
/// Latest time from now until which a producer may delay its work.
pub const LONGEST_DELAY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
