//! Cost of a task in a repository in which many agents ran before: processor time of the server and of everything that
//! it started, per task, after 0, 4,000 and 10,000 agents whose refs are kept. The branches that the tasks push are deleted
//! from the remote after each batch, so that only the kept refs grow. At the end the remote itself gets branches. A remote on
//! this disk is served by git programs that count as ours; so the last two rows ask it over http, where its own programs are not
//! among the server's children.

use std::fs;
use std::path::Path;

use mosaic_api::Event;
use mosaic_testkit::git_http_server::{GitHttpServer, Mood};

use crate::server::Server;
use crate::table::Table;
use crate::{Options, Outcome, remote};

/// Number of agents that ran before.
const EARLIER: [usize; 3] = [0, 4_000, 10_000];
/// Branches that the remote has at the end.
const BRANCHES: usize = 10_000;
/// Tasks before the first measurement: caches, the repository's first fetch.
const WARM_UP: usize = 10;
/// The growth that is allowed.
const TARGET: f64 = 1.2;

/// Measures each number of earlier agents in one server.
pub(crate) fn run(options: &Options, dir: &Path, table: &mut Table) -> Outcome<()> {
    fs::create_dir_all(dir)?;
    let bare = remote::make(dir)?;
    let server = Server::start(&options.mosaic, dir, 4, "sh -c 'echo done > \"note-$MOSAIC_TASK_ID.txt\"'")?;
    let mut next = 0;
    let here = Remote { bare: &bare, address: bare.to_string_lossy().into_owned() };
    batch(&server, &here, WARM_UP, &mut next)?;
    let mut first = None;
    for earlier in EARLIER {
        leave(&server, earlier)?;
        let cost = batch(&server, &here, options.tasks, &mut next)?;
        let first = *first.get_or_insert(cost);
        let (target, met) = match earlier {
            0 => (String::new(), None),
            _ => (format!("≤ {:.0} ms", first * TARGET), Some(cost <= first * TARGET)),
        };
        table.row(&format!("CPU per task after {earlier} agents"), &format!("{cost:.0} ms"), &target, met);
    }
    let served = GitHttpServer::start(dir, Mood::Honest);
    let apart = Remote { bare: &bare, address: served.url("remote.git") };
    batch(&server, &apart, WARM_UP, &mut next)?;
    let first = batch(&server, &apart, options.tasks, &mut next)?;
    table.row("CPU per task over http, the remote's own left out", &format!("{first:.0} ms"), "", None);
    remote::add_branches(&bare, "old/", BRANCHES)?;
    let cost = batch(&server, &here, options.tasks, &mut next)?;
    let what = format!("CPU per task and {BRANCHES} branches on the remote, the remote's own counted");
    table.row(&what, &format!("{cost:.0} ms"), "", None);
    let cost = batch(&server, &apart, options.tasks, &mut next)?;
    let what =
        format!("CPU per task and {BRANCHES} branches on the remote over http, the remote's own left out");
    let (target, met) = (format!("≤ {:.0} ms", first * TARGET), cost <= first * TARGET);
    table.row(&what, &format!("{cost:.0} ms"), &target, Some(met));
    server.stop()
}

/// A remote, and the address that tasks name.
struct Remote<'a> {
    bare: &'a Path,
    address: String,
}

/// Runs tasks to their ends and returns the milliseconds of processor time that each took.
fn batch(server: &Server, remote: &Remote<'_>, tasks: usize, next: &mut usize) -> Outcome<f64> {
    let mut client = server.client()?;
    let mut events = server.client()?.events("agent.completed,agent.failed,agent.killed")?;
    let before = ticks(server.pid())?;
    for _ in 0..tasks {
        *next += 1;
        let body = serde_json::json!({
            "taskId": format!("task-{next}"), "agentType": "worker", "gateProfile": "minimal",
            "context": {"repository": &remote.address, "branch": "main", "workItems": ["write the note"]},
        });
        client.done("POST", "/agents/spawn", &body.to_string())?;
    }
    for _ in 0..tasks {
        let event = events.next()?;
        if !matches!(event, Event::AgentCompleted(_)) {
            return Err(format!("an agent ended with {event}").into());
        }
    }
    let used = ticks(server.pid())? - before;
    remote::delete_branches(remote.bare, "mosaic/")?;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(used as f64 * 1000.0 / per_second / tasks as f64)
}

/// Leaves what this many agents leave in the bare repository: the ref of their newest commit, in a file.
fn leave(server: &Server, agents: usize) -> Outcome<()> {
    let repos = fs::read_dir(server.data().join("repos"))?;
    let is_bare = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "git");
    let store = repos.flatten().map(|entry| entry.path()).find(is_bare).ok_or("there is no repository")?;
    let tip = fs::read_to_string(store.join("refs/heads/main"))?;
    for number in 0..agents {
        let dir = store.join(format!("refs/agents/{number:08x}-0000-4000-8000-000000000000"));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("head"), &tip)?;
    }
    Ok(())
}

/// Reads the processor time of a process and of its children that have ended, in clock ticks.
fn ticks(pid: u32) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit_once(')').ok_or("no process")?.1.split_whitespace().collect();
    let times = fields.get(11..15).ok_or("no times")?;
    Ok(times.iter().filter_map(|time| time.parse::<u64>().ok()).sum())
}
