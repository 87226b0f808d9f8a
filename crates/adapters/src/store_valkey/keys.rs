//! Every key there is. Ours are published (anyone may `GET` an agent or a task), those of the queue are BullMQ's. Scripts get
//! what both kinds begin with and add the rest; a test compares what they add with this list.

use mosaic_core::domain::ids::{AgentId, TaskId};

/// The name of the queue.
const QUEUE: &str = "orchestrator-tasks";

/// A key, or a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "some keys are used by scripts only, which a test compares with this list")
)]
pub(super) enum Key<'a> {
    /// An agent's record as JSON.
    Agent(AgentId),
    /// A task's record as JSON.
    Task(&'a TaskId),
    /// Sorted set by admission: the agents of one status.
    Agents(&'a str),
    /// Sorted set by admission: failed although every attempt was used.
    Dead,
    /// Sorted set by end: `<seq>:<agent>` of what has ended.
    Ended,
    /// Sorted set by admission: what is held under a lease.
    Leased,
    /// Hash from `<type>:<task>` to the agent that works on it.
    Active,
    /// An idempotency key by its digest: fingerprint, agent, time.
    Idempotency(&'a str),
    /// Counts admissions.
    Admitted,
    /// Counts logged facts.
    Facts,
    /// The index of lists: the words of a block of records, column by column.
    Index(u64),
    /// The ids of a block of records.
    Ids(u64),
    /// Stream of logged facts; the id is `<number>-0`.
    Log,
    /// Channel: every logged fact in its envelope.
    Events,
    /// Channel: something changed that no fact needs to say.
    Changes,
    /// Why dispatch is paused, as JSON; whether it is says the queue's own switch.
    Pause,
    /// Hash: the barrier and the latch as JSON.
    Orders,
    /// Hash from agent to the order to end it.
    Kills,
    /// Hash from node to what it said last and when.
    Nodes,
    /// Hash from node to the order that it takes nothing new.
    Cordons,
    /// Hash from node to the declaration that it is lost for good.
    LostNodes,
    /// Hash from node to its report of what it keeps of an agent.
    Work(AgentId),
    /// The newest format that any node has written.
    Format,
    /// The secret that nodes show each other.
    PeerSecret,
    /// Sorted set by time of removal: the agents that were removed.
    Tombstones,
    /// Hash from removed agent to why it was removed.
    TombstoneReasons,
    /// By agent: the node that removed it.
    TombstoneNodes,
    /// Stream: what was set aside and why.
    Quarantine,
    /// A record that was set aside, as it was.
    Quarantined(AgentId),
    /// Written to see whether a write is possible.
    Check,
    /// The queue's settings.
    Meta,
    /// Job ids without priority, the next one last.
    Wait,
    /// Sorted set of jobs by priority and order.
    Prioritized,
    /// Sorted set of jobs by due time.
    Delayed,
    /// Jobs that are suspected to have lost their worker.
    Stalled,
    /// Jobs that somebody works on.
    ActiveJobs,
    /// Sorted set by end: completed jobs.
    Completed,
    /// Sorted set by end: failed jobs.
    Failed,
    /// Counts jobs.
    JobId,
    /// Counts prioritized jobs.
    PriorityCounter,
    /// Wakes workers.
    Marker,
    /// Stream of the queue's events.
    JobEvents,
    /// Stands as long as the next look for such jobs is not due.
    StalledCheck,
    /// Sorted set of jobs that wait for their children.
    WaitingChildren,
    /// Counts starts against the queue's rate.
    Limiter,
    /// The job that stands for its duplicates.
    Deduplication(&'a str),
    /// Sorted set by time: jobs that others may have done something to.
    Others,
    /// Hash: how far the queue's events were read, and how far its lists were looked through.
    OthersSeen,
    /// Stands as long as the next look through the lists is not due.
    OthersTurn,
    /// Hash from the job of another producer to the agent that was made of it.
    Tied,
    /// A job.
    Job(&'a str),
    /// The lock of a job, which names its holder.
    JobLock(&'a str),
    /// A job's log.
    JobLogs(&'a str),
}

/// The prefixes of the names of keys.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The prefix of our own keys.
    pub(super) ours: String,
    /// The prefix of the queue's keys.
    pub(super) queue: String,
}

impl Names {
    /// Makes the names for this prefix; without one they are exactly the published ones.
    pub(super) fn new(prefix: &str) -> Self {
        let before = if prefix.is_empty() { String::new() } else { format!("{prefix}:") };
        Self { ours: format!("{before}orchestrator:"), queue: format!("{before}bull:{QUEUE}:") }
    }

    /// Returns the two beginnings, which every script gets as its keys.
    pub(super) fn both(&self) -> [String; 2] {
        [self.ours.clone(), self.queue.clone()]
    }

    /// Returns the full name of a key.
    pub(super) fn of(&self, key: Key<'_>) -> String {
        let ours = |rest: &str| format!("{}{rest}", self.ours);
        let queue = |rest: &str| format!("{}{rest}", self.queue);
        match key {
            Key::Agent(id) => ours(&format!("agent:{id}")),
            Key::Task(id) => ours(&format!("task:{id}")),
            Key::Agents(status) => ours(&format!("agents:{status}")),
            Key::Dead => ours("dead"),
            Key::Ended => ours("ended"),
            Key::Leased => ours("leased"),
            Key::Active => ours("active"),
            Key::Idempotency(digest) => ours(&format!("idempotency:{digest}")),
            Key::Admitted => ours("admitted"),
            Key::Facts => ours("facts"),
            Key::Index(block) => ours(&format!("index:{block}")),
            Key::Ids(block) => ours(&format!("ids:{block}")),
            Key::Log => ours("log"),
            Key::Events => ours("events"),
            Key::Changes => ours("stir"),
            Key::Pause => ours("pause"),
            Key::Orders => ours("orders"),
            Key::Kills => ours("kills"),
            Key::Nodes => ours("nodes"),
            Key::Cordons => ours("cordons"),
            Key::LostNodes => ours("lost"),
            Key::Work(id) => ours(&format!("work:{id}")),
            Key::Format => ours("format"),
            Key::PeerSecret => ours("peer-secret"),
            Key::Tombstones => ours("tombstones"),
            Key::TombstoneReasons => ours("tombstones:why"),
            Key::TombstoneNodes => ours("tombstones:node"),
            Key::Quarantine => ours("quarantine"),
            Key::Quarantined(id) => ours(&format!("quarantine:{id}")),
            Key::Check => ours("check"),
            Key::Meta => queue("meta"),
            Key::Wait => queue("wait"),
            Key::Prioritized => queue("prioritized"),
            Key::Delayed => queue("delayed"),
            Key::Stalled => queue("stalled"),
            Key::ActiveJobs => queue("active"),
            Key::Completed => queue("completed"),
            Key::Failed => queue("failed"),
            Key::JobId => queue("id"),
            Key::PriorityCounter => queue("pc"),
            Key::Marker => queue("marker"),
            Key::JobEvents => queue("events"),
            Key::StalledCheck => queue("stalled-check"),
            Key::WaitingChildren => queue("waiting-children"),
            Key::Limiter => queue("limiter"),
            Key::Deduplication(id) => queue(&format!("de:{id}")),
            Key::Others => ours("others"),
            Key::OthersSeen => ours("others:seen"),
            Key::OthersTurn => ours("others:turn"),
            Key::Tied => ours("tied"),
            Key::Job(id) => queue(id),
            Key::JobLock(id) => queue(&format!("{id}:lock")),
            Key::JobLogs(id) => queue(&format!("{id}:logs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use mosaic_core::domain::agent::Status;

    use super::*;

    const ID: AgentId = AgentId(uuid::Uuid::nil());

    fn every<'a>(task: &'a TaskId) -> Vec<Key<'a>> {
        vec![
            Key::Agent(ID),
            Key::Task(task),
            Key::Agents(""),
            Key::Dead,
            Key::Ended,
            Key::Leased,
            Key::Active,
            Key::Idempotency(""),
            Key::Admitted,
            Key::Facts,
            Key::Log,
            Key::Events,
            Key::Changes,
            Key::Pause,
            Key::Orders,
            Key::Kills,
            Key::Nodes,
            Key::Cordons,
            Key::LostNodes,
            Key::Work(ID),
            Key::Format,
            Key::PeerSecret,
            Key::Stalled,
            Key::Tombstones,
            Key::TombstoneReasons,
            Key::TombstoneNodes,
            Key::Quarantine,
            Key::Quarantined(ID),
            Key::Check,
            Key::Meta,
            Key::Wait,
            Key::Prioritized,
            Key::Delayed,
            Key::ActiveJobs,
            Key::Completed,
            Key::Failed,
            Key::JobId,
            Key::PriorityCounter,
            Key::Marker,
            Key::JobEvents,
            Key::StalledCheck,
            Key::WaitingChildren,
            Key::Limiter,
            Key::Deduplication(""),
            Key::Others,
            Key::OthersSeen,
            Key::OthersTurn,
            Key::Tied,
        ]
    }

    #[test]
    fn names_are_the_published_ones_behind_the_prefix() {
        let task = "US-1".parse().unwrap();
        assert_eq!(Names::new("").of(Key::Task(&task)), "orchestrator:task:US-1");
        assert_eq!(Names::new("").of(Key::Wait), "bull:orchestrator-tasks:wait");
        let tagged = Names::new("{m}");
        assert_eq!(tagged.of(Key::JobLock("7")), "{m}:bull:orchestrator-tasks:7:lock");
        assert_eq!(tagged.of(Key::JobLogs("7")), "{m}:bull:orchestrator-tasks:7:logs");
        assert!(tagged.both().iter().all(|beginning| beginning.starts_with("{m}:")));
    }

    #[test]
    fn scripts_use_no_key_that_is_not_listed() {
        let task = "x".parse().unwrap();
        let names = Names { ours: "O:".to_owned(), queue: "K:".to_owned() };
        let mut listed: Vec<String> = every(&task).into_iter().map(|key| names.of(key)).collect();
        for variable in [
            Key::Agent(ID),
            Key::Work(ID),
            Key::Quarantined(ID),
            Key::Task(&task),
            Key::Index(0),
            Key::Ids(0),
        ] {
            let name = names.of(variable);
            let cut = name.rfind(':').unwrap();
            listed.push(name[..=cut].to_owned());
        }
        listed.extend(Status::ALL.iter().map(|status| names.of(Key::Agents(status.as_str()))));
        let mut found = 0;
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store_valkey/scripts");
        for entry in std::fs::read_dir(scripts).unwrap() {
            let file = entry.unwrap().path();
            let (text, file) = (std::fs::read_to_string(&file).unwrap(), file.display());
            for kind in ["O", "K"] {
                for use_ in text.split(&format!("{kind} .. '")).skip(1) {
                    let name = format!("{kind}:{}", use_.split('\'').next().unwrap());
                    assert!(listed.contains(&name), "{file} uses {name}");
                    found += 1;
                }
            }
        }
        assert!(found > 50, "only {found} uses were found");
    }
}
