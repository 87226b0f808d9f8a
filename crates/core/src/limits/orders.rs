//! Orders to stop, and the files that they stand in.

use std::time::Duration;

/// Longest wait for a kill to be confirmed before the answer says `202`.
pub const KILL_ANSWER: Duration = Duration::from_secs(10);
/// Time after which a caller looks again at a record that is just changing hands.
pub const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Longest time between two searches for leased agents without a driver.
pub const UNWATCHED_PERIOD: Duration = Duration::from_secs(5);
/// Longest time for returning what runs to the queue when the server stops, beyond the grace: a harvest must fit.
pub const GIVING_BACK: Duration = Duration::from_secs(60);
/// The same after a second order to stop: what is not back by then is left to the next server.
pub const GIVING_BACK_NOW: Duration = Duration::from_secs(10);
/// Longest time for stopping what an earlier server left, before new work starts all the same.
pub const STRAYS: Duration = Duration::from_secs(30);
/// Longest wait for a standing order to be written before it counts as held in memory only.
pub const ORDER_RECORD: Duration = Duration::from_secs(2);
/// Longest wait for what an agent's job directory says before a kill goes on without it, and for other looks at a disk that
/// somebody waits for: a disk that works answers within milliseconds.
pub const DISK_ANSWER: Duration = Duration::from_secs(2);
/// Longest wait for one agent's transcript: a busy disk takes seconds for it. What is written later than this is written all
/// the same.
pub const TRANSCRIPT_ANSWER: Duration = Duration::from_secs(10);
/// Longest time for measuring all transcripts, tens of thousands of folders.
pub const SHELVES_ANSWER: Duration = Duration::from_secs(120);
/// Longest wait at the end of a server for what its writers still have to write: a disk may never answer.
pub const LAST_WRITES: Duration = Duration::from_secs(5);
/// Threads that disks may keep at once. Each call to the state directory has one; where all hang, callers are refused.
pub const DISK_THREADS: usize = 512;
/// Longest wait of kill-all for an agent's record once nothing of the agent is alive: its work is still being kept then.
pub const KILL_SETTLE: Duration = Duration::from_millis(300);
/// Most entries of the directories of agents that are looked at, at the start and by clean-ups: more than a disk holds of agents.
pub const AGENT_ENTRIES: usize = 1_000_000;
/// Most receipts in one answer.
pub const RECEIPTS: usize = 100;
/// Largest file of standing orders that is read, in bytes: one order is a few hundred.
pub const ORDER_FILE_BYTES: u64 = 64 * 1024;
/// Most orders about single agents that are read at once; the rest is read once these are carried out.
pub const ORDER_FILES: usize = 1000;
/// Most entries of the directory of standing orders that are looked at: ten times what is read, and an end to what others
/// can make every look cost.
pub const ORDER_ENTRIES: usize = 10_000;
/// Largest file with a secret that an operator names, or with one of ours, in bytes: logins and lists of credentials are
/// some KiB.
pub const SETTING_FILE_BYTES: u64 = 1024 * 1024;
/// Largest note beside a tree about what it was made from, in bytes: names and two commits.
pub const MARKER_BYTES: u64 = 256 * 1024;
/// Time between two reads of the standing orders from a store that other nodes write to, when nothing was announced.
pub const ORDER_LOOK: Duration = Duration::from_secs(1);
