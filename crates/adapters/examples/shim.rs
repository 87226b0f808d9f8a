//! The shim as a program of its own, as small as it can be: what the tests of the process adapter run. In the
//! product it is a hidden subcommand of the one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|word| word != "shim") {
        eprintln!("usage: shim shim <job directory>");
        return ExitCode::from(2);
    }
    mosaic_adapters::process::shim::shim_main(args)
}
