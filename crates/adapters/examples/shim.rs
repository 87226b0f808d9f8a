//! The shim, the watchdog of a push and the harvest as a program of their own, as small as it can be, for the tests of the
//! adapters. In the product they are hidden subcommands of the one binary.

use std::process::ExitCode;

use mosaic_adapters::git::{FUSE, fuse_main, harvest_main};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().and_then(|word| word.into_string().ok()).as_deref() {
        Some("shim") => mosaic_adapters::process::shim::shim_main(args),
        Some(FUSE) => fuse_main(&texts(args)),
        Some("harvest") => harvest_main(&texts(args)),
        _ => {
            eprintln!(
                "usage: shim shim <job directory>, shim fuse <deadline> <program> <arguments>, or shim harvest <spec>"
            );
            ExitCode::from(2)
        }
    }
}

fn texts(args: impl Iterator<Item = std::ffi::OsString>) -> Vec<String> {
    args.map(|word| word.to_string_lossy().into_owned()).collect()
}
