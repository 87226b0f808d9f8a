//! Every bound of the orchestrator with its reason. A queue, a wait or a buffer that is not bounded here is a
//! fault; the tidy test looks for numbers of this kind elsewhere.

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
/// How often the lock of a login is tried, every 20 ms: whoever holds it reads and writes one small file.
pub const LOGIN_LOCK_TRIES: u32 = 100;
/// How often a running agent's login is looked at: whoever has the same one must get the renewed one before its own is
/// refused, and nothing may be lost with the server.
pub const TEND_PERIOD: Duration = Duration::from_secs(2);
/// Longest time for one such look.
pub const TEND: Duration = Duration::from_secs(10);
/// Tokens that are masked because an agent of this server had them.
pub const KNOWN_TOKENS: usize = 256;
/// Shortest wait for a limit of the model service that says when it ends: its clock and ours may differ.
pub const QUOTA_LEAST: Duration = Duration::from_secs(60);
/// Longest such wait: the longest windows are a week.
pub const QUOTA_LONGEST: Duration = Duration::from_secs(8 * 24 * 3600);
/// How often an agent waits for such a limit before it counts as a failure: a service that says each time that a minute is
/// enough must not keep an agent for ever.
pub const QUOTA_WAITS: u32 = 100;
/// Pause that the program may take by itself before it asks the model service again; a longer one is waited for without it.
pub const QUOTA_PATIENCE: Duration = Duration::from_secs(120);
/// Credentials whose limits are remembered.
pub const QUOTAS: usize = 100;
/// Waiting agents that are looked at after a start for limits that have not ended.
pub const QUOTA_RECALL: usize = 1000;
/// Largest table of a time zone that is read, in bytes: the largest has some thousand.
pub const ZONE_BYTES: u64 = 64 * 1024;
/// Most automatic retries a caller may ask for.
pub const MAX_RETRIES: u32 = 20;
/// Shortest and longest `timeoutSeconds`.
pub const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;
/// Waiting entries after which a spawn is answered `queue_full`.
pub const QUEUE_ENTRIES: u64 = 1_000_000;
/// Largest request body, in bytes.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Largest part of one repository file (work item, agent instructions) that goes into a prompt, in bytes.
pub const PROMPT_FILE_BYTES: usize = 64 * 1024;
/// Most submodules of one checkout, nested ones too; each may cost a fetch.
pub const SUBMODULES: usize = 100;
/// Deepest nesting of submodules.
pub const SUBMODULE_DEPTH: usize = 8;
/// Largest `.gitmodules` that is read, in bytes.
pub const GITMODULES_BYTES: usize = 256 * 1024;
/// Longest path of an agent's temporary directory, in bytes: of the 107 that the path of a Unix socket may have, half are
/// left for what programs put below it.
pub const SOCKET_DIRECTORY_BYTES: usize = 56;
/// Longest line of agent output that is parsed, in bytes; a longer one is kept raw and skipped.
pub const LINE_BYTES: usize = 16 * 1024 * 1024;
/// Raw output kept per agent run, in bytes; then a marker and only the newest part.
pub const TRANSCRIPT_BYTES: u64 = 256 * 1024 * 1024;
/// Longest text of one transcript entry, in bytes; the raw output has the rest.
pub const ENTRY_BYTES: usize = 16 * 1024;
/// Longest error text kept in a record, in bytes.
pub const ERROR_BYTES: usize = 4 * 1024;
/// Most findings returned to an agent or kept in a record; the rest is counted.
pub const FINDINGS: usize = 50;
/// Silence of an agent's output after which it is interrupted and counts as stalled.
pub const STALL: Duration = Duration::from_secs(600);
/// Time an agent's process may live on after its result.
pub const AFTER_RESULT: Duration = Duration::from_secs(30);
/// Longest time until a turn begins that the end of a background task announced: the program needs some hundredths of a
/// second.
pub const FOLLOW_UP: Duration = Duration::from_secs(10);
/// Longest time for one network operation of git.
pub const GIT_NETWORK: Duration = Duration::from_secs(300);
/// Longest wait for a remote that is asked whether it has a commit: a kill's answer waits for it.
pub const REMOTE_LOOK: Duration = Duration::from_secs(5);
/// How often a remote that took a push is asked before it counts as one that does not show it, and the pause between two
/// questions: some answer from copies that are a moment old.
pub const PUSH_LOOKS: u32 = 4;
/// See [`PUSH_LOOKS`].
pub const PUSH_LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Time after which a push that was broken off cannot arrive any more: a remote may take in what it received, hooks
/// included, without anybody waiting for it.
pub const PUSH_ARRIVES: Duration = Duration::from_secs(300);
/// Newest records among which a round of the caretaker looks for pushes of which the end is not known.
pub const PUSHES_LOOKED_AT: usize = 200;
/// Most remotes that a round of the caretaker asks about such pushes: each may take [`REMOTE_LOOK`].
pub const PUSHES_ASKED: usize = 10;
/// Longest time for one local operation of git.
pub const GIT_LOCAL: Duration = Duration::from_secs(120);
/// Longest time for a look into the tree of an agent at work: whoever asks for its diff waits for it.
pub const LIVE_DIFF: Duration = Duration::from_secs(30);
/// Longest time for committing and bundling what an agent left, inside its confinement.
pub const HARVEST: Duration = Duration::from_secs(120);
/// Longest time of one gate that names none.
pub const GATE: Duration = Duration::from_secs(900);
/// Largest kept log of one gate, in bytes: head and tail.
pub const GATE_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// Longest wait for a kill to be confirmed before the answer says `202`.
pub const KILL_ANSWER: Duration = Duration::from_secs(10);
/// How often a driver tries again when the store refuses for a passing reason.
pub const STORE_RETRY: Duration = Duration::from_millis(200);
/// The dispatcher's own period: it looks even when no signal came.
pub const DISPATCH_PERIOD: Duration = Duration::from_secs(1);
/// First delay of an automatic retry; doubled for each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// Longest delay of an automatic retry, before jitter.
pub const BACKOFF_CAP: Duration = Duration::from_secs(300);
/// How much waiting one step of priority is worth: an entry is overtaken only by entries that arrived at most
/// (difference in priority) × this long after it, so nothing waits longer than 90 minutes behind newer work.
pub const AGEING_STEP: Duration = Duration::from_secs(600);
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);
/// Events a subscriber may lag behind before it is told to start over.
pub const EVENT_BUFFER: usize = 1000;
/// Free bytes below which nothing new is started: a tree, a bundle and a checkout must fit.
pub const DISK_FLOOR_BYTES: u64 = 256 * 1024 * 1024;
/// Most fix rounds a caller may ask for.
pub const MAX_FIX_ROUNDS: u32 = 10;
/// Longest title of a tool call, in characters: one line on a wide terminal.
pub const TITLE_CHARS: usize = 200;
/// Lines of a plain program's output that are kept as its result: the last screenful.
pub const RESULT_LINES: usize = 20;
/// Longest time a runtime's program may take to say its version.
pub const PROBE: Duration = Duration::from_secs(5);
/// Longest wait for an answer of the embedded store's disk before it counts as unavailable.
pub const STORE_ANSWER: Duration = Duration::from_secs(30);
/// Writes that may wait for the embedded store's writer; more callers than this wait for a place.
pub const STORE_WAITING_WRITES: usize = 1024;
/// Most writes in one transaction of the embedded store, so that the first of them is not kept waiting.
pub const STORE_BATCH: usize = 256;
/// Read connections of the embedded store: reads are short, and each keeps a cache of its own.
pub const STORE_READERS: usize = 3;
/// Most records of one page of a list.
pub const STORE_PAGE: usize = 1000;
/// Transcripts whose numbering is kept in memory; another one is read again from its file.
pub const OPEN_TRANSCRIPTS: usize = 256;
/// Largest bundle taken from an agent's tree, in bytes: what fits beside the tree on an ordinary disk.
pub const BUNDLE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Most files taken from a tree whose `.git` is unusable.
pub const WALKER_FILES: usize = 1_000_000;
/// Largest index of a tree that is read, in bytes: some million files.
pub const INDEX_BYTES: u64 = 512 * 1024 * 1024;
/// Largest file of ignore rules or attributes that is obeyed, in bytes.
pub const RULES_BYTES: u64 = 1024 * 1024;
/// Most loose refs of a tree that are looked at.
pub const MIRRORED_REFS: usize = 20_000;
/// Threads of a process without its first one that are looked at: each tells the same.
pub const LEADERLESS_THREADS: usize = 64;
/// Processes of a group beyond which those whose first thread has ended are not looked for yet: the rest dies first.
pub const LEADERLESS_AMONG: usize = 1000;
/// New commits that may change git attributes: each costs a look at its whole tree.
pub const ATTRIBUTE_COMMITS: usize = 100;
/// Things named one by one that lie in a tree and are not in its commit; the rest is counted.
pub const NAMED_LEFT: usize = 20;
/// Most files kept in a salvage that only the agent's own ignore rules leave out: results, not installed packages.
pub const IGNORED_FILES: u64 = 5_000;
/// Most bytes of them.
pub const IGNORED_BYTES: u64 = 128 * 1024 * 1024;
/// Files below ignored directories that are counted before counting is given up: half a second of looking.
pub const IGNORED_COUNTED: u64 = 100_000;
/// Most branches kept of a tree whose HEAD does not descend from the base.
pub const KEPT_BRANCHES: usize = 100;
/// Most different values that are compared with the base. A fixture directory that moves has some hundred.
pub const SECRET_VALUES: usize = 4096;
/// Text that is looked at again together with what follows it, in bytes: longer than a token, and than a key in pieces.
pub const SECRET_BORDER: usize = 4 * 1024;
/// Lines after the header of a private key among which its body is looked for when they come one by one: RSA with 16,384 bits has
/// some 210, and as many of other output may stand between them.
pub const KEY_LINES: usize = 512;
/// Bytes of such lines, framed in JSON for instance.
pub const KEY_BYTES: usize = 256 * 1024;
/// Text of the base that is compared with values as they are, in bytes, each value counted: a second's work.
pub const SECRET_COMPARED_BYTES: usize = 1024 * 1024 * 1024;
/// Largest file of the base that is searched for values, in bytes; of one above [`SECRET_FILE_BYTES`] only what stands around
/// them is scanned.
pub const SECRET_SEARCHED_BYTES: usize = 64 * 1024 * 1024;
/// Text around a value in such a file, in bytes: a key of the longest kind before and after its line.
pub const SECRET_AROUND: usize = 32 * 1024;
/// Most files of the base that are scanned for values that were found.
pub const SECRET_FILES: usize = 256;
/// Largest part of such a file that is scanned, in bytes.
pub const SECRET_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Largest file of allowed findings, in bytes: some ten thousand lines.
pub const ALLOWED_SECRETS_BYTES: usize = 1024 * 1024;
/// Most findings that one request allows.
pub const ALLOWED_SECRETS: usize = 100;
/// Most values of the server that are looked for in what leaves it: settings, lines of credentials, logins that were renewed.
/// Every one is up to a hundred patterns of an automaton.
pub const KNOWN_SECRETS: usize = 256;
/// Shortest value that is looked for, in bytes: ordinary words would be taken for a shorter one.
pub const KNOWN_SHORTEST: usize = 8;
/// Longest text over which the pieces of one known value may lie, in bytes: this, and [`KNOWN_SPREAD`] for every letter.
pub const KNOWN_APART: usize = 256;
/// Bytes of text for every letter of a known value in pieces: a line of its own for each letter, indented.
pub const KNOWN_SPREAD: usize = 24;
/// Escapes of escapes that are decoded in the look for known values; each costs another pass over texts that have any.
pub const KNOWN_LAYERS: usize = 3;
/// Letters and digits of a random value that are evidence by themselves: 62^12 is 3 * 10^21.
pub const KNOWN_FRAGMENT: usize = 12;
/// Longest run of encoded text that is hidden beside a known value, in bytes at each end.
pub const KNOWN_REST: usize = 1024;
/// Largest piece of added text handed to the secret scan at once, in bytes.
pub const ADDED_BYTES: usize = 1024 * 1024;
/// Largest list of paths read from git, in bytes.
pub const LISTING_BYTES: usize = 64 * 1024 * 1024;
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
/// How long what is left in a job's pipes is read after its main process ended: others may keep them open.
pub const PIPE_DRAIN: Duration = Duration::from_millis(250);
/// Grace between SIGTERM and SIGKILL when a job's own time limit or the shim's lease ends it.
pub const TIME_LIMIT_GRACE: Duration = Duration::from_secs(5);
/// Longest wait for a supervisor to say that its program runs.
pub const SHIM_START: Duration = Duration::from_secs(10);
/// Longest wait for a supervisor to answer a request.
pub const SHIM_ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for a supervisor, past the grace, to prove that nothing of its job is left; and then, once more,
/// for killing from outside.
pub const STOP_PROOF: Duration = Duration::from_secs(10);
/// How often a job's files are looked at when nothing was announced.
pub const JOB_POLL: Duration = Duration::from_secs(1);
/// Connections to one supervisor at once: the server's, a stop's, and some to spare.
pub const SHIM_CLIENTS: usize = 16;
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
/// Largest report (lcov, JUnit) that is read, in bytes.
pub const GATE_REPORT_BYTES: u64 = 64 * 1024 * 1024;
/// Most line records of a coverage report: a code base of four million executable lines.
pub const COVERAGE_LINES: usize = 4_000_000;
/// Deepest nesting of elements in a JUnit report.
pub const REPORT_DEPTH: usize = 64;
/// Longest list of trusted digests that is read, in bytes.
pub const TRUST_FILE_BYTES: u64 = 1024 * 1024;
/// Longest grace of a stop, whatever was asked.
pub const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Most connections open at once, where there are descriptors for them; then an idle one makes way for the next.
pub const CONNECTIONS: usize = 900;
/// Descriptors that the server itself needs, whoever calls: store, logs, git and its pipes, listeners, orders.
pub const OWN_DESCRIPTORS: usize = 96;
/// Descriptors for each agent that may run: its output, its supervisor, its transcript, a stop, and git at its end.
pub const SLOT_DESCRIPTORS: usize = 8;
/// The part of few descriptors that connections for orders to stop get: one in so many.
pub const SMALL_SHARE: usize = 24;
/// Requests of one agent, by its own token, that are answered at once: it has itself to look at.
pub const AGENT_REQUESTS: usize = 8;
/// Longest time until the head of an HTTP request is there, idle keep-alive included.
pub const HEADER_READ: Duration = Duration::from_secs(30);
/// Longest time until the body of an HTTP request is there.
pub const BODY_READ: Duration = Duration::from_secs(30);
/// Largest head of an HTTP request, in bytes.
pub const HEADER_BYTES: usize = 64 * 1024;
/// Time for open answers and event streams to end once the server stops.
pub const HTTP_GRACE: Duration = Duration::from_secs(5);
/// Longest time a client may take nothing of an answer that is ready, before its connection is closed.
pub const WRITE_STALL: Duration = Duration::from_secs(60);
/// Longest `wait` of a blocking query.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Time between heartbeats of an event stream; proxies close what is silent for 30 s.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Most entries of one page of a list over HTTP; what is larger makes slow answers.
pub const HTTP_PAGE: usize = 200;
/// Most running agents shown in the first event of an event stream.
pub const SNAPSHOT_AGENTS: usize = 500;
/// Most bytes of one diff that is shown.
pub const DIFF_BYTES: usize = 4 * 1024 * 1024;
/// Longest reason for a kill or a pause, in bytes.
pub const REASON_BYTES: usize = 512;
/// How long a statement of the embedded store waits for a lock that a foreign program, such as a backup, holds.
pub const STORE_BUSY: Duration = Duration::from_secs(5);
/// Up to this size the embedded store's file is checked as a whole at the start: about a tenth of a second.
pub const STORE_CHECKED_BYTES: u64 = 16 * 1024 * 1024;
/// How soon a caller looks again at a record that is just changing hands.
pub const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often leased agents without a driver are looked for.
pub const UNWATCHED_PERIOD: Duration = Duration::from_secs(5);
/// Longest time for giving back what runs when the server stops, beyond the grace: a harvest must fit.
pub const GIVING_BACK: Duration = Duration::from_secs(60);
/// The same after a second order to stop: what is not back by then is left to the next server.
pub const GIVING_BACK_NOW: Duration = Duration::from_secs(10);
/// Longest time for stopping what an earlier server left, before new work starts all the same.
pub const STRAYS: Duration = Duration::from_secs(30);
/// Time that a run may outlive its deadline before its shim ends it by itself: the server is gone then.
pub const BACKSTOP: Duration = Duration::from_secs(120);
/// Largest prompt, in bytes: with JSON escapes it must fit into what may wait for an agent's standard input.
pub const PROMPT_BYTES: usize = 400 * 1024;

