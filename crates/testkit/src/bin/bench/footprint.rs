//! Costs of the program when nothing happens: its start, its memory at rest, and its memory per running agent.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::server::Server;
use crate::table::{Table, median};
use crate::{Options, Outcome, remote};

/// Starts that are measured.
const STARTS: usize = 10;
/// Rest before memory is read, so that what the start needed is over.
const REST: Duration = Duration::from_secs(2);
/// Longest wait for all agents to run.
const RUNNING: Duration = Duration::from_secs(60);
/// Start to listening, in milliseconds.
const START_TARGET: f64 = 150.0;
/// Memory at rest, in MiB.
const IDLE_TARGET: f64 = 30.0;
/// An agent that does nothing for longer than the benchmark takes.
const SLEEPER: &str = "sleep 600";

/// Measures start, memory at rest and memory per agent.
pub(crate) fn run(options: &Options, dir: &Path, table: &mut Table) -> Outcome<()> {
    let mut starts = Vec::new();
    for number in 0..STARTS {
        let server = Server::start(&options.mosaic, &dir.join(format!("start-{number}")), 1, SLEEPER)?;
        starts.push(server.start.as_secs_f64() * 1000.0);
        server.stop()?;
    }
    let start = median(&starts);
    let figure =
        format!("{start:.0} ms (slowest of {STARTS}: {:.0} ms)", starts.iter().copied().fold(0.0, f64::max));
    table.row("start to first answer, empty store", &figure, "≤ 150 ms", Some(start <= START_TARGET));

    let place = dir.join("agents");
    std::fs::create_dir_all(&place)?;
    let bare = remote::make(&place)?;
    let server = Server::start(&options.mosaic, &place, options.agents, SLEEPER)?;
    std::thread::sleep(REST);
    let idle = Memory::of(server.pid())?;
    table.row(
        "memory at rest (VmRSS)",
        &format!("{:.1} MiB", idle.rss),
        "≤ 30 MiB",
        Some(idle.rss <= IDLE_TARGET),
    );
    agents(options, &server, &bare, &idle, table)?;
    server.client()?.done("POST", "/agents/kill-all", "")?;
    server.stop()
}

fn agents(options: &Options, server: &Server, bare: &Path, idle: &Memory, table: &mut Table) -> Outcome<()> {
    let mut client = server.client()?;
    for number in 1..=options.agents {
        let body = serde_json::json!({
            "taskId": format!("sleep-{number}"), "agentType": "worker", "gateProfile": "minimal",
            "context": {"repository": bare.to_string_lossy(), "branch": "main", "workItems": ["sleep"]},
        });
        client.done("POST", "/agents/spawn", &body.to_string())?;
    }
    let until = Instant::now() + RUNNING;
    let mut shims = Vec::new();
    while shims.len() < options.agents {
        if Instant::now() > until {
            return Err(format!("only {} of {} agents run", shims.len(), options.agents).into());
        }
        std::thread::sleep(Duration::from_millis(50));
        shims = shims_of(server.pid())?;
    }
    std::thread::sleep(REST);
    let n = options.agents as f64;
    let now = Memory::of(server.pid())?;
    let each = shims.iter().map(|pid| Memory::of(*pid)).collect::<Outcome<Vec<_>>>()?;
    let rss = each.iter().map(|memory| memory.rss).sum::<f64>() / n;
    let private = each.iter().map(|memory| memory.private).sum::<f64>() / n;
    let growth = (now.rss - idle.rss).max(0.0) / n;
    let figure = format!(
        "{:.2} MiB (supervisor {rss:.2} MiB, of which {private:.2} MiB not shared; growth of the server {growth:.2} MiB)",
        rss + growth
    );
    table.row(&format!("RSS per running agent, of {}", options.agents), &figure, "", None);
    Ok(())
}

/// Memory of a process, in MiB.
struct Memory {
    rss: f64,
    /// Memory that no other process has mapped.
    private: f64,
}

impl Memory {
    fn of(pid: u32) -> Outcome<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let private = sum(&maps, "Private_Clean:") + sum(&maps, "Private_Dirty:");
        Ok(Self { rss: sum(&status, "VmRSS:"), private })
    }
}

/// Reads a value that the kernel gives in KiB.
fn sum(text: &str, name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok();
    text.lines().filter_map(value).sum::<f64>() / 1024.0
}

/// The server's supervisors: its children that were started as `mosaic shim`.
fn shims_of(server: u32) -> Outcome<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // Processes come and go while they are looked at.
        let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if parent == Some(server) && line.split(|b| *b == 0).nth(1) == Some(b"shim") {
            found.push(pid);
        }
    }
    Ok(found)
}
