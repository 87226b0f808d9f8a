//! The shim, and the fuse of a push, as a program of its own, as small as it can be: what the tests of the process adapter run. In the
//! product it is a hidden subcommand of the one binary.

use std::process::ExitCode;

use mosaic_adapters::git::{FUSE, fuse_main};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().and_then(|word| word.into_string().ok()).as_deref() {
        Some("shim") => mosaic_adapters::process::shim::shim_main(args),
        Some(FUSE) => {
            let args: Vec<String> = args.map(|word| word.to_string_lossy().into_owned()).collect();
            fuse_main(&args)
        }
        _ => {
            eprintln!("usage: shim shim <job directory>, or shim fuse <deadline> <program> <arguments>");
            ExitCode::from(2)
        }
    }
}
