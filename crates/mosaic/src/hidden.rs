//! The program's hidden entrances: helpers that it starts as children of itself. They are told apart before
//! anything else happens (no runtime, no command line parser), because a supervisor must be small and must fork
//! while the process has one thread.

use std::process::ExitCode;

use mosaic_adapters::agent_demo;
use mosaic_adapters::git::{FUSE, fuse_main, harvest_main};
use mosaic_adapters::process::shim::shim_main;

/// Runs a hidden entrance when the first argument names one. `args` are all arguments without the program's name;
/// the entrance gets those after its own name.
pub(crate) fn dispatch(args: &[String]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    match name.as_str() {
        "shim" => Some(shim_main(rest.iter().map(Into::into))),
        FUSE => Some(fuse_main(rest)),
        "harvest" => Some(harvest_main(rest)),
        crate::drill::SUBCOMMAND => Some(crate::drill::drill_agent_main(rest)),
        agent_demo::SUBCOMMAND => Some(agent_demo::demo_agent_main(rest.to_vec())),
        _ => None,
    }
}
