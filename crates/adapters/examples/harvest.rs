//! The harvest alone, as `mosaic harvest` runs it, for the tests of the git adapter.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(2).collect();
    mosaic_adapters::git::harvest_main(&args)
}
