//! The program's hidden entrances: helpers that it starts as children of itself. They are told apart before
//! anything else happens (no runtime, no command line parser), because a supervisor must be small and must fork
//! while the process has one thread.

use std::process::ExitCode;

/// Runs a hidden entrance when the first argument names one. `args` are all arguments without the program's name;
/// the entrance gets those after its own name.
pub(crate) fn dispatch(args: &[String]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    let main: fn(Vec<String>) -> ExitCode = match name.as_str() {
        "shim" => shim_main,
        "harvest" => harvest_main,
        "demo-agent" => demo_agent_main,
        _ => return None,
    };
    Some(main(rest.to_vec()))
}

// The three stand-ins below go away when the adapters' own entrances are connected.

/// Stands in for `mosaic_adapters::process::shim::shim_main`.
fn shim_main(_args: Vec<String>) -> ExitCode {
    missing("shim")
}

/// Stands in for `mosaic_adapters::git::harvest::harvest_main`.
fn harvest_main(_args: Vec<String>) -> ExitCode {
    missing("harvest")
}

/// Stands in for `mosaic_adapters::agent_demo::demo_agent_main`.
fn demo_agent_main(_args: Vec<String>) -> ExitCode {
    missing("demo-agent")
}

fn missing(name: &str) -> ExitCode {
    eprintln!("error: this build has no {name}");
    ExitCode::FAILURE
}
