//! `mosaic trust`: approves the gate commands of the commit of HEAD, once per content.

use super::server_config::server_config;
use crate::cli::{ServeArgs, TrustArgs};
use crate::exit::Exit;
use crate::local_git::LocalRepository;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::trust;

/// Runs the command.
pub(super) fn run(session: &Session, args: &TrustArgs) -> Result<Exit, Problem> {
    let repository = LocalRepository::here()?.ok_or_else(|| {
        Problem::usage_hint("there is no git repository here", "go into one: cd REPOSITORY")
    })?;
    let Some(definitions) = trust::definitions(&repository)? else {
        say("nothing to trust: the commit of HEAD defines no gate and none was detected");
        return Ok(Exit::Ok);
    };
    let config = server_config(session, &ServeArgs::default())?;
    if trust::is_known(&config.data_dir, &definitions) {
        say("these gates are trusted already");
        return Ok(Exit::Ok);
    }
    if args.yes {
        trust::show(&definitions);
        trust::accept(session, &config.data_dir, &definitions)?;
    } else if !session.terminal.asks {
        let hint = "read them (mosaic gates explain --profile strict), then: mosaic trust --yes";
        return Err(Problem::usage_hint("there is no terminal to ask on, so nothing was trusted", hint));
    } else if !trust::ask(session, &config.data_dir, &definitions)? {
        say("not trusted");
        return Ok(Exit::Ok);
    }
    session.print(format!("trusted {}\n", definitions.digest))?;
    Ok(Exit::Ok)
}
