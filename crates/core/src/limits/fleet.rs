//! The fleet: leases, heartbeats, other nodes, clocks.

use std::time::Duration;

/// Failures of one task that may lie on nodes before it ends all the same: more nodes than that do not fail by chance.
pub const NODE_TRIES: u32 = 5;
/// Nodes that a record remembers to have failed: as many as it may try, and one.
pub const NODE_FAULTS: usize = 6;
/// First wait for another node when none is able to run what failed here; doubled each time.
pub const NODE_RETRY: Duration = Duration::from_secs(5);
/// Longest such wait.
pub const NODE_RETRY_CAP: Duration = Duration::from_secs(300);
/// Time for which a node does not take a task again that failed on it for a reason of that node.
pub const NODE_AVOIDS: Duration = Duration::from_secs(600);
/// Most tasks that a node avoids so at once; the oldest are forgotten first.
pub const NODE_AVOIDED: usize = 256;
/// Time for which a node without heartbeats counts as one that will be back: longer than a restart, shorter than a repair.
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
/// Time between two checks of a node that its runtimes' programs are there: asking one takes it half a second.
pub const NODE_PROBE: Duration = Duration::from_secs(60);
/// The same while one of them is not.
pub const NODE_PROBE_AGAIN: Duration = Duration::from_secs(10);
/// Breakers that a node tells others of with each heartbeat.
pub const NODE_BREAKERS: usize = 20;
/// Longest reason that a node tells others, in bytes.
pub const NODE_REASON_BYTES: usize = 300;
/// Largest offset of a node's wall clock from the store's with which the node takes work. No decision about records goes by
/// a node's own clock; this is for what its agents do with it: services refuse tokens and signatures whose time is more than
/// a minute off, and commits get dates that are wrong. Clocks that are kept by NTP are within a second.
pub const CLOCK_OFFSET: Duration = Duration::from_secs(60);
/// Longest wait for the store to say its time; a longer round trip would say little.
pub const CLOCK_ANSWER: Duration = Duration::from_secs(2);
/// By how many millionths two clocks may drift apart: what NTP corrects at most by going faster or slower.
pub const CLOCK_DRIFT_PPM: u32 = 1000;
/// Time by which the store's clock may be ahead of the expected time before it counts as set: what it counts of leases is
/// of no use then. Less than the margin of the shortest lease.
pub const STORE_CLOCK_SET: Duration = Duration::from_millis(250);
/// Time by which the log may lie ahead of the wall clock at the start and still be believed.
pub const LOG_AHEAD: Duration = Duration::from_secs(26 * 3600);
/// Time for which a node without heartbeats stays listed.
pub const NODE_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most attempts on other nodes whose work a record lists: lost nodes come to an end much earlier, and nobody drains nodes
/// more often than this while one agent waits.
pub const LEFT_WORK: usize = 50;
/// Most refs of one agent that a node reports; a tree with more branches is told by the first.
pub const REPORTED_REFS: usize = 20;
/// Longest wait for a connection to another node.
pub const PEER_CONNECT: Duration = Duration::from_secs(2);
/// Longest wait for the head of another node's answer: a large diff takes it some seconds.
pub const PEER_ANSWER: Duration = Duration::from_secs(30);
/// Longest silence in the body of another node's answer; live streams have a heartbeat every 15 s.
pub const PEER_STALL: Duration = Duration::from_secs(60);
/// Longest time by which a node takes a lease for over earlier than the store does: what runs is frozen and killed in that
/// time, before another node may start the agent. A kill takes 13–23 ms past its grace, and a lease's end gives none; the
/// rest is for machines that are slow and clocks that run at other speeds.
pub const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// The part of a short lease that is its margin instead.
pub const LEASE_MARGIN_PART: u32 = 4;
/// Heartbeats in the time of one lease, so that two may fail.
pub const HEARTBEATS_PER_LEASE: u32 = 4;
/// Longest time between two heartbeats: where leases never end, and where they are long.
pub const NODE_HEARTBEAT: Duration = Duration::from_secs(5);
/// Time that must be left of a lease for a push to start; of a lease shorter than twice this, half of it.
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
pub const SPREAD_PERIOD: Duration = NODE_HEARTBEAT;
/// Entries at the front of the queue that are looked at for the one that this node would take.
pub const SPREAD_LOOK: usize = 8;
/// Time after which a caller looks again at a record that another node writes, when nothing was announced.
pub const ELSEWHERE_LOOK: Duration = Duration::from_millis(250);
/// Agents of lost nodes that are returned to the queue in one round.
pub const LAPSED: usize = 200;
/// Pause before an agent whose earlier attempt's tree could not be kept here is tried again.
pub const MOVED_AGENT_RETRY: Duration = Duration::from_secs(30);
/// Least time between a change and the heartbeat that it causes: many changes cause one.
pub const CHANGE_HEARTBEAT: Duration = Duration::from_millis(400);
