//! Agents at work: silence, credentials, limits of model services, transcripts.

use std::time::Duration;

/// The part of a cap on dollars that must be left for another run to start: resuming a session costs its whole context
/// before the first word.
pub const BUDGET_PART: f64 = 10.0;
/// US dollars for a million tokens of input that no result told the cost of, because the run died before: what the dearer
/// models ask for.
pub const UNTOLD_INPUT_USD: f64 = 5.0;
/// The same for output.
pub const UNTOLD_OUTPUT_USD: f64 = 25.0;
/// The same for input that was read from a cache.
pub const UNTOLD_CACHED_USD: f64 = 0.5;
/// Bytes of text that count as one token where nothing tells the number.
pub const TOKEN_BYTES: usize = 4;
/// Largest file of a login that is read, in bytes: a real one has about a thousand.
pub const LOGIN_BYTES: u64 = 64 * 1024;
/// Longest token of a login, in bytes: real ones have about a hundred.
pub const TOKEN_TEXT_BYTES: usize = 8 * 1024;
/// Longest time until a login expires: tokens made by hand last a year.
pub const LOGIN_LASTS: Duration = Duration::from_secs(400 * 24 * 3600);
/// Tries to lock a login, one every 20 ms: the holder of the lock reads and writes one small file.
pub const LOGIN_LOCK_TRIES: u32 = 100;
/// Time between two looks at a running agent's login: every other user of that login must get the renewed one before their
/// own is refused, and nothing may be lost with the server.
pub const TEND_PERIOD: Duration = Duration::from_secs(2);
/// Longest time for one such look.
pub const TEND: Duration = Duration::from_secs(10);
/// Tokens that are masked because an agent of this server had them.
pub const KNOWN_TOKENS: usize = 256;
/// Shortest wait for a limit of the model service that says when it ends: its clock and ours may differ.
pub const QUOTA_LEAST: Duration = Duration::from_secs(60);
/// Longest such wait: the longest windows are a week.
pub const QUOTA_LONGEST: Duration = Duration::from_secs(8 * 24 * 3600);
/// Waits of an agent for such a limit before it counts as a failure: a service that says each time that a minute is enough
/// must not keep an agent indefinitely.
pub const QUOTA_WAITS: u32 = 100;
/// Pause that the program may take by itself before it asks the model service again; a longer one is waited for without it.
pub const QUOTA_PATIENCE: Duration = Duration::from_secs(120);
/// Credentials whose limits are remembered.
pub const QUOTAS: usize = 100;
/// Waiting agents that are looked at after a start for limits that have not ended.
pub const QUOTA_RECALL: usize = 1000;
/// Largest table of a time zone that is read, in bytes: the largest has some thousand.
pub const ZONE_BYTES: u64 = 64 * 1024;
/// Largest part of one repository file (work item, agent instructions) that goes into a prompt, in bytes.
pub const PROMPT_FILE_BYTES: usize = 64 * 1024;
/// Longest line of agent output that is parsed, in bytes; a longer one is kept raw and skipped.
pub const LINE_BYTES: usize = 16 * 1024 * 1024;
/// Raw output kept per agent run, in bytes; then a marker and only the newest part.
pub const TRANSCRIPT_BYTES: u64 = 256 * 1024 * 1024;
/// Longest text of one transcript entry, in bytes; the raw output has the rest.
pub const ENTRY_BYTES: usize = 16 * 1024;
/// Longest error text kept in a record, in bytes.
pub const ERROR_BYTES: usize = 4 * 1024;
/// Silence of an agent's output after which it is interrupted and counts as stalled.
pub const STALL: Duration = Duration::from_secs(600);
/// Time an agent's process may live on after its result.
pub const AFTER_RESULT: Duration = Duration::from_secs(30);
/// Longest time until a turn begins that the end of a background task announced: the program needs some hundredths of a
/// second.
pub const FOLLOW_UP: Duration = Duration::from_secs(10);
/// Longest time a runtime's program may take to say its version.
pub const PROBE: Duration = Duration::from_secs(5);
/// Transcripts whose numbering is kept in memory; another one is read again from its file.
pub const OPEN_TRANSCRIPTS: usize = 256;
/// Largest prompt, in bytes: with JSON escapes it must fit into what may wait for an agent's standard input.
pub const PROMPT_BYTES: usize = 400 * 1024;
/// Most bytes that one run may add to the transcript: a hundred thousand lines. The raw output has what follows.
pub const ENTRIES_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that an entry of a transcript takes in addition to its text.
pub const ENTRY_OVERHEAD_BYTES: u64 = 128;
/// Answers about commits that are remembered, so that tasks on one base do not ask git again.
pub const REMEMBERED: usize = 64;
/// Largest answer about a commit that is remembered, in bytes.
pub const REMEMBERED_BYTES: usize = 256 * 1024;
/// Tool calls that may be open at once in one conversation before more are not followed.
pub const OPEN_TOOLS: usize = 256;
/// CPU that counts as work, in thousandths of one core: an idle event loop stays below.
pub const STALL_CPU_PERMILLE: u32 = 20;
/// Least and longest time between two looks at a silent agent.
pub const STALL_LOOK: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(5);
/// Longest wait until the supervision of a silent agent has taken the answer of a person: it looks every 5 s at least, and may
/// look after a credential meanwhile.
pub const ATTENTION_ANSWER: Duration = Duration::from_secs(20);
