//! The chaos suite as one command; see `docs/chaos.md`.

use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Parser, ValueEnum};
use mosaic_testkit::chaos::matrix::{self, Case, Options, matrix, percentiles};
use mosaic_testkit::chaos::{Outcome, Programs, Story, fleet, ready, storm};
use mosaic_testkit::valkey_server::ValkeyServer;
use thiserror::Error;

/// Arguments of the command line.
#[derive(Debug, Parser)]
#[command(
    name = "chaos",
    about = "Breaks the service at its steps and judges what is left; see docs/chaos.md"
)]
#[command(group = ArgGroup::new("what").required(true).args(["short", "long", "only", "storm", "ready", "fleet"]))]
struct Args {
    /// A sample by the seed that fits into three minutes on two cores
    #[arg(long)]
    short: bool,
    /// Every step in every way, then the storm, then the start with many records
    #[arg(long)]
    long: bool,
    /// One run, such as push/store.advance@3:after=abort
    #[arg(long, value_name = "CASE")]
    only: Option<Case>,
    /// Only the random kills
    #[arg(long)]
    storm: bool,
    /// Only the start with many records
    #[arg(long)]
    ready: bool,
    /// Several nodes on one Valkey; nodes are killed, stopped, cut off, the store is killed
    #[arg(long)]
    fleet: bool,
    /// Only this story; may be repeated
    #[arg(long = "story", value_name = "NAME", value_parser = story)]
    stories: Vec<Story>,
    /// Calls of one step within one phase that are broken (default 2; --short 1)
    #[arg(long, value_name = "N")]
    cap: Option<u64>,
    /// Order of the runs and what a budget leaves out (default: the time; printed)
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Start nothing new after this time (--short 120)
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Runs at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// With --only: how often
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u32,
    /// The store under test; a Valkey is started
    #[arg(long, value_name = "NAME", value_enum, default_value_t = StoreName::Sqlite)]
    store: StoreName,
    /// Random kills of one storm (default 1000; --short 10)
    #[arg(long, value_name = "N")]
    kills: Option<u64>,
    /// Storms, each with the next seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Nodes of --fleet
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = nodes)]
    nodes: usize,
    /// Tasks of --fleet
    #[arg(long, value_name = "N", default_value_t = 5000)]
    tasks: usize,
    /// Records of --ready; not in --short
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    records: usize,
    /// Where mosaic and mosaic-chaos are (default: built first, then beside this program)
    #[arg(long, value_name = "PATH")]
    bin_dir: Option<PathBuf>,
    /// Keep the logs of runs with violations below this directory
    #[arg(long, value_name = "PATH")]
    evidence: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreName {
    Sqlite,
    Valkey,
}

/// Options of a run.
struct Asked {
    what: What,
    options: Options,
    times: u32,
    kills: u64,
    seeds: u64,
    records: usize,
    nodes: usize,
    tasks: usize,
    valkey: bool,
    bin_dir: Option<PathBuf>,
}

enum What {
    /// Matrix and storm, and perhaps the start with many records.
    All {
        ready: bool,
    },
    Only(Case),
    Storm,
    Ready,
    Fleet,
}

