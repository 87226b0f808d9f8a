//! Processes of agents: shims, kills, samples.

use std::time::Duration;

/// Longest path of an agent's temporary directory, in bytes: of the 107 that the path of a Unix socket may have, half are
/// left for what programs put below it.
pub const SOCKET_DIRECTORY_BYTES: usize = 56;
/// Threads of a process without its first one that are looked at: each tells the same.
pub const LEADERLESS_THREADS: usize = 64;
/// Processes of a group beyond which those whose first thread has ended are not looked for yet: the rest dies first.
pub const LEADERLESS_AMONG: usize = 1000;
/// Most bytes that may wait for a job's standard input: a prompt with its files, and an end to what a job that
/// reads nothing can make us hold.
pub const STDIN_QUEUE_BYTES: usize = 1024 * 1024;
/// Largest piece of job output that is moved or reported at once: the size of a pipe.
pub const OUTPUT_CHUNK_BYTES: usize = 64 * 1024;
/// Each of the two files that hold the newest output past a job's limit, in bytes.
pub const OVERFLOW_BYTES: u64 = 4 * 1024 * 1024;
/// Last part of a job's standard error that its exit reports, in bytes.
pub const STDERR_TAIL_BYTES: usize = 8 * 1024;
/// Standard error kept in a file per job, in bytes.
pub const STDERR_BYTES: u64 = 1024 * 1024;
/// Longest time for reading what is left in a job's pipes after its main process ended: other processes may keep them open.
pub const PIPE_DRAIN: Duration = Duration::from_millis(250);
/// Time between asking an agent to end and forcing it, unless the operator sets another: a program writes its last lines in it,
/// and a person who waits for a kill still sees that it works.
pub const KILL_GRACE: Duration = Duration::from_secs(5);
/// Grace between SIGTERM and SIGKILL when a job's own time limit or the shim's lease ends it.
pub const TIME_LIMIT_GRACE: Duration = Duration::from_secs(5);
/// Longest wait for a supervisor to say that its program runs.
pub const SHIM_START: Duration = Duration::from_secs(10);
/// Longest wait for a supervisor to answer a request.
pub const SHIM_ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for a supervisor, past the grace, to prove that nothing of its job is left; and then, once more,
/// for killing from outside.
pub const STOP_PROOF: Duration = Duration::from_secs(10);
/// Time between two looks at a job's files when nothing was announced.
pub const JOB_POLL: Duration = Duration::from_secs(1);
/// Connections to one supervisor at once: the server's, a stop's, and some to spare.
pub const SHIM_CLIENTS: usize = 16;
/// Longest time between two samples of an agent's processes.
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(5);
/// Samples kept per agent: ten minutes.
pub const SAMPLES: usize = 120;
/// Longest time one agent's sample may take before it is left out.
pub const SAMPLE_ANSWER: Duration = Duration::from_secs(2);
/// Agents sampled side by side: enough that a slow one does not hold up the rest, few enough to stay unnoticed.
pub const SAMPLES_AT_ONCE: usize = 8;
/// Time between two measurements of the disk used by an agent's tree: walking a tree is expensive.
pub const DISK_PERIOD: Duration = Duration::from_secs(60);
/// Most entries of one such walk; what is beyond them is not counted.
pub const DISK_ENTRIES: usize = 100_000;
/// Longest time of one such walk.
pub const DISK_WALK: Duration = Duration::from_millis(500);
/// Agents whose newest usage is remembered by the process adapter, so that sums never go back.
pub const USAGE_LEDGERS: usize = 4096;
/// Time for which one reading of the process table serves the samples of all agents.
pub const PROCESS_TABLE: Duration = Duration::from_millis(250);
/// Share of the grace that a job has to answer its protocol's interrupt before SIGTERM: one part in so many.
pub const INTERRUPT_SHARE: u32 = 5;
/// Longest such share, so that most of a long grace is left for SIGTERM.
pub const LONGEST_INTERRUPT: Duration = Duration::from_secs(1);
/// Time between two looks of a shim for the stop file: everything that runs is gone within a second of the file.
pub const STOP_LOOK: Duration = Duration::from_millis(200);
/// Processes of one job after which its shim ends it: a fork bomb, as no build has this many at once.
pub const JOB_PROCESSES: u32 = 1024;
/// Tasks that the kernel allows a job for each process that its supervisor allows it: threads count there.
pub const TASKS_PER_PROCESS: u32 = 4;
/// Nice value that a job's program has above its shim's, so that a program that takes every core cannot keep its shim
/// from ending it: of two equals the shim gets ten times as much.
pub const AGENT_NICE: i32 = 10;
/// Value by which the OOM score of a job's program exceeds its shim's, in thousandths of the memory there is: the kernel
/// ends the program first when memory runs out.
pub const AGENT_OOM: i32 = 300;
/// Largest list of a control group's processes that is read, in bytes: more numbers than a machine usually has.
pub const GROUP_LIST_BYTES: u64 = 1024 * 1024;
/// The part of that list from which a group is counted before it is killed: several hundred processes, in one read.
pub const GROUP_GLANCE_BYTES: u64 = 4096;
/// Longest time for telling a job's processes one by one to end: a fork bomb has more of them than that is worth.
pub const TERM_SLICE: Duration = Duration::from_millis(100);
/// Processes of one job that are measured one by one; the books of its control group have the rest.
pub const MEASURED_PROCESSES: usize = 1024;
/// Longest wait for a supervisor whose lock is held to take a connection: it opens its socket first of all.
pub const SHIM_CONNECT: Duration = Duration::from_secs(1);
/// Longest wait for a supervisor, past the grace, to say that its job is over before it is ended from outside as well:
/// a kill takes some milliseconds, and what answers in its place may be the agent's.
pub const SHIM_PROOF: Duration = Duration::from_secs(3);
/// Most entries of an agent's directory of jobs that are looked at: an agent has some dozens of jobs.
pub const JOB_ENTRIES: usize = 4096;
/// Time between two counts of a job's processes while the machine as a whole has hardly more of them.
pub const FORK_BOMB_LOOK: Duration = Duration::from_secs(30);
/// Longest time until everything of a job that is being frozen has stopped, before it is let run again.
pub const FREEZING: Duration = Duration::from_millis(500);
/// Longest time for trying whether a pid namespace can be made.
pub const NAMESPACE_TRIAL: Duration = Duration::from_secs(2);

/// Longest wait for a sandbox to end what it keeps running of an agent; then the stop counts as not verified and is repeated. The
/// jobs are dead by then, so that only a container has to be removed; well below what the answer to a kill waits for.
pub const SANDBOX_STOP: Duration = Duration::from_secs(5);
