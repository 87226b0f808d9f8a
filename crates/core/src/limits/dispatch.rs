//! Dispatch: the queue, breakers, capacity of the machine.

use std::time::Duration;

/// The dispatcher's own period: it looks even when no signal came.
pub const DISPATCH_PERIOD: Duration = Duration::from_secs(1);
/// First delay of an automatic retry; doubled for each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// Longest delay of an automatic retry, before jitter.
pub const BACKOFF_CAP: Duration = Duration::from_secs(300);
/// Waiting time that is worth one step of priority: an entry is overtaken only by entries that arrived at most
/// (difference in priority) × this long after it, so nothing waits longer than 90 minutes behind newer work.
pub const AGEING_STEP: Duration = Duration::from_secs(600);
/// Free bytes below which nothing new is started: a tree, a bundle and a checkout must fit.
pub const DISK_FLOOR_BYTES: u64 = 256 * 1024 * 1024;
/// Failures in a row that open a breaker: fewer are an accident.
pub const BREAKER_FAILURES: usize = 5;
/// Time within which they must fall.
pub const BREAKER_WINDOW: Duration = Duration::from_secs(600);
/// First pause of an open breaker; doubled whenever the agent that was let through fails.
pub const BREAKER_FIRST: Duration = Duration::from_secs(60);
/// Longest pause of an open breaker.
pub const BREAKER_CAP: Duration = Duration::from_secs(900);
/// Most breakers of one node that say anything; what is beyond them is not counted.
pub const BREAKERS: usize = 1000;
/// Available memory below which nothing new starts: a small agent and its tests must fit.
pub const MEMORY_FLOOR_BYTES: u64 = 256 * 1024 * 1024;
/// Time for which one answer about the machine's capacity serves the dispatcher.
pub const CAPACITY_PERIOD: Duration = Duration::from_secs(1);
/// Longest time for the machine to say how much room it has before nothing is held up by it.
pub const CAPACITY_ANSWER: Duration = Duration::from_secs(2);
