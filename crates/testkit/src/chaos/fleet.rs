//! The fleet's storm: several nodes on one Valkey while tasks keep coming; nodes are killed, stopped and cut off, the store is killed
//! and started again. At the end everything is counted: nothing acknowledged is lost, no task ever has two live agents, and
//! no push is one of an earlier holder. Orders to stop are given while the store is away or on a node that is cut off, see
//! [`super::stop_orders`], and the store fails over to its replica.

mod figures;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mosaic_api::{AgentView, Code, Queue, Spawned, Status};
use rustix::process::Signal;

pub use figures::{Figures, Wanted};
use node::{LEASE, Node, Trouble};

use super::api::Api;
use super::dice::Dice;
use super::scene::has_ended;
use super::server::Server;
use super::stop_orders::{Look, StopOrder, running_on};
use super::sweep::{self, Violation};
use super::testbed::Testbed;
use super::{Outcome, Programs, while_};
use crate::tcp_proxy::TcpProxy;
use crate::valkey_server::ValkeyServer;

/// Agents at once on a node.
const SLOTS: u32 = 4;
/// Unfinished tasks from which on nothing more is asked for.
const BACKLOG: usize = 60;
/// Longest time for one task to end after the storm, on a machine with other work to do.
const EACH: Duration = Duration::from_secs(3);
/// Most nodes that a task may lose here: with leases this short a node is in trouble every few seconds.
const RETRIES: u32 = 9;
/// Longest wait for a node to listen.
const START: Duration = Duration::from_secs(60);

/// Options that protect a primary that lost its replica, with the shortest lag that there is.
const GUARDED: [&str; 4] = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"];

