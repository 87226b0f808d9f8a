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

use self::table::Table;

/// Result of a benchmark: its measurement, or the reason why it could not measure.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "\
usage: bench spawns|life|footprint|kills|refs|capacity|all [options]   (capacity by itself: it starts a Valkey)

  --mosaic PATH    the release build to measure (default: mosaic beside this program's profile directory, in release/)
  --dir PATH       where data is written; on a real disk (default: the working directory)
  --seconds N      length of each run of spawns (default 5)
  --tasks N        tasks of each run of life and refs (default 60)
  --rounds N       rounds of life and kills (default 3)
  --agents N       sleeping agents of footprint (default 20)
  --concurrency N  only this concurrency of life (default: 1 and 4)
  --records N      most records of capacity (default 100000)
  --keep           leave the directory with all data behind
";

/// Options of the command line.
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

impl Options {
    fn parse(args: &[String]) -> Outcome<Self> {
        let mut options = Self {
            mosaic: default_mosaic()?,
            dir: std::env::current_dir()?,
            length: Duration::from_secs(5),
            tasks: 60,
            rounds: 3,
            agents: 20,
            records: 100_000,
            concurrency: vec![1, 4],
            keep: false,
        };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            if flag == "--keep" {
                options.keep = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"))?;
            match flag.as_str() {
                "--mosaic" => options.mosaic = PathBuf::from(value),
                "--dir" => options.dir = PathBuf::from(value),
                "--seconds" => options.length = Duration::from_secs(value.parse::<u64>()?.clamp(1, 600)),
                "--tasks" => options.tasks = value.parse::<usize>()?.clamp(1, 10_000),
                "--rounds" => options.rounds = value.parse::<usize>()?.clamp(1, 100),
                "--records" => options.records = value.parse::<usize>()?.clamp(1_000, 10_000_000),
                "--agents" => options.agents = value.parse::<usize>()?.clamp(1, 200),
                "--concurrency" => options.concurrency = vec![value.parse::<usize>()?.clamp(1, 64)],
                _ => return Err(format!("unknown option {flag}\n\n{USAGE}").into()),
            }
        }
        options.mosaic = options.mosaic.canonicalize().map_err(|e| {
            let path = options.mosaic.display();
            format!("no program at {path} ({e}); build it first: cargo build --release -p mosaic")
        })?;
        Ok(options)
    }
}

/// The release build in the target directory that this program was built into.
fn default_mosaic() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).ok_or("this program lies in no target directory")?;
    Ok(target.join("release/mosaic"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((what, rest)) = args.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let measured = Options::parse(rest).and_then(|options| match what.as_str() {
        "capacity" => in_directory(&options, |place| capacity::run(&options, place)),
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

fn measure(what: &str, options: &Options) -> Outcome<Table> {
    in_directory(options, |place| measure_in(what, options, place))
}

fn measure_in(what: &str, options: &Options, place: &Path) -> Outcome<Table> {
    let mut table = Table::default();
    if matches!(what, "spawns" | "all") {
        spawns::run(options, &place.join("spawns"), &mut table)?;
    }
    if matches!(what, "life" | "all") {
        life::run(options, &place.join("life"), &mut table)?;
    }
    if matches!(what, "footprint" | "all") {
        footprint::run(options, &place.join("footprint"), &mut table)?;
    }
    if matches!(what, "kills" | "all") {
        kills::run(options, &place.join("kills"), &mut table)?;
    }
    if matches!(what, "refs" | "all") {
        refs::run(options, &place.join("refs"), &mut table)?;
    }
    match table.is_empty() {
        true => Err(format!("unknown benchmark {what}\n\n{USAGE}").into()),
        false => Ok(table),
    }
}
