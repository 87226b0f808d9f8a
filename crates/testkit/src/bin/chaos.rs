//! The chaos suite as one command; see `docs/chaos.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use mosaic_testkit::chaos::matrix::{self, Case, CaseError, Options, matrix, percentiles};
use mosaic_testkit::chaos::{Outcome, Programs, Story, fleet, ready, storm};
use mosaic_testkit::valkey_server::ValkeyServer;

const USAGE: &str = "\
usage: chaos --short | --long | --only STORY[/FAILPOINT] | --storm | --ready | --fleet [options]

  --short          a sample by the seed that fits into three minutes on two cores
  --long           every step in every way, then the storm, then the start with many records
  --only CASE      one run, such as push/store.advance@3:after=abort
  --storm          only the random kills
  --ready          only the start with many records
  --fleet          several nodes on one Valkey; nodes are killed, stopped, cut off, the store is killed

  --story NAME     only this story; may be repeated
  --cap N          calls of one step within one phase that are broken (default 2; --short 1)
  --seed N         order of the runs and what a budget leaves out (default: the time; printed)
  --budget SECS    start nothing new after this time
  --jobs N         runs at once (default 4)
  --times N        with --only: how often (default 1)
  --store NAME     the store under test: sqlite, or valkey (one is started)
  --kills N        random kills of one storm (default 1000; --short 10)
  --seeds N        storms, each with the next seed (default 1)
  --nodes N        nodes of --fleet (default 4)
  --tasks N        tasks of --fleet (default 5000)
  --records N      records of --ready (default 10000; not in --short)
  --bin-dir PATH   where mosaic and mosaic-chaos are (default: built first, then beside this program)
  --evidence PATH  keep the logs of runs with violations below this directory
";

/// Options of the command line.
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
    let args: Vec<String> = std::env::args().skip(1).collect();
    match parse(&args).and_then(|asked| work(&asked)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(2)
        }
    }
}

fn parse(args: &[String]) -> Outcome<Asked> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let options =
        Options { stories: Vec::new(), cap: 2, seed: now.as_secs(), budget: None, jobs: 4, evidence: None };
    let (mut what, mut asked) = (
        None,
        Asked {
            what: What::Storm,
            options,
            times: 1,
            kills: 1000,
            seeds: 1,
            records: 10_000,
            nodes: 4,
            tasks: 5000,
            valkey: false,
            bin_dir: None,
        },
    );
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"));
        let number = |text: &String| text.parse::<u64>().map_err(|e| format!("{flag} {text}: {e}"));
        match flag.as_str() {
            "--short" => {
                what = Some(What::All { ready: false });
                (asked.options.cap, asked.kills) = (1, 10);
                asked.options.budget = Some(Duration::from_secs(120));
            }
            "--long" => what = Some(What::All { ready: true }),
            "--storm" => what = Some(What::Storm),
            "--ready" => what = Some(What::Ready),
            "--fleet" => what = Some(What::Fleet),
            "--nodes" => asked.nodes = usize::try_from(number(value()?)?).unwrap_or(1).clamp(1, 64),
            "--tasks" => asked.tasks = usize::try_from(number(value()?)?).unwrap_or(1),
            "--store" => match value()?.as_str() {
                "sqlite" => asked.valkey = false,
                "valkey" => asked.valkey = true,
                other => return Err(format!("there is no store \"{other}\", but sqlite and valkey")),
            },
            "--kills" => asked.kills = number(value()?)?,
            "--seeds" => asked.seeds = number(value()?)?,
            "--records" => asked.records = usize::try_from(number(value()?)?).unwrap_or(usize::MAX),
            "--only" => what = Some(What::Only(value()?.parse().map_err(|e: CaseError| e.to_string())?)),
            "--story" => {
                let name = value()?;
                let story = Story::by_name(name).ok_or_else(|| format!("there is no story \"{name}\""))?;
                asked.options.stories.push(story);
            }
            "--cap" => asked.options.cap = number(value()?)?,
            "--seed" => asked.options.seed = number(value()?)?,
            "--budget" => asked.options.budget = Some(Duration::from_secs(number(value()?)?)),
            "--jobs" => asked.options.jobs = usize::try_from(number(value()?)?).unwrap_or(1),
            "--times" => asked.times = u32::try_from(number(value()?)?).unwrap_or(1),
            "--bin-dir" => asked.bin_dir = Some(PathBuf::from(value()?)),
            "--evidence" => asked.options.evidence = Some(PathBuf::from(value()?)),
            _ => return Err(format!("unknown option {flag}\n\n{USAGE}")),
        }
    }
    asked.what = what.ok_or_else(|| format!("what is to be done?\n\n{USAGE}"))?;
    Ok(asked)
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
