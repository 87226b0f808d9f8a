//! Costs of a fleet's store by the number of its records: memory of Valkey and disk per task, latencies of lists and of
//! admission, processor time. One node on a server that it starts; dispatch is paused, so that tasks wait until a kill-all
//! ends them and they are archived. Prints a table, and what follows for a million tasks a day on twenty nodes.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mosaic_api::Pruned;
use mosaic_core::limits;
use mosaic_testkit::valkey_server::ValkeyServer;

use crate::http::Client;
use crate::server::Server;
use crate::table::quantile;
use crate::{Options, Outcome};

/// Records of each run.
const RECORDS: [usize; 3] = [1_000, 10_000, 100_000];
/// Connections that spawn.
const CLIENTS: usize = 8;
/// Requests of each list that are timed.
const LISTS: usize = 15;
/// Longest wait for all records to end, and to be archived.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Longest time that removals are counted.
const ROUND: Duration = Duration::from_secs(60);
/// Tasks of twenty nodes a day, and the days that records are kept.
const DAY: f64 = 1_000_000.0;
const NODES: f64 = 20.0;
const DAYS: f64 = 90.0;

/// The lists that are timed: what is asked for, and the path.
const PATHS: [(&str, &str); 6] = [
    ("newest 50", "/v1/agents?limit=50"),
    ("by label, one in a thousand", "/v1/agents?limit=50&label=batch=b7"),
    ("by repository, one in a hundred", "/v1/agents?limit=50&repo=https://git.example.com/acme/shop-7.git"),
    ("by part of the name, ten at most", "/v1/agents?limit=50&q=bench-77"),
    ("by the beginning of an id", "/v1/agents?limit=50&idPrefix=7d0c1a2b"),
    ("queue", "/v1/queue?limit=50"),
];

/// One line of the table.
struct Row {
    what: String,
    figures: Vec<String>,
}

/// Figures of one run, by name, in order.
struct Figures(Vec<(String, String)>);

impl Figures {
    fn add(&mut self, what: &str, figure: String) {
        eprintln!("  {what}: {figure}");
        self.0.push((what.to_owned(), figure));
    }
}

/// Costs and rates that the extrapolation is computed from.
#[derive(Default, Clone, Copy)]
struct Costs {
    bytes_ended: f64,
    bytes_disk: f64,
    admissions: f64,
    archived: f64,
    removed: f64,
}

/// Measures each number of records, and returns the table.
pub(crate) fn run(options: &Options, dir: &Path) -> Outcome<String> {
    let mut rows: Vec<Row> = Vec::new();
    let mut costs = Costs::default();
    let sizes: Vec<usize> = RECORDS.into_iter().filter(|size| *size <= options.records).collect();
    for size in &sizes {
        eprintln!("{size} records");
        let mut figures = Figures(Vec::new());
        costs = measure(options, &dir.join(size.to_string()), *size, &mut figures)?;
        for (at, (what, figure)) in figures.0.into_iter().enumerate() {
            match rows.get_mut(at) {
                Some(row) => row.figures.push(figure),
                None => rows.push(Row { what, figures: vec![figure] }),
            }
        }
    }
    let heads: Vec<String> = sizes.iter().map(|size| format!("{size} records")).collect();
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(sizes.len()));
    for row in rows {
        writeln!(text, "| {} | {} |", row.what, row.figures.join(" | "))?;
    }
    text.push_str(&extrapolation(costs)?);
    Ok(text)
}

