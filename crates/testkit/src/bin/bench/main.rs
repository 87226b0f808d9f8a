//! The benchmarks: acknowledged spawns, the whole life of small tasks beside shell scripts that do the same, and
//! what the program costs at rest. They drive the release build of `mosaic` from outside, over its HTTP interface,
//! as any caller does; `docs/benchmarks.md` says what is measured and what came out.

mod capacity;
mod footprint;
mod http;
mod kills;
mod life;
mod refs;
mod remote;
mod server;
mod spawns;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum, value_parser};

use self::table::Table;

/// Result of a benchmark: its measurement, or the reason why it could not measure.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Arguments of the command line.
#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures the release build of mosaic; see docs/benchmarks.md")]
struct Args {
    /// The benchmark; capacity, which starts a Valkey, runs by itself only
    #[arg(value_enum)]
    what: What,
    /// The release build to measure (default: mosaic beside this program's profile directory, in release/)
    #[arg(long, value_name = "PATH")]
    mosaic: Option<PathBuf>,
    /// Where data is written; on a real disk (default: the working directory)
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Length of each run of spawns
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Tasks of each run of life and refs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = value_parser!(u32).range(1..=10_000))]
    tasks: u32,
    /// Rounds of life and kills
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Sleeping agents of footprint
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=200))]
    agents: u32,
    /// Only this concurrency of life (default: 1 and 4)
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=64))]
    concurrency: Option<u32>,
    /// Most records of capacity
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = value_parser!(u32).range(1_000..=10_000_000))]
    records: u32,
    /// Leave the directory with all data behind
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Spawns,
    Life,
    Footprint,
    Kills,
    Refs,
    Capacity,
    All,
}

/// Options of the benchmarks.
struct Options {
    mosaic: PathBuf,
    dir: PathBuf,
    length: Duration,
    tasks: usize,
    rounds: usize,
    agents: usize,
    records: usize,
    concurrency: Vec<usize>,
    keep: bool,
}

impl Args {
    fn options(self) -> Outcome<Options> {
        let mosaic = self.mosaic.map_or_else(default_mosaic, Ok)?;
        let mosaic = mosaic.canonicalize().map_err(|e| {
            let path = mosaic.display();
            format!("no program at {path} ({e}); build it first: cargo build --release -p mosaic")
        })?;
        Ok(Options {
            mosaic,
            dir: self.dir.map_or_else(std::env::current_dir, Ok)?,
            length: Duration::from_secs(self.seconds),
            tasks: self.tasks as usize,
            rounds: self.rounds as usize,
            agents: self.agents as usize,
            records: self.records as usize,
            concurrency: self.concurrency.map_or_else(|| vec![1, 4], |one| vec![one as usize]),
            keep: self.keep,
        })
    }
}

/// The release build in the target directory that this program was built into.
fn default_mosaic() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).ok_or("this program lies in no target directory")?;
    Ok(target.join("release/mosaic"))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let what = args.what;
    let measured = args.options().and_then(|options| match what {
        What::Capacity => in_directory(&options, |place| capacity::run(&options, place)),
        what => measure(what, &options).map(|table| table.markdown()),
    });
    match measured {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a benchmark in a directory of its own.
fn in_directory<T>(options: &Options, run: impl FnOnce(&Path) -> Outcome<T>) -> Outcome<T> {
    let mut dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
    dir.disable_cleanup(options.keep);
    run(&dir.path().canonicalize()?)
}

fn measure(what: What, options: &Options) -> Outcome<Table> {
    in_directory(options, |place| measure_in(what, options, place))
}

fn measure_in(what: What, options: &Options, place: &Path) -> Outcome<Table> {
    let mut table = Table::default();
    if matches!(what, What::Spawns | What::All) {
        spawns::run(options, &place.join("spawns"), &mut table)?;
    }
    if matches!(what, What::Life | What::All) {
        life::run(options, &place.join("life"), &mut table)?;
    }
    if matches!(what, What::Footprint | What::All) {
        footprint::run(options, &place.join("footprint"), &mut table)?;
    }
    if matches!(what, What::Kills | What::All) {
        kills::run(options, &place.join("kills"), &mut table)?;
    }
    if matches!(what, What::Refs | What::All) {
        refs::run(options, &place.join("refs"), &mut table)?;
    }
    Ok(table)
}
