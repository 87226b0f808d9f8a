//! The program's hidden entrances: helpers that it starts as children of itself. They are told apart before
//! anything else happens (no runtime, no command line parser), because a supervisor must be small and must fork
//! while the process has one thread.

use std::process::ExitCode;

/// Runs a hidden entrance when the first argument names one. `args` are all arguments without the program's name;
/// the entrance gets those after its own name.
pub(crate) fn dispatch(args: &[String]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    let rest = rest.to_vec();
    Some(match name.as_str() {
        "shim" => mosaic_adapters::process::shim::shim_main(rest.into_iter().map(Into::into)),
        "harvest" => mosaic_adapters::git::harvest_main(&rest),
        mosaic_adapters::agent_demo::SUBCOMMAND => mosaic_adapters::agent_demo::demo_agent_main(rest),
        _ => return None,
    })
}