/// Longest name of a job: what a [`Word`](crate::domain::ids::Word) holds.
pub const JOB_NAME_BYTES: usize = 64;
/// What one run may add to the transcript, in bytes: a hundred thousand lines. The raw output has what follows.
pub const ENTRIES_BYTES: u64 = 32 * 1024 * 1024;
/// What an entry of a transcript takes besides its text, in bytes.
pub const ENTRY_OVERHEAD_BYTES: u64 = 128;
/// Answers about commits that are remembered, so that tasks on one base do not ask git again.
pub const REMEMBERED: usize = 64;
/// Largest answer about a commit that is remembered, in bytes.
pub const REMEMBERED_BYTES: usize = 256 * 1024;

/// Largest description of a salvaged tree that is written and read, in bytes: some hundred thousand odd files.
pub const SALVAGE_STATE_BYTES: usize = 64 * 1024 * 1024;
/// Most stashes of an agent that are kept with its salvaged tree.
pub const KEPT_STASHES: usize = 100;
/// Most restored copies of one agent's work beside each other.
pub const RESTORED_COPIES: u32 = 1000;
/// Time between the two looks at a stale git lock: a lock that lives changes hands or has a process by then.
pub const LOCK_SECOND_LOOK: Duration = Duration::from_millis(200);
/// Longest wait for git processes of a server that is gone to end after they were told to.
pub const GIT_ORPHANS: Duration = Duration::from_secs(5);
/// First pause before something in the trash that could not be deleted is tried again; doubled each time.
pub const TRASH_RETRY: Duration = Duration::from_secs(1);
/// Longest pause before something in the trash is tried again.
pub const TRASH_RETRY_CAP: Duration = Duration::from_secs(300);
/// How often every agent's processes are looked at.
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(5);
/// Samples kept per agent: ten minutes.
pub const SAMPLES: usize = 120;
/// Longest time one agent's sample may take before it is left out.
pub const SAMPLE_ANSWER: Duration = Duration::from_secs(2);
/// Agents sampled side by side: enough that a slow one does not hold up the rest, few enough to stay unnoticed.
pub const SAMPLES_AT_ONCE: usize = 8;
/// How often the disk used by an agent's tree is measured: walking a tree is dear.
pub const DISK_PERIOD: Duration = Duration::from_secs(60);
/// Most entries of one such walk; what is beyond them is not counted.
pub const DISK_ENTRIES: usize = 100_000;
/// Longest time of one such walk.
pub const DISK_WALK: Duration = Duration::from_millis(500);
/// Agents whose newest usage is remembered by the process adapter, so that sums never go back.
pub const USAGE_LEDGERS: usize = 4096;
/// How long one reading of the process table serves all agents that ask.
pub const PROCESS_TABLE: Duration = Duration::from_millis(250);
/// Tool calls that may be open at once in one conversation before more are not followed.
pub const OPEN_TOOLS: usize = 256;
/// CPU that counts as work, in thousandths of one core: an idle event loop stays below.
pub const STALL_CPU_PERMILLE: u32 = 20;
/// Failures of one task that may lie on nodes before it ends all the same: more nodes than that do not fail by chance.
pub const NODE_TRIES: u32 = 5;
/// Nodes that a record remembers to have failed: as many as it may try, and one.
pub const NODE_FAULTS: usize = 6;
/// First wait for another node when none is able to run what failed here; doubled each time.
pub const NODE_RETRY: Duration = Duration::from_secs(5);
/// Longest such wait.
pub const NODE_RETRY_CAP: Duration = Duration::from_secs(300);
/// How long a node does not take a task again that failed here for a reason of this node's.
pub const NODE_AVOIDS: Duration = Duration::from_secs(600);
/// Most tasks that a node avoids so at once; the oldest are forgotten first.
pub const NODE_AVOIDED: usize = 256;
/// How long a node that is not heard of counts as one that will be back: longer than a restart, shorter than a repair.
pub const NODE_ABSENCE: Duration = Duration::from_secs(600);
/// First pause after a failure that lies on this node while another node could do better; doubled with each.
pub const NODE_FAULT_PAUSE: Duration = Duration::from_millis(500);
/// Longest such pause.
pub const NODE_FAULT_PAUSE_CAP: Duration = Duration::from_secs(30);
/// Tasks that failed here whose fate elsewhere a node looks at, at once.
pub const NODE_MOVED: usize = 64;
/// Of these, looked at in one round: each is one read of the store.
pub const NODE_MOVED_LOOKS: usize = 8;
/// Tasks that failed here and went on elsewhere before a node takes itself out of service: one may be chance.
pub const NODE_CONFIRMED: u32 = 2;
/// Crashes in a row from which a node takes more slowly what a node that fares better could take.
pub const NODE_CRASHES_SLOW: u32 = 3;
/// The pause after such a crash, doubled at most three times.
pub const NODE_CRASH_PAUSE: Duration = Duration::from_secs(1);
/// Crashes in a row after which a node takes itself out of service, when other nodes completed as many tasks meanwhile.
pub const NODE_CRASHES: u32 = 8;
/// How often a node looks whether its runtimes' programs are there: asking one takes it half a second.
pub const NODE_PROBE: Duration = Duration::from_secs(60);
/// The same while one of them is not.
pub const NODE_PROBE_AGAIN: Duration = Duration::from_secs(10);
/// Breakers that a node tells others of with each heartbeat.
pub const NODE_BREAKERS: usize = 20;
/// Longest reason that a node tells others, in bytes.
pub const NODE_REASON_BYTES: usize = 300;
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
/// How long one answer about the machine's room serves the dispatcher.
pub const ROOM_PERIOD: Duration = Duration::from_secs(1);
/// Longest time for the machine to say how much room it has before nothing is held up by it.
pub const ROOM_ANSWER: Duration = Duration::from_secs(2);
/// How far a node's wall clock may be from the store's for the node to take work. No decision about records goes by a node's
/// own clock; this is for what its agents do with it: services refuse tokens and signatures whose time is more than a minute
/// off, and commits get dates that are wrong. Clocks that are kept by NTP are within a second.
pub const CLOCK_OFFSET: Duration = Duration::from_secs(60);
/// Longest wait for the store to say its time; a longer round trip would say little.
pub const CLOCK_ANSWER: Duration = Duration::from_secs(2);
/// By how many millionths two clocks may drift apart: what NTP corrects at most by going faster or slower.
pub const CLOCK_DRIFT_PPM: u32 = 1000;
/// How far the store's clock may be ahead of what was expected before it counts as set: what it counts of leases is of
/// no use then. Less than the margin of the shortest lease.
pub const STORE_CLOCK_SET: Duration = Duration::from_millis(250);
/// Time by which the log may lie ahead of the wall clock at the start and still be believed.
pub const LOG_AHEAD: Duration = Duration::from_secs(26 * 3600);
/// Least and longest time between two looks at a silent agent.
pub const STALL_LOOK: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(5);
/// Longest text of one field of an audit record, in bytes.
pub const AUDIT_FIELD_BYTES: usize = 1024;
/// Longest line of the audit log, in bytes: every field full of characters that JSON writes with six.
pub const AUDIT_LINE_BYTES: usize = 64 * 1024;
/// Size of one file of the audit log, in bytes; then the next one begins. About ten thousand records.
pub const AUDIT_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Deeds that may wait for the writer of the audit log: a kill-all of every agent a node can hold, twice.
pub const AUDIT_WAITING: usize = 2048;
/// Most records that are made durable together.
pub const AUDIT_BATCH: usize = 256;
/// Longest wait until a record is durable, before the deed it announces is refused.
pub const AUDIT_ANSWER: Duration = Duration::from_secs(10);
/// Longest time for reading or checking the audit log, which may have hundreds of megabytes.
pub const AUDIT_CHECK: Duration = Duration::from_secs(60);
/// Most records that are looked at for one page.
pub const AUDIT_SCAN: usize = 100_000;
/// Most remarks of one check of the audit log.
pub const AUDIT_REMARKS: usize = 20;
/// How long the command line waits for another one that is just recording a deed.
pub const AUDIT_LOCAL_WAIT: Duration = Duration::from_secs(2);
/// Connections beyond [`CONNECTIONS`] on which only orders to stop are answered.
pub const STOP_CONNECTIONS: usize = 32;
/// Connections on the control socket, on which only orders to stop are answered.
pub const CONTROL_CONNECTIONS: usize = 16;
/// Longest time until the head of a request is there on a connection kept for orders to stop.
pub const STOP_HEADER_READ: Duration = Duration::from_secs(2);
/// How long a connection kept for orders to stop is safe from making way for a newer one, before its request is there.
pub const STOP_HEAD_START: Duration = Duration::from_millis(250);
/// Descriptors that a server asks for: every connection, and some for each of the most agents that it may run; many
/// systems allow 1024 at first.
pub const DESCRIPTORS: u64 = 16_384;
/// Notes of removed agents that are kept, so that whoever asks for one is told that it was removed: a year of thousands
/// a week, at about a hundred bytes each.
pub const TOMBSTONES: u64 = 200_000;
/// Longest reason of a removal that is kept, in bytes.
pub const REMOVAL_WHY_BYTES: usize = 512;
/// Facts removed from the log in one write, so that the writer is never kept for long.
pub const PRUNED_EVENTS: usize = 2000;
/// Ended agents looked at by one call of prune, or by one round of retention.
pub const PRUNE_PAGE: usize = 200;
/// Commits named of one agent whose work would be lost; the rest is counted.
pub const NAMED_COMMITS: usize = 20;
/// How often what was left behind and what is too old is looked for.
pub const CARE_PERIOD: Duration = Duration::from_secs(60);
/// How often transcripts, logs, events and repository stores are looked at: they grow slowly.
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
/// Loose objects from which a repository store is packed again: what git itself packs at.
pub const LOOSE_OBJECTS: usize = 6700;
/// Packs from which a repository store is packed again: what git itself packs at.
pub const PACKS: usize = 50;
/// Age below which an object that no ref reaches stays when a store is packed again: whatever reads or writes in the
/// store meanwhile, its objects are younger.
pub const UNREACHABLE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longest time for packing one repository store again.
pub const REPACK: Duration = Duration::from_secs(600);
/// Age of an empty control group from which nobody is about to enter it.
pub const EMPTY_GROUP: Duration = Duration::from_secs(3600);
/// Longest age that may be asked for.
pub const LONGEST_AGE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Share of the grace that a job has to answer its protocol's interrupt before SIGTERM: one part in so many.
pub const INTERRUPT_SHARE: u32 = 5;
/// Longest such share, so that most of a long grace is left for SIGTERM.
pub const LONGEST_INTERRUPT: Duration = Duration::from_secs(1);
/// How often a shim looks for the stop file: all are gone within a second of it.
pub const STOP_LOOK: Duration = Duration::from_millis(200);
/// Processes of one job after which its shim ends it: a fork bomb, as no build has this many at once.
pub const JOB_PROCESSES: u32 = 1024;
/// Tasks that the kernel allows a job for each process that its supervisor allows it: threads count there.
pub const TASKS_PER_PROCESS: u32 = 4;
/// How much nicer than its supervisor a job's program is, so that one that takes every core cannot keep its supervisor
/// from ending it: of two equals the supervisor gets ten times as much.
pub const AGENT_NICE: i32 = 10;
/// How much more willingly than its supervisor the kernel ends a job's program when memory runs out, in thousandths of
/// the memory there is.
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
/// How often a job's processes are counted although the machine as a whole has hardly more of them.
pub const CROWD_LOOK: Duration = Duration::from_secs(30);
/// Longest time until everything of a job that is being frozen has stopped, before it is let run again.
pub const FREEZING: Duration = Duration::from_millis(500);
/// Longest time for trying whether a pid namespace can be made.
pub const NAMESPACE_TRIAL: Duration = Duration::from_secs(2);
/// Length of a UUID in its usual spelling.
pub const UUID_CHARS: usize = 36;
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
/// How long kill-all waits for an agent's record once nothing of the agent is alive: its work is still being kept then.
pub const KILL_SETTLE: Duration = Duration::from_millis(300);
/// Most entries of the directories of agents that are looked at, at the start and by clean-ups: more than a disk holds of agents.
pub const AGENT_ENTRIES: usize = 1_000_000;
/// Longest file of git's own that is read whole: the packed refs of a repository with millions of them.
pub const GIT_FILE_BYTES: u64 = 1 << 30;
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
/// Largest file of one loose ref that is read, in bytes.
pub const REF_BYTES: u64 = 4096;
/// Largest file of packed refs that is read, in bytes: a million refs.
pub const PACKED_REFS_BYTES: u64 = 128 * 1024 * 1024;
/// Largest note beside a tree about what it was made from, in bytes: names and two commits.
pub const MARKER_BYTES: u64 = 256 * 1024;
/// The part of the disk floor that is set aside: 32 MiB of the default, room for thousands of decisions.
pub const RESERVE_PART: u64 = 8;
/// The part of the disk floor below which work is not bundled: more than what is set aside.
pub const BUNDLE_PART: u64 = 4;
/// How long a node that is not heard of any more is listed.
pub const NODE_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most attempts on other nodes whose work a record lists: lost nodes come to an end much earlier, and nobody drains nodes
/// more often than this while one agent waits.
pub const LEFT_WORK: usize = 50;
/// Most refs of one agent that a node reports; a tree with more branches is told by the first.
pub const REPORTED_REFS: usize = 20;
/// Most interventions of other hands that are taken up in one round.
pub const INTERVENTIONS: usize = 200;
/// Longest wait for a connection to another node.
pub const PEER_CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for the head of another node's answer: a large diff takes it some seconds.
pub const PEER_ANSWER: Duration = Duration::from_secs(30);
/// Longest silence in the body of another node's answer; live streams have a heartbeat every 15 s.
pub const PEER_STALL: Duration = Duration::from_secs(60);
/// Longest wait for an answer of a store that other machines share, and for its socket to be sure that nobody is there.
pub const LINK_ANSWER: Duration = Duration::from_secs(5);
/// Longest time for connecting to such a store, greetings included.
pub const LINK_CONNECT: Duration = Duration::from_secs(3);
/// How long after such a store was lost calls still wait for it to come back, before they are refused at once.
pub const LINK_REACH: Duration = Duration::from_secs(1);
/// How long a server that starts waits for such a store to read its files.
pub const LINK_LOADING: Duration = Duration::from_secs(60);
/// First pause before such a store is dialled again; doubled each time.
pub const LINK_BACKOFF: Duration = Duration::from_millis(50);
/// Longest such pause.
pub const LINK_BACKOFF_CAP: Duration = Duration::from_secs(2);
/// Servers of a cluster that are remembered; the largest clusters that are run have a thousand.
pub const CLUSTER_SERVERS: usize = 1000;
/// How often a cluster is asked for its servers.
pub const CLUSTER_LOOK: Duration = Duration::from_secs(30);
/// How often one call follows such a store from server to server.
pub const LINK_REDIRECTS: u32 = 3;
/// Longest wait for a replica to say that it has a write.
pub const REPLICA_ANSWER: Duration = Duration::from_secs(1);
/// How long a store that has fewer replicas than it had acknowledges nothing: a failover that replaces it has come to its
/// end by then, with the usual settings of Sentinels (down after 30 s is theirs, and a primary that they reach is
/// demoted at once).
pub const REPLICA_GRACE: Duration = Duration::from_secs(30);
/// How often a server that is written to is asked how many replicas it has.
pub const REPLICAS_PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for one Sentinel's answer.
pub const SENTINEL_ANSWER: Duration = Duration::from_millis(500);
/// How often Sentinels are asked where the store is.
pub const SENTINEL_PERIOD: Duration = Duration::from_secs(1);
/// Facts that a shared store keeps in its log: some days of a busy fleet, at some hundred bytes each.
pub const LOG_ENTRIES: u64 = 100_000;
/// Lines of one job's log that the queue keeps: a life with every retry.
pub const JOB_LOG_LINES: usize = 1000;
/// Longest line of a job's log, in bytes.
pub const JOB_LOG_LINE_BYTES: usize = 1024;
/// Entries that are passed over in one look for work, because the node does not take them now or they are not ours to take
/// yet: a look costs some milliseconds then. A look that finds nothing among them goes on behind them the next time, so that
/// nothing at the front keeps what waits behind it for good.
pub const QUEUE_SKIPPED: usize = 1000;
/// Classes of priority that are looked at for one lease: ours are eleven, other producers may use more.
pub const QUEUE_CLASSES: usize = 64;
/// Most writes that go to a shared store in one call: it serves nobody else meanwhile, for some milliseconds.
pub const STORE_SHARED_BATCH: usize = 128;
/// Most bytes of records that go to a shared store in one call.
pub const STORE_BATCH_BYTES: usize = 1024 * 1024;
/// How often a listener that is told nothing looks for itself.
pub const STORE_LOOK: Duration = Duration::from_secs(2);
/// Pause before a listener that lost its connection tries again.
pub const STORE_LISTEN_AGAIN: Duration = Duration::from_millis(200);
/// How often an order is put again when others changed the orders meanwhile.
pub const ORDER_TRIES: usize = 100;
/// Longest pause before an automatic retry that a caller may ask for, in milliseconds: a day.
pub const BACKOFF_ASKED_MS: u64 = 24 * 3600 * 1000;
/// Latest time from now until which a producer may delay its work.
pub const LONGEST_DELAY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Most calls of the bare queue that share a round trip: a script keeps the server from everybody else as long as it runs.
pub const LEAN_BATCH: usize = 64;
/// Round trips of one kind under way at once: while the server works on one, the next is put together. More would be
/// emptier, and what a call costs the server by itself is more than what a job costs it.
pub const LEAN_TRIPS: usize = 2;
/// Most jobs that one script adds: 7 arguments each, and a script may unpack some thousands.
pub const LEAN_BULK: usize = 500;
/// Events of the queue that one look for interventions reads.
pub const QUEUE_EVENTS_READ: usize = 1000;
/// Entries of each list that one look for interventions goes through: what no event told is found all the same.
pub const QUEUE_PART: usize = 300;
/// Least time between two such looks, over all nodes.
pub const QUEUE_TURN: Duration = Duration::from_millis(900);
/// How often jobs are looked for that another worker holds without a lock: what BullMQ itself takes.
pub const QUEUE_STALLED: Duration = Duration::from_secs(30);
/// Records in one page when waiting work is listed for another store: in one answer, and a record may have 1 MiB.
pub const TRANSFER_PAGE: usize = 50;
/// Most bytes of entries in one request of an import: a body may have 1 MiB, and each entry goes whole.
pub const TRANSFER_BYTES: usize = 512 * 1024;
/// Longest line of an exported queue: a spawn has 1 MiB at most, and its record what happened since.
pub const TRANSFER_LINE_BYTES: u64 = 8 * 1024 * 1024;
/// Most jobs that one look for interventions decides about.
pub const QUEUE_LOOK: usize = 1000;
/// How much earlier than the store a node takes a lease for over, at most: what runs is frozen and killed in that time,
/// before anybody else may start the agent. A kill takes 13–23 ms past its grace, and a lease's end gives none; the rest
/// is for machines that are slow and clocks that run at other speeds.
pub const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// The part of a short lease that is its margin instead.
pub const LEASE_MARGIN_PART: u32 = 4;
/// Heartbeats in the time of one lease, so that two may fail.
pub const BEATS: u32 = 4;
/// Longest time between two heartbeats: where leases never end, and where they are long.
pub const BEAT: Duration = Duration::from_secs(5);
/// What must be left of a lease for a push to start; of a lease shorter than twice this, half of it.
pub const PUSH_LEASE: Duration = Duration::from_secs(10);
/// Longest moment for which a node leaves an entry to nodes with a smaller share of their slots in use: longer than the way of a
/// message and a script's turn to a node in another building, far shorter than an agent's start.
pub const SPREAD_MOMENT: Duration = Duration::from_millis(100);
/// Shortest such moment: another node of the same network needs about one millisecond.
pub const SPREAD_LEAST: Duration = Duration::from_millis(5);
/// Time that a node spends in one [`SPREAD_PERIOD`] on moments that no other node used: what is wrong with a node that
/// looks free and takes nothing is found out by it at once and by its heartbeats a little later.
pub const SPREAD_UNUSED: Duration = Duration::from_millis(250);
/// The period of that bound.
pub const SPREAD_PERIOD: Duration = BEAT;
/// Entries at the front of the queue that are looked at for the one that this node would take.
pub const SPREAD_LOOK: usize = 8;
/// How often standing orders are read from a store that others write to, when nothing was announced.
pub const ORDER_LOOK: Duration = Duration::from_secs(1);
/// How soon a caller looks again at a record that another node writes, when nothing was announced.
pub const ELSEWHERE_LOOK: Duration = Duration::from_millis(250);
/// Agents of lost nodes that are given back to the queue in one round.
pub const LAPSED: usize = 200;
/// Pause before an agent whose earlier attempt's tree could not be kept here is tried again.
pub const FORMER_RETRY: Duration = Duration::from_secs(30);
/// Least time between a stir and the heartbeat that it causes: many stirs cause one.
pub const STIRRED_BEAT: Duration = Duration::from_millis(400);
/// How long the record of an ended agent stays whole in the shared store unless said otherwise: those that watch it read its
/// end there.
pub const ARCHIVE_AFTER: Duration = Duration::from_secs(30);
/// Ended agents looked at by one look for records to archive: heads of records, so some milliseconds of the store.
pub const ARCHIVE_LOOKS: u64 = 2000;
/// Records moved to the archive in one piece: one transaction on disk, one script in the store.
pub const ARCHIVE_BATCH: usize = 100;
/// Pages of old records that one round of retention removes: with [`PRUNE_PAGE`] more than sixty a second.
pub const RETENTION_PAGES: usize = 20;
/// How often a node looks for records to archive.
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
