//! The queue beside the official BullMQ client, in one run on one server (append-only file, synced every second): each
//! measurement is a process of its own on an empty server, sides take turns, and the middle of the rounds counts.
//!
//! `cargo run --release -p mosaic-adapters --features valkey --example bench_valkey -- [rounds] [only…]`

mod admission;
mod side;

use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_testkit::node_oracle::packages;
use mosaic_testkit::valkey_server::ValkeyServer;
use serde_json::{Value, json};

use side::Outcome;

/// One comparison: its name, our measurement and the official client's, the number of jobs, the number in flight, priorities or
/// none, and the least ratio of our rate to theirs (the greatest, for times).
struct Row {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
    count: usize,
    flight: usize,
    priority: bool,
    target: f64,
}

const fn row(
    name: &'static str,
    what: (&'static str, &'static str),
    (count, flight): (usize, usize),
    priority: bool,
    target: f64,
) -> Row {
    Row { name, ours: what.0, theirs: what.1, count, flight, priority, target }
}

const ROWS: &[Row] = &[
    row("add, 1 in flight", ("add", "add"), (20_000, 1), false, 1.3),
    row("add, 10 in flight", ("add", "add"), (40_000, 10), false, 1.5),
    row("add, 100 in flight", ("add", "add"), (40_000, 100), false, 1.5),
    row("add in bulk of 100", ("bulk", "bulk"), (40_000, 1), false, 3.0),
    row("admission, 1 in flight (theirs: add)", ("admit", "add"), (20_000, 1), false, 1.0),
    row("admission, 10 in flight (theirs: add)", ("admit", "add"), (40_000, 10), false, 1.0),
    row("admission, 100 in flight (theirs: add)", ("admit", "add"), (40_000, 100), false, 1.0),
    row("take and finish, 1 at once", ("take", "take"), (20_000, 1), false, 1.3),
    row("take and finish, 10 at once", ("take", "take"), (40_000, 10), false, 1.5),
    row("take and finish, 100 at once", ("take", "take"), (40_000, 100), false, 1.5),
    row("with priorities, 1 at once", ("take", "take"), (20_000, 1), true, 1.3),
    row("with priorities, 10 at once", ("take", "take"), (40_000, 10), true, 1.5),
    row("with priorities, 100 at once", ("take", "take"), (40_000, 100), true, 1.5),
    row("add to start", ("latency", "latency"), (500, 1), false, 0.7),
];

// Node has one thread for its own code, too.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(what) = args.first().filter(|arg| arg.starts_with('{')) {
        println!("{}", side::measure(serde_json::from_str(what)?).await?);
        return Ok(());
    }
    let rounds = args.first().map_or(Ok(3), |n| n.parse())?;
    let only = args.get(1..).unwrap_or_default();
    // Rewriting the file takes the second core away from whoever happens to be measured.
    let quiet = ["--auto-aof-rewrite-percentage", "0"];
    let server = ValkeyServer::start_with(&quiet).ok_or("no server program is installed")?;
    let bench = Bench { port: server.port(), packages: packages().ok_or("no official client")?, rounds };
    println!("| measured | ours | BullMQ (Node) | ratio | wanted |\n|---|---|---|---|---|");
    for row in
        ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|one| row.name.contains(one.as_str())))
    {
        bench.compare(row)?;
    }
    if only.is_empty() || only.iter().any(|one| one == "limit") {
        bench.limit()?;
    }
    if only.is_empty() || only.iter().any(|one| one == "flat") {
        bench.flat()?;
    }
    Ok(())
}

struct Bench {
    port: u16,
    packages: PathBuf,
    rounds: usize,
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Bench {
    fn what(&self, what: &str, count: usize, flight: usize, priority: bool) -> Value {
        json!({"port": self.port, "prefix": "", "queue": "orchestrator-tasks", "what": what, "count": count,
            "flight": flight, "priority": priority, "data": {"taskId": "US-001", "agentType": "worker",
            "gateProfile": "standard", "context": {"repository": "https://git.example.com/acme/widgets.git",
            "branch": "main", "workItems": ["fix divide by zero in the calculator"]}}})
    }

    fn ours(&self, what: &Value) -> Outcome<Value> {
        run(Command::new(std::env::current_exe()?).arg(what.to_string()))
    }

    fn theirs(&self, what: &Value) -> Outcome<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/bullmq/bench.mjs");
        let mut what = what.clone();
        what["prefix"] = json!("bull");
        let mut node = Command::new("node");
        run(node.arg(script).arg(what.to_string()).env("MOSAIC_TEST_BULLMQ_DIR", &self.packages))
    }