fn measure(options: &Options, dir: &Path, size: usize, out: &mut Figures) -> Outcome<Costs> {
    std::fs::create_dir_all(dir)?;
    // As docs/fleet.md advises: what has ended takes less room.
    let store = ValkeyServer::start_with(&["--hash-max-listpack-value", "512"])
        .ok_or("no redis-server and no valkey-server is installed")?;
    let port = store.port().to_string();
    let env = [
        ("VALKEY_HOST", "127.0.0.1"),
        ("VALKEY_PORT", port.as_str()),
        ("MOSAIC_NODE", "bench"),
        ("MOSAIC_ARCHIVE_AFTER_MS", "0"),
        ("MOSAIC_VALKEY_LOG_ENTRIES", "10000"),
    ];
    let server = Server::start_with(&options.mosaic, dir, 1, "true", &env)?;
    server.client()?.done("POST", "/v1/queue/pause", "{}")?;
    let empty = used(&store)?;
    let cpu = ticks(server.pid())?;
    let began = Instant::now();
    let latencies = spawn(&server, size)?;
    let admissions = size as f64 / began.elapsed().as_secs_f64();
    let ms = |share| quantile(&latencies, share) * 1000.0;
    out.add("admissions a second, 8 clients", format!("{admissions:.0}"));
    out.add("admission, p50 and p99", format!("{:.1} ms, {:.1} ms", ms(0.5), ms(0.99)));
    let spent = ticks(server.pid())?.saturating_sub(cpu) as f64 * 1000.0
        / rustix::param::clock_ticks_per_second() as f64;
    out.add("processor time of the node per admission", format!("{:.2} ms", spent / size as f64));
    let per = |bytes: f64| bytes.max(0.0) / size as f64;
    out.add("Valkey per waiting task", bytes(per(used(&store)? - empty)));
    lists(&server, "waiting", out)?;
    let archived = end_all(&server, &store, size)?;
    out.add("archived a second", format!("{archived:.0}"));
    let bytes_ended = per(used(&store)? - empty);
    out.add("Valkey per ended task, job included, streams not", bytes(bytes_ended));
    let bytes_disk = per(disk(&server.data().join("archive"))? as f64);
    out.add("disk of the home node per ended task", bytes(bytes_disk));
    lists(&server, "archived", out)?;
    let removed = remove_old(&server)?;
    out.add("removed by age a second", format!("{removed:.0}"));
    out.add("memory of the node (VmRSS)", format!("{:.0} MiB", rss(server.pid())?));
    server.stop()?;
    Ok(Costs { bytes_ended, bytes_disk, admissions, archived, removed })
}

/// Removes what has ended, all of which is due, page by page as a round of retention does, for a minute at most; returns how many
/// a second.
fn remove_old(server: &Server) -> Outcome<f64> {
    let mut client = server.client()?;
    let (began, mut removed, mut cursor) = (Instant::now(), 0.0, None::<String>);
    loop {
        let body = serde_json::json!({"olderThan": "0ms", "cursor": cursor});
        let page: Pruned = client.json("POST", "/v1/prune", &body.to_string())?;
        removed += page.removed as f64;
        cursor = page.next_cursor;
        if cursor.is_none() || began.elapsed() > ROUND {
            return Ok(removed / began.elapsed().as_secs_f64());
        }
    }
}

fn bytes(n: f64) -> String {
    format!("{n:.0} B")
}

/// Spawns so many tasks; returns how long each took.
fn spawn(server: &Server, size: usize) -> Outcome<Vec<f64>> {
    let next = AtomicUsize::new(0);
    let clients = (0..CLIENTS).map(|_| server.client()).collect::<Outcome<Vec<_>>>()?;
    let next = &next;
    std::thread::scope(|scope| {
        let start = |client| scope.spawn(move || spawn_some(client, next, size));
        let threads: Vec<_> = clients.into_iter().map(start).collect();
        let mut all = Vec::with_capacity(size);
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a client broke")??);
        }
        Ok(all)
    })
}

/// Spawns the tasks whose numbers nobody else took, on one connection.
fn spawn_some(mut client: Client, next: &AtomicUsize, size: usize) -> Outcome<Vec<f64>> {
    let mut seen = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= size {
            return Ok(seen);
        }
        let body = serde_json::json!({
            "taskId": format!("bench-{n}"), "agentType": "worker",
            "labels": {"team": "core", "batch": format!("b{}", n % 1000)},
            "context": {"repository": format!("https://git.example.com/acme/shop-{}.git", n % 100), "branch": "main",
                "workItems": [format!("US-{n}: fix the division by zero in the calculator")]},
        });
        let began = Instant::now();
        client.done("POST", "/agents/spawn", &body.to_string())?;
        seen.push(began.elapsed().as_secs_f64());
    }
}

