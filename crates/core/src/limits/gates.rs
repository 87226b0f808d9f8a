//! Gates and their reports.

use std::time::Duration;

/// Longest time of one gate that names none.
pub const GATE: Duration = Duration::from_secs(900);
/// Largest kept log of one gate, in bytes: head and tail.
pub const GATE_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// Largest `.mosaic/config.toml` that is read, in bytes: one that people write is a few KiB.
pub const GATE_CONFIG_BYTES: usize = 1024 * 1024;
/// Deepest nesting of tables in `.mosaic/config.toml`, dotted keys included; the format itself needs four.
pub const GATE_CONFIG_DEPTH: usize = 32;
/// Longest command line of one gate, in bytes: far below what one argument of a program may have (128 KiB).
pub const GATE_RUN_BYTES: usize = 16 * 1024;
/// Longest time a gate may ask for.
pub const GATE_LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Wait after a gate's own time limit for its supervisor to report the end.
pub const GATE_MARGIN: Duration = Duration::from_secs(30);
/// Output of a gate that is looked at for findings, in bytes: this much of its start and this much of its end.
pub const GATE_WINDOW_BYTES: usize = 512 * 1024;
/// Most reports of one gate: a command with a test report per package of a workspace, and coverage.
pub const GATE_REPORTS: usize = 32;
/// Largest report that is read, in bytes.
pub const GATE_REPORT_BYTES: u64 = 64 * 1024 * 1024;
/// Largest output of a command that a report is read from, in bytes; it is held in memory while the command runs.
pub const PRINTED_REPORT_BYTES: usize = 16 * 1024 * 1024;
/// Largest diff from which the lines that a commit changes are read, in bytes.
pub const CHANGED_DIFF_BYTES: usize = 32 * 1024 * 1024;
/// Most test cases of one report: a hundred times as many as large code bases have.
pub const REPORT_TESTS: usize = 1_000_000;
/// Most line records of a coverage report: a code base of four million executable lines.
pub const COVERAGE_LINES: usize = 4_000_000;
/// Most files of a coverage report, each of which costs an entry in memory: a hundred times as many as large code bases have.
pub const COVERAGE_FILES: usize = 200_000;
/// Deepest nesting of elements in an XML report.
pub const REPORT_DEPTH: usize = 64;
/// Most attributes of one element in an XML report: real ones have about ten.
pub const REPORT_ATTRIBUTES: usize = 64;
/// Longest list of trusted digests that is read, in bytes.
pub const TRUST_FILE_BYTES: u64 = 1024 * 1024;
/// Deepest nesting of directories in a checkout: half of what the longest path of Linux (4,096 bytes) could have.
pub const TREE_DEPTH: usize = 1024;
/// Time that processes of a gate get to end by themselves once its command has ended: the rest of a pipeline needs an instant.
pub const GATE_LEFTOVERS: Duration = Duration::from_secs(2);
/// Most output of one gate, in bytes, after which it judges nothing: a hundred times what the most talkative test suites print.
pub const GATE_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
/// Most entries of a directory on disk that are looked at for manifests of projects: large code bases have 100,000 files.
pub const DIRECTORY_FILES: usize = 200_000;
/// Most quarantined tests of a repository: each has an owner who is about to mend it.
pub const QUARANTINED: usize = 256;
/// Longest time that a test may stay in quarantine before somebody decides anew.
pub const QUARANTINE_LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// Most flaky tests that a fact about a judgement names; a suite with more has another fault.
pub const FLAKY_TESTS: usize = 20;
/// Longest name of a test in facts and histories, in bytes.
pub const TEST_NAME_BYTES: usize = 200;
/// Newest facts of the log that a history of gates is made of: at some fifteen facts an agent, ten thousand agents and more.
pub const HISTORY_FACTS: u64 = 200_000;
/// Newest results of gates that a history of gates is made of, some hundred bytes each in memory.
pub const HISTORY_RESULTS: usize = 50_000;
/// Newest results of one gate that its history lists.
pub const HISTORY_RUNS: usize = 50;
/// Most bytes of a gate's log that the answer to one range request has; a reader asks again for what follows.
pub const LOG_RANGE_BYTES: usize = 1024 * 1024;
/// Pause between two looks at a gate's log that is being written, for a reader that follows it.
pub const LOG_LOOK: Duration = Duration::from_millis(200);
/// Most bytes of what setups and gates made that is kept for the next run, unless the operator says otherwise: a dozen trees of
/// dependencies of large applications.
pub const GATE_CACHE_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Longest time for which it is kept unused: a lock file that nobody had for two weeks was replaced.
pub const GATE_CACHE_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Most files of one entry: several times what the largest trees of dependencies have.
pub const GATE_CACHE_FILES: u64 = 2_000_000;
/// Most entries that are looked at in one eviction; with the bound of bytes there are hundreds.
pub const GATE_CACHE_ENTRIES: usize = 10_000;
/// Largest note beside an entry, in bytes: the paths of some ten thousand files.
pub const GATE_CACHE_NOTE_BYTES: u64 = 16 * 1024 * 1024;
/// Largest text file in an entry in which paths are rewritten, in bytes: scripts and settings are far smaller.
pub const GATE_CACHE_TEXT_BYTES: u64 = 1024 * 1024;
/// Time between two looks whether another task has finished the same setup.
pub const GATE_CACHE_LOOK: Duration = Duration::from_millis(100);
/// Largest report that is remembered, in bytes: findings are bounded, and one of this size is no common one.
pub const GATE_VERDICT_BYTES: u64 = 4 * 1024 * 1024;
/// Most verdicts that are remembered: those of the last thousands of commits.
pub const GATE_VERDICTS: usize = 4096;
/// Longest time for which a red verdict is believed: the network may have been its cause.
pub const RED_VERDICT_AGE: Duration = Duration::from_secs(3600);
/// Largest output of one gate that a coordinator sends back, in bytes: what a person reads of a log.
pub const CHECK_GATE_OUTPUT_BYTES: usize = 1024 * 1024;
/// Largest output of all gates that a coordinator sends back, in bytes.
pub const CHECK_OUTPUT_BYTES: usize = 4 * 1024 * 1024;
/// Largest answer of a coordinator that is read, in bytes: the outputs, escaped, and the findings of [`super::GATES`] gates.
pub const CHECK_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Largest body of a check, in bytes: the changed paths of a change of a hundred thousand files.
pub const CHECK_REQUEST_BYTES: usize = 8 * 1024 * 1024;
/// Most changed paths that a check names; its coordinator has the commit itself.
pub const CHECK_FILES: usize = 20_000;
/// Time for which a coordinator repeats the result of a check to who asks again, as after a broken connection.
pub const CHECK_REMEMBERED: Duration = Duration::from_secs(600);
/// Time for which a check runs on while nobody waits for it: a caller whose connection broke asks again within it.
pub const CHECK_ORPHANED: Duration = Duration::from_secs(10);
/// Most bundles that wait for their checks.
pub const CHECK_BUNDLES: usize = 64;
/// Time between two looks at what nobody uses any more, and the time after which a bundle is such.
pub const CHECK_HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// Longest time in which nothing of a bundle that is being sent may come.
pub const BUNDLE_STALL: Duration = Duration::from_secs(60);
/// Longest time until a connection to a coordinator stands, TLS included.
pub const CHECK_CONNECT: Duration = Duration::from_secs(10);
/// Longest time for a look whether a coordinator answers; below the 5 s that readiness gives each of its checks.
pub const CHECK_PROBE: Duration = Duration::from_secs(4);
/// Most tries of one check while a coordinator cannot answer.
pub const CHECK_TRIES: u32 = 4;
/// First pause before a check is tried again; doubled each time.
pub const CHECK_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause before a check is tried again, whatever `Retry-After` says.
pub const CHECK_PAUSE_CAP: Duration = Duration::from_secs(60);
/// Failures in a row after which a coordinator is not asked for [`CHECK_BREAKER_PAUSE`].
pub const CHECK_BREAKER_FAILURES: u32 = 5;
/// Time for which a coordinator that failed again and again is not asked; then one check is let through.
pub const CHECK_BREAKER_PAUSE: Duration = Duration::from_secs(10);