/// Waits until the replica of a server follows it.
fn in_step(primary: &ValkeyServer) -> Outcome<()> {
    let deadline = Instant::now() + START;
    while !primary.ask_all("INFO replication").is_ok_and(|info| info.contains("state=online")) {
        if Instant::now() > deadline {
            return Err("the store's replica does not follow it".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Troubles that every storm begins with, however short it is: the store away with an order, a node cut off with an order, a
/// failover of each kind.
const FIRST: u64 = 4;

/// The nodes, their store, and what callers know.
struct Fleet {
    place: Testbed,
    programs: Programs,
    valkey: ValkeyServer,
    /// The server that has everything that the store acknowledged, and takes its place in a failover.
    replica: ValkeyServer,
    /// When the killed store comes back.
    store_back: Option<Instant>,
    nodes: Vec<Node>,
    acknowledged: BTreeMap<String, String>,
    unanswered: BTreeSet<String>,
    faults: Vec<String>,
    /// Troubles that were made.
    made: u64,
    /// The order to stop that is not judged yet.
    order: Option<StopOrder>,
    /// The tasks that an order to stop may have ended.
    stopped: BTreeSet<String>,
    figures: Figures,
}

/// Runs a storm; `None` when there is no Valkey here and nobody requires one.
pub fn run(programs: &Programs, wanted: Wanted, evidence: Option<&PathBuf>) -> Outcome<Option<Figures>> {
    let Some(valkey) = ValkeyServer::start_with(&GUARDED) else { return Ok(None) };
    // By order, not by option: started again, either of them is what it was made last.
    let Some(replica) = ValkeyServer::start_with(&GUARDED) else { return Ok(None) };
    let follow = format!("REPLICAOF 127.0.0.1 {}", valkey.port());
    replica.ask(&follow).map_err(while_("a replica"))?;
    let mut fleet = Fleet::new(programs, [valkey, replica], wanted.nodes)?;
    let mut dice = Dice::new(wanted.seed);
    let begun = Instant::now();
    let mut next_trouble = begun + Duration::from_secs(2);
    let mut asked = 0;
    while asked < wanted.tasks || !fleet.unanswered.is_empty() || fleet.order.is_some() || fleet.made < FIRST
    {
        let now = Instant::now();
        fleet.heal(Some(now))?;
        std::thread::sleep(Duration::from_millis(20));
        if fleet.order.is_some() {
            fleet.follow_order();
            continue;
        }
        if now >= next_trouble {
            fleet.trouble(&mut dice, wanted.tasks);
            next_trouble = now + Duration::from_millis(700 + dice.below(2500));
        }
        asked += fleet.visit(&mut dice, asked, wanted.tasks);
    }
    fleet.figures.storm = begun.elapsed();
    let calm = Instant::now();
    fleet.heal(None)?;
    fleet.judge(wanted)?;
    fleet.figures.calm = calm.elapsed();
    if let Some(dir) = evidence.filter(|_| !fleet.figures.violations.is_empty()) {
        fleet.place.keep_evidence(&dir.join(format!("fleet-{}", wanted.seed)))?;
    }
    Ok(Some(fleet.figures))
}

impl Fleet {
    fn new(programs: &Programs, [valkey, replica]: [ValkeyServer; 2], count: usize) -> Outcome<Self> {
        let place = Testbed::new(SLOTS, None)?;
        in_step(&valkey)?;
        let store = SocketAddr::from((Ipv4Addr::LOCALHOST, valkey.port()));
        let mut nodes = Vec::new();
        for number in 1..=count {
            let name = format!("node-{number}");
            let listener = TcpListener::bind("127.0.0.1:0").map_err(while_("a port"))?;
            let port = listener.local_addr().map_err(while_("a port"))?.port();
            let data = place.dir().join(&name);
            let wire = TcpProxy::lay(store).map_err(while_("a wire"))?;
            // Peers are told this port before the node listens on it. It is held until the wire has its own, so that
            // the two cannot be the same.
            drop(listener);
            let mut node = Node { name, data, port, wire, server: None, trouble: None };
            node.start(programs, &place)?;
            nodes.push(node);
        }
        let figures = Figures { nodes: count, ..Figures::default() };
        let (acknowledged, unanswered, faults) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        let programs = programs.clone();
        let mut fleet = Self {
            place,
            programs,
            valkey,
            replica,
            store_back: None,
            nodes,
            acknowledged,
            unanswered,
            faults,
            made: 0,
            order: None,
            stopped: BTreeSet::new(),
            figures,
        };
        for node in &mut fleet.nodes {
            node.api(START).ok_or_else(|| format!("{} does not listen; see server.log", node.name))?;
        }
        Ok(fleet)
    }

    /// Ends what has lasted long enough; everything when no time is given.
    fn heal(&mut self, now: Option<Instant>) -> Outcome<()> {
        if self.store_back.is_some_and(|at| now.is_none_or(|now| now >= at)) {
            self.valkey.restart();
            in_step(&self.valkey)?;
            self.place.note("the store is back");
            self.store_back = None;
        }
        if self.store_back.is_none() {
            for node in &mut self.nodes {
                node.heal(&self.programs, &self.place, now)?;
            }
        }
        Ok(())
    }

    /// Tells whether every node answers and the store is there.
    fn is_well(&mut self) -> bool {
        // The queue is read from the store, so this answer shows that the node reaches the store again and not only
        // that it lives.
        let answers = |node: &mut Node| {
            node.api(Duration::from_millis(1))
                .is_some_and(|api| api.get::<Queue>("/v1/queue?limit=1").is_ok())
        };
        self.store_back.is_none() && self.nodes.iter_mut().all(answers)
    }

    /// Has the replica take the store's place; the address that every node knows leads to it. The server before follows it.
    fn fail_over(&mut self, planned: bool) -> Outcome<()> {
        self.place.note(if planned {
            "the store fails over"
        } else {
            "the store dies, its replica takes its place"
        });
        let promoted = match planned {
            true => self.valkey.ask("FAILOVER"),
            false => {
                self.valkey.kill();
                self.replica.ask("REPLICAOF NO ONE")
            }
        };
        promoted.map_err(while_("a failover"))?;
        let deadline = Instant::now() + START;
        while !self.replica.ask_all("INFO replication").is_ok_and(|info| info.contains("role:master")) {
            if Instant::now() > deadline {
                return Err("the store's replica does not take its place".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.replica.port()));
        self.nodes.iter().for_each(|node| node.wire.lead_to(to));
        std::mem::swap(&mut self.valkey, &mut self.replica);
        if !planned {
            self.replica.restart();
            let follow = format!("REPLICAOF 127.0.0.1 {}", self.valkey.port());
            self.replica.ask(&follow).map_err(while_("a former primary"))?;
        }
        in_step(&self.valkey)?;
        self.figures.failovers += 1;
        Ok(())
    }

    /// Gives an order to stop on a node that cannot reach the store, or will not be able to in a moment.
    fn order(&mut self, node: usize, running: &[String], dice: &mut Dice) {
        let (api, name) =
            (self.nodes[node].server.as_mut().and_then(|s| s.api_by(Instant::now())), &self.nodes[node].name);
        let Some(api) = api else { return };
        match StopOrder::give(&api, name, running, dice) {
            Ok(Some(order)) => {
                self.place.note(&order.name());
                self.figures.orders += 1;
                let known = self.acknowledged.keys().chain(&self.unanswered);
                self.stopped.extend(known.cloned());
                self.order = Some(order);
            }
            Ok(None) => {}
            // Nothing that was ordered may be refused because the store is away.
            Err(why) => self.faults.push(format!("an order to stop was not taken: {why}")),
        }
    }

    /// Judges the order that was given, once everything is well, and lets things go on.
    fn follow_order(&mut self) {
        let well = self.is_well();
        let Some(order) = &mut self.order else { return };
        match order.look(&self.place, well) {
            Look::Wait => return,
            Look::Kept => {}
            Look::Broken(text) => {
                self.figures.outlived += 1;
                self.faults.push(text);
            }
        }
        let api = self.nodes.iter_mut().find_map(|node| node.api(Duration::from_millis(1)));
        if api.is_some_and(|api| order.lift(&api)) {
            self.place.note("the order is judged");
            self.order = None;
        }
    }

    /// Makes trouble somewhere. At least one node stays well.
    fn trouble(&mut self, dice: &mut Dice, tasks: usize) {
        let well: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].trouble.is_none()).collect();
        let kind = match self.made {
            0 | 2 | 3 => 0,
            1 => 9,
            _ => dice.below(10),
        };
        // Orders take time, because nothing else happens until they are judged.
        let wanted = self.made < 2 || dice.below(2) == 0;
        let orders = wanted && self.figures.orders < 3 + tasks / 100;
        if kind < 2 {
            return self.store_trouble(&well, orders, dice);
        }
        if well.len() < 2 {
            return;
        }
        self.made += 1;
        let chosen = well[dice.below(well.len() as u64) as usize];
        let running = self.running_on(chosen);
        let node = &mut self.nodes[chosen];
        // Half of them last longer than a lease, up to twice as long.
        let lease = LEASE.as_millis() as u64;
        let until = Instant::now() + Duration::from_millis(300 + dice.below(2 * lease));
        let what = match kind {
            2..=5 => {
                if let Some(mut server) = node.server.take() {
                    server.kill_9();
                }
                self.figures.killed += 1;
                node.trouble = Some(Trouble::Dead(until));
                "killed"
            }
            6 | 7 => {
                node.signal(Signal::STOP);
                self.figures.stopped += 1;
                node.trouble = Some(Trouble::Stopped(until));
                "stopped"
            }
            _ => {
                node.wire.cut();
                self.figures.cut_off += 1;
                node.trouble = Some(Trouble::CutOff(until));
                "cut off"
            }
        };
        self.place.note(&format!("{} is {what}", node.name));
        if orders && what == "cut off" {
            self.order(chosen, &running, dice);
        }
    }

    /// Kills the store for a while, or has it fail over.
    fn store_trouble(&mut self, well: &[usize], orders: bool, dice: &mut Dice) {
        if self.store_back.is_some() {
            return;
        }
        let fails_over = match self.made {
            0 => None,
            2 | 3 => Some(self.made == 2),
            _ => (dice.below(3) == 0).then(|| dice.below(2) == 0),
        };
        self.made += 1;
        match fails_over {
            None => self.kill_store(well, orders, dice),
            Some(planned) => {
                let done = self.fail_over(planned);
                self.faults.extend(done.err());
            }
        }
    }

    /// Returns what a node runs, by the word of any node that is well.
    fn running_on(&mut self, node: usize) -> Vec<String> {
        let name = self.nodes[node].name.clone();
        let api = self.nodes.iter_mut().find_map(|node| node.api(Duration::from_millis(1)));
        api.map_or_else(Vec::new, |api| running_on(&api, &name))
    }

    /// Kills the store for a while, with an order to stop on a node that is well when there is to be one.
    fn kill_store(&mut self, well: &[usize], orders: bool, dice: &mut Dice) {
        let chosen = well.first().copied();
        let running = chosen.map(|node| self.running_on(node)).unwrap_or_default();
        self.place.note("the store is killed");
        self.valkey.kill();
        self.store_back = Some(Instant::now() + Duration::from_millis(200 + dice.below(3000)));
        self.figures.stores_killed += 1;
        if let Some(node) = chosen.filter(|_| orders) {
            self.order(node, &running, dice);
        }
    }

    /// Acts as callers do: repeats spawns that got no answer, and asks for new tasks. Returns the number of new tasks.
    fn visit(&mut self, dice: &mut Dice, asked: usize, most: usize) -> usize {
        let well: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].trouble.is_none()).collect();
        if well.is_empty() || self.store_back.is_some() {
            return 0;
        }
        let node = well[dice.below(well.len() as u64) as usize];
        let Some(api) = self.nodes[node].api(Duration::from_millis(1)) else { return 0 };
        for task in self.unanswered.clone().into_iter().take(3) {
            self.spawn(&api, &task);
        }
        let Ok(Queue { counts, .. }) = api.get("/v1/queue?limit=1") else { return 0 };
        if (counts.waiting + counts.delayed + counts.active) as usize >= BACKLOG {
            return 0;
        }
        let more = (most - asked).min(1 + dice.below(5) as usize);
        for number in asked..asked + more {
            self.spawn(&api, &format!("fleet-{number}"));
        }
        more
    }

    /// Asks for a task; the answer is an acknowledgement or nothing.
    fn spawn(&mut self, api: &Api, task: &str) {
        match api.send("POST", "/v1/agents", Some(task), Some(&self.place.task(task, RETRIES))) {
            Ok(answer) if answer.is_success() => {
                self.unanswered.remove(task);
                match answer.read::<Spawned>() {
                    Ok(spawned) => drop(self.acknowledged.insert(task.to_owned(), spawned.agent_id)),
                    Err(why) => self.faults.push(format!("the spawn of {task}: {why}")),
                }
            }
            // The switch is released in a moment.
            Ok(answer) if answer.is_refused(409, Code::DispatchStopped) => {
                self.unanswered.insert(task.to_owned());
            }
            Ok(answer) if answer.status < 500 => {
                self.unanswered.remove(task);
                self.faults.push(format!("the spawn of {task} was answered {answer}"));
            }
            Ok(_) | Err(_) => drop(self.unanswered.insert(task.to_owned())),
        }
    }

    /// Waits until every agent has ended; returns the agents as they are then.
    fn settle(&mut self, deadline: Instant) -> Outcome<(Api, Vec<AgentView>)> {
        loop {
            self.heal(None)?;
            let api = self.nodes.iter_mut().find_map(|node| node.api(Duration::from_secs(5)));
            let agents = api.as_ref().and_then(|api| api.agents().ok());
            if let (Some(api), Some(agents)) = (api, agents)
                && (Instant::now() > deadline || agents.iter().all(has_ended))
            {
                return Ok((api, agents));
            }
            if Instant::now() > deadline + START {
                return Err("no node answers any more; see server.log".to_owned());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn judge(&mut self, wanted: Wanted) -> Outcome<()> {
        let expected = u32::try_from(wanted.tasks.min(BACKLOG * 2)).unwrap_or(u32::MAX);
        let (api, agents) = self.settle(Instant::now() + EACH * expected + LEASE * 4)?;
        let mut found: Vec<Violation> =
            self.faults.drain(..).map(|text| Violation::new("RUN", text)).collect();
        sweep::records(&self.place, &self.acknowledged, &agents, &api.events()?, &mut found);
        for agent in &agents {
            sweep::completed_means_pushed(&self.place, agent, &mut found);
        }
        let stale = self.stale_pushes(&agents);
        found.extend(stale.iter().map(|text| Violation::new("PUSH", text.clone())));
        // A fault of a node or of the store is none of the task's.
        let ordered = |agent: &AgentView| {
            agent.status.status == Status::Killed && self.stopped.contains(&agent.status.task_id)
        };
        let is_wrong = |agent: &&AgentView| agent.status.status != Status::Completed && !ordered(agent);
        for agent in agents.iter().filter(is_wrong) {
            found.push(Violation::new("END", sweep::brief(agent)));
        }
        let servers: Vec<u32> =
            self.nodes.iter().filter_map(|node| node.server.as_ref().map(Server::pid)).collect();
        let left = self.place.processes(None, &[]).into_iter();
        let is_server =
            |line: &String| servers.iter().any(|pid| line.starts_with(&format!("process {pid}:")));
        found.extend(left.filter(|line| !is_server(line)).map(|line| Violation::new("I4", line)));
        let figures = &mut self.figures;
        figures.tasks = self.acknowledged.len();
        (figures.runs, figures.pushes) = (self.place.log("start").len(), self.place.log("push").len());
        figures.lost = found.iter().filter(|violation| ["I1", "I3"].contains(&violation.invariant)).count();
        figures.two_alive = found.iter().filter(|violation| violation.invariant == "I2").count();
        figures.stale_pushes = stale.len();
        for agent in &agents {
            let reason = agent.status.end_reason.map_or("null".to_owned(), |reason| reason.to_string());
            let end = format!("{} {reason}", agent.status.status);
            *figures.ends.entry(end).or_default() += 1;
        }
        figures.violations = found;
        Ok(())
    }

    /// Returns the pushes of a run after a newer run of the same agent had started. Which run made a commit stands in its
    /// work file; starts and pushes stand in one log, in the order in which they happened.
    fn stale_pushes(&self, agents: &[AgentView]) -> Vec<String> {
        let mut newest: BTreeMap<String, String> = BTreeMap::new();
        let by_branch: BTreeMap<String, &str> = agents
            .iter()
            .filter_map(|agent| {
                let of = &agent.status;
                Some((format!("refs/heads/{}", of.branch.as_ref()?), of.agent_id.as_str()))
            })
            .collect();
        let mut stale = Vec::new();
        for fields in self.place.all_log() {
            match fields.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["start", agent, pid] => drop(newest.insert((*agent).to_owned(), (*pid).to_owned())),
                ["push", commit, branch] => {
                    let Some(agent) = by_branch.get(*branch) else { continue };
                    let show = ["log", "-1", "-p", "--format=", commit, "--"];
                    // The hook writes before anything is taken: a push that was ended then left nothing there.
                    let Some(made) = self.place.remote.try_run(&self.place.remote.remote(), &show) else {
                        continue;
                    };
                    let run = newest.get(*agent).map(|pid| format!("+{agent}-{pid}-last"));
                    if !run.as_ref().is_some_and(|run| made.lines().any(|line| line == run)) {
                        stale.push(format!("{commit} on {branch} is not of the newest run {run:?}"));
                    }
                }
                _ => {}
            }
        }
        stale
    }
}