fn lists(server: &Server, state: &str, out: &mut Figures) -> Outcome<()> {
    let mut client = server.client()?;
    for (what, path) in PATHS {
        let mut seen = Vec::new();
        for _ in 0..LISTS {
            let began = Instant::now();
            client.done("GET", path, "")?;
            seen.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        let figure = format!("{:.1} ms, {:.1} ms", quantile(&seen, 0.5), quantile(&seen, 0.99));
        out.add(&format!("list {what} ({state}), p50 and p99"), figure);
    }
    Ok(())
}

/// Ends everything, and waits until it is archived; returns how many were archived a second.
fn end_all(server: &Server, store: &ValkeyServer, size: usize) -> Outcome<f64> {
    // The answer may come after the client has given up; what counts is what ended.
    drop(server.client()?.done("POST", "/agents/kill-all", "{}"));
    let until = Instant::now() + PATIENCE;
    let number =
        |command: &str| -> Outcome<usize> { Ok(store.ask(command)?.trim_start_matches(':').trim().parse()?) };
    let mut began = None;
    loop {
        let left = number("ZCARD orchestrator:ended")?;
        let ended = number("ZCARD orchestrator:agents:killed")?;
        if ended == size && left == 0 {
            let took = began.map_or(Duration::ZERO, |began: Instant| began.elapsed());
            return Ok(size as f64 / took.as_secs_f64().max(0.001));
        }
        if ended > left {
            began.get_or_insert_with(Instant::now);
        }
        if Instant::now() > until {
            return Err(format!("{ended} of {size} ended, {left} are not archived yet").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Memory that the store uses, without its streams, which have a length of their own.
fn used(store: &ValkeyServer) -> Outcome<f64> {
    let info = store.ask_all("INFO memory")?;
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let all: f64 = line.ok_or("the store does not say its memory")?.trim().parse()?;
    let mut streams = 0.0;
    for key in ["orchestrator:log", "bull:orchestrator-tasks:events"] {
        let answer = store.ask(&format!("MEMORY USAGE {key}"))?;
        streams += answer.trim_start_matches(':').trim().parse::<f64>().unwrap_or(0.0);
    }
    Ok(all - streams)
}

fn disk(dir: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let meta = entry?.metadata()?;
        sum += if meta.is_file() { meta.len() } else { 0 };
    }
    Ok(sum)
}

/// Reads the processor time of a process, in clock ticks.
fn ticks(pid: u32) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit_once(')').ok_or("no process")?.1.split_whitespace().collect();
    Ok(fields.get(11..13).ok_or("no times")?.iter().filter_map(|time| time.parse::<u64>().ok()).sum())
}

fn rss(pid: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no memory")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

/// Extrapolates the costs of the largest run to a million tasks a day on twenty nodes.
fn extrapolation(costs: Costs) -> Outcome<String> {
    let gib = f64::from(1 << 30);
    let (rate, kept) = (DAY / 86_400.0, DAY * DAYS);
    let memory = kept * costs.bytes_ended / gib;
    let mut text =
        String::from("\n| a million tasks a day on twenty nodes, records kept for 90 days | |\n|---|---|\n");
    writeln!(
        text,
        "| memory of Valkey, short records and jobs | {memory:.0} GiB, {:.1} GiB a day |",
        memory / DAYS
    )?;
    writeln!(text, "| disk of each node, archive | {:.0} GiB |", kept / NODES * costs.bytes_disk / gib)?;
    writeln!(
        text,
        "| admissions | {rate:.1} a second; one node and one Valkey take {:.0} |",
        costs.admissions
    )?;
    writeln!(
        text,
        "| archiving, each node | {:.2} a second; one node moves {:.0} |",
        rate / NODES,
        costs.archived
    )?;
    writeln!(
        text,
        "| removing what is old, each node | {:.2} a second; one node removes {:.0}, in rounds of at most {} a minute |",
        rate / NODES,
        costs.removed,
        limits::RETENTION_PAGES * limits::PRUNE_PAGE
    )?;
    writeln!(
        text,
        "| what ends first | the memory of Valkey: 64 GiB hold {:.0} days (`MOSAIC_KEEP_RECORDS_DAYS`) |",
        64.0 / (memory / DAYS)
    )?;
    Ok(text)
}