fn main() -> ExitCode {
    match work(&Args::parse().asked()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn story(name: &str) -> Result<Story, UnknownStory> {
    Story::by_name(name).ok_or_else(|| UnknownStory(name.to_owned()))
}

/// A name that no story has.
#[derive(Debug, Error)]
#[error("there is no story \"{0}\"")]
struct UnknownStory(String);

fn nodes(text: &str) -> Result<usize, ParseIntError> {
    Ok(text.parse::<usize>()?.clamp(1, 64))
}

impl Args {
    fn asked(self) -> Asked {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let budget = self.budget.or(self.short.then_some(120));
        let options = Options {
            stories: self.stories,
            cap: self.cap.unwrap_or(if self.short { 1 } else { 2 }),
            seed: self.seed.unwrap_or(now.as_secs()),
            budget: budget.map(Duration::from_secs),
            jobs: self.jobs,
            evidence: self.evidence,
        };
        // The group of these flags makes sure that it is exactly one.
        let what = match self.only {
            Some(case) => What::Only(case),
            None if self.storm => What::Storm,
            None if self.ready => What::Ready,
            None if self.fleet => What::Fleet,
            None => What::All { ready: self.long },
        };
        Asked {
            what,
            options,
            times: self.times,
            kills: self.kills.unwrap_or(if self.short { 10 } else { 1000 }),
            seeds: self.seeds,
            records: self.records,
            nodes: self.nodes,
            tasks: self.tasks,
            valkey: self.store == StoreName::Valkey,
            bin_dir: self.bin_dir,
        }
    }
}

/// Finds the programs; builds them first when nobody says where they are.
fn programs(asked: &Asked) -> Outcome<Programs> {
    let dir = match &asked.bin_dir {
        Some(dir) => dir.clone(),
        None => {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args(["build", "--quiet", "-p", "mosaic", "--features", "chaos", "--bins"]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            let built = build.status().map_err(|e| format!("cargo cannot be run: {e}; use --bin-dir"))?;
            if !built.success() {
                return Err("the programs cannot be built; see above".to_owned());
            }
            let own = std::env::current_exe().map_err(|e| e.to_string())?;
            own.parent().map(Path::to_owned).ok_or("this program lies nowhere")?
        }
    };
    let find = |name: &str| {
        let path = dir.join(name);
        path.canonicalize().map_err(|e| format!("no program at {} ({e})", path.display()))
    };
    Ok(Programs { mosaic: find("mosaic")?, chaos: find("mosaic-chaos")?, valkey: None })
}

/// Runs what was asked for; false when something did not hold.
fn work(asked: &Asked) -> Outcome<bool> {
    let mut programs = programs(asked)?;
    // Ends with this function, after everything that uses it.
    let valkey = if asked.valkey { ValkeyServer::start() } else { None };
    if asked.valkey && valkey.is_none() {
        return Err("there is no Valkey here".to_owned());
    }
    programs.valkey = valkey.as_ref().map(ValkeyServer::port);
    match &asked.what {
        What::Only(case) => only(asked, &programs, case),
        What::Storm => storms(asked, &programs),
        What::Ready => start(asked, &programs),
        What::Fleet => fleets(asked, &programs),
        What::All { ready } => {
            let held = steps(asked, &programs)?;
            let held = storms(asked, &programs)? && held;
            Ok(if *ready { start(asked, &programs)? && held } else { held })
        }
    }
}

fn only(asked: &Asked, programs: &Programs, case: &Case) -> Outcome<bool> {
    let mut held = true;
    for _ in 0..asked.times {
        let ran = matrix::run(programs, case, asked.options.evidence.as_ref());
        let reached = if ran.fired { "reached" } else { "not reached" };
        println!("{case}: {reached} in {:.1} s", ran.took.as_secs_f64());
        for violation in &ran.violations {
            println!("VIOLATION {violation}");
        }
        held &= ran.violations.is_empty();
    }
    Ok(held)
}

fn steps(asked: &Asked, programs: &Programs) -> Outcome<bool> {
    let begun = Instant::now();
    println!("seed {}", asked.options.seed);
    let report = matrix(programs, &asked.options)?;
    print!("{}", report.table());
    for case in report.not_reached() {
        println!("not reached: {case}");
    }
    println!("recovery: {}", percentiles(report.recoveries()));
    let violations = report.violations().len();
    let seconds = begun.elapsed().as_secs_f64();
    println!("steps: {} runs in {seconds:.0} s, {violations} violations", report.ran.len());
    Ok(violations == 0)
}

fn storms(asked: &Asked, programs: &Programs) -> Outcome<bool> {
    let mut held = true;
    for seed in (asked.options.seed..).take(usize::try_from(asked.seeds).unwrap_or(usize::MAX)) {
        let figures = storm::run(programs, asked.kills, seed, asked.options.evidence.as_ref())?;
        println!("storm {seed}: {figures}");
        for violation in &figures.violations {
            println!("VIOLATION {violation}");
            let kills = asked.kills;
            println!(
                "  repeat: cargo run -p mosaic-testkit --bin chaos -- --storm --kills {kills} --seed {seed}"
            );
        }
        held &= figures.violations.is_empty();
    }
    Ok(held)
}

fn fleets(asked: &Asked, programs: &Programs) -> Outcome<bool> {
    let wanted = fleet::Wanted { nodes: asked.nodes, tasks: asked.tasks, seed: asked.options.seed };
    let Some(figures) = fleet::run(programs, wanted, asked.options.evidence.as_ref())? else {
        return Ok(true);
    };
    println!("fleet {}: {figures}", wanted.seed);
    for violation in &figures.violations {
        println!("VIOLATION {violation}");
    }
    Ok(figures.violations.is_empty())
}

/// Longest time until a server with 10,000 records is ready.
const READY: Duration = Duration::from_secs(2);

fn start(asked: &Asked, programs: &Programs) -> Outcome<bool> {
    let ready = ready::measure(programs, asked.records, 5)?;
    let slowest = ready.times.iter().max().copied().unwrap_or_default();
    println!("ready with {} records: {}", ready.records, percentiles(ready.times));
    if slowest > READY {
        println!("VIOLATION: a start took {} ms, more than {} ms", slowest.as_millis(), READY.as_millis());
    }
    Ok(slowest <= READY)
}
