//! `mosaic completions`: a script for the shell, made from the definitions of the command line.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::Session;

/// Runs the command.
pub(super) fn run(session: &Session, args: &CompletionsArgs) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mosaic", &mut script);
    session.print_raw(&script)?;
    Ok(Exit::Ok)
}
