//! `mosaic` alone: what there is and the commands that make sense next.

use crate::cli::PsArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::Session;

/// Runs the command. On a pipe it is the help, and a usage error.
pub(super) fn run(session: &Session) -> Result<Exit, Problem> {
    if !session.terminal.out {
        return Err(Problem::usage_hint("no command was given", "all commands: mosaic --help"));
    }
    match session.client() {
        Ok(client) if client.answers() => {
            session.print(format!("server {}\n\n", client.url()))?;
            super::ps::run(session, &PsArgs { limit: 200, ..PsArgs::default() })?;
            session.print("\nnext: mosaic run \"…\" · mosaic ps -a · mosaic --help\n".to_owned())?;
        }
        _ => {
            let text = "No server runs here.\n\n  mosaic demo                              see it work, without a model or a key\n  mosaic run \"add a test for the parser\"   one task on the repository you are in\n  mosaic serve                             a server for many tasks\n";
            session.print(text.to_owned())?;
        }
    }
    Ok(Exit::Ok)
}