    fn empty(&self) -> Outcome<()> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        redis::cmd("FLUSHALL").query::<()>(&mut client.get_connection()?)?;
        Ok(())
    }

    /// Measures one side on an empty server, on which there is something to take where that is wanted.
    fn one(&self, row: &Row, ours: bool) -> Outcome<Value> {
        self.empty()?;
        let what = self.what(if ours { row.ours } else { row.theirs }, row.count, row.flight, row.priority);
        if row.ours == "take" {
            self.ours(&self.what("bulk", row.count, 1, row.priority))?;
        }
        if ours { self.ours(&what) } else { self.theirs(&what) }
    }

    fn compare(&self, row: &Row) -> Outcome<()> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            for side in [round % 2 == 0, round % 2 != 0] {
                let figures = self.one(row, side)?;
                if side { ours.push(figures) } else { theirs.push(figures) }
            }
        }
        let of = |figures: &[Value], field: &str| {
            middle(figures.iter().map(|one| one[field].as_f64().unwrap_or(0.0)).collect())
        };
        let fields: &[&str] = if row.ours == "latency" { &["p50", "p99"] } else { &["rate"] };
        for field in fields {
            let (us, them) = (of(&ours, field), of(&theirs, field));
            let (unit, sign) = if *field == "rate" { ("/s", "≥") } else { (" ms", "≤") };
            let show =
                |n: f64| if *field == "rate" { format!("{n:.0}{unit}") } else { format!("{n:.2}{unit}") };
            let name = if *field == "rate" { row.name.to_owned() } else { format!("{}, {field}", row.name) };
            println!("| {name} | {} | {} | {:.2} | {sign} {} |", show(us), show(them), us / them, row.target);
        }
        let (us, them) = (of(&ours, "rss"), of(&theirs, "rss"));
        let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
        println!(
            "| {}, RSS | {:.0} MiB | {:.0} MiB | {:.2} | ≤ 0.33 |",
            row.name,
            mib(us),
            mib(them),
            us / them
        );
        Ok(())
    }

    fn rate(&self, what: &Value) -> Outcome<f64> {
        Ok(self.ours(what)?["rate"].as_f64().unwrap_or(0.0))
    }

    fn limit(&self) -> Outcome<()> {
        for flight in [1, 10, 100] {
            let mut figures = Vec::new();
            for _ in 0..self.rounds {
                self.empty()?;
                figures.push(self.rate(&self.what("evalsha", 40_000, flight, false))?);
            }
            println!("| bare EVALSHA, {flight} in flight | {:.0}/s | | | |", middle(figures));
        }
        Ok(())
    }

    /// Compares rates with many jobs waiting to those with few.
    fn flat(&self) -> Outcome<()> {
        for (name, what, fill) in [
            ("add, 10 in flight", "add", "bulk"),
            ("take and finish with priorities, 10 at once", "take", "bulk"),
            ("admission, 10 in flight", "admit", "admit"),
            ("agents taken and ended, 10 at once", "turns", "admit"),
        ] {
            let mut rates = [Vec::new(), Vec::new()];
            for _ in 0..self.rounds {
                for (size, rates) in [1_000, 100_000].into_iter().zip(&mut rates) {
                    rates.push(self.beside(what, fill, size)?);
                }
            }
            let [few, many] = rates.map(middle);
            println!(
                "| {name}: 1,000 waiting, 100,000 waiting | {few:.0}/s, {many:.0}/s | | {:.2} | ≥ 0.8 |",
                many / few
            );
        }
        Ok(())
    }

    /// Measures a thousand beside so many that wait.
    fn beside(&self, what: &str, fill: &str, size: usize) -> Outcome<f64> {
        const MEASURED: usize = 1_000;
        self.empty()?;
        self.ours(&self.what(fill, size, 100, true))?;
        self.rate(&self.what(what, MEASURED, 10, true))
    }
}

fn run(command: &mut Command) -> Outcome<Value> {
    let out = command.output()?;
    if !out.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
