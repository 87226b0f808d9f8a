//! The commands, one file each, and the choice among them.

mod agent_list;
mod attention;
mod audit;
mod body;
mod completions;
mod config;
mod coordinator;
mod diff;
mod doctor;
mod drain;
mod drill;
mod freeze;
mod gates;
mod gates_explain;
mod gates_run;
mod kill;
mod kill_all;
mod killswitch;
mod logs;
mod nodes;
mod overview;
mod prune;
mod ps;
mod queue;
mod queue_transfer;
mod restore;
mod retry;
mod rm;
mod run;
mod server_config;
mod spawn;
mod status;
mod summary;
mod token;
mod trust;
mod wait;

use std::process::ExitCode;

use crate::cli::{Command, ServeArgs};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::Session;
use server_config::server_config;

/// Runs what was asked for.
pub(crate) fn run(session: &Session, command: Option<Command>) -> Result<ExitCode, Problem> {
    let exit = match command {
        None => overview::run(session),
        Some(Command::Serve(args)) => {
            let config = server_config(session, &args)?;
            return Ok(crate::serve::serve(&config, &args));
        }
        Some(Command::Coordinator(args)) => return coordinator::run(session, &args),
        Some(Command::Demo(args)) => {
            let config = server_config(session, &ServeArgs::default())?;
            return Ok(crate::demo::demo(&config, &args));
        }
        Some(Command::Run(args)) => run::run(session, &args),
        Some(Command::Spawn(args)) => spawn::run(session, &args),
        Some(Command::Ps(args)) => ps::run(session, &args),
        Some(Command::Status(args)) => status::run(session, &args),
        Some(Command::Logs(args)) => logs::run(session, &args),
        Some(Command::Diff(args)) => diff::run(session, &args),
        Some(Command::Gates(args)) => gates::run(session, &args),
        Some(Command::Trust(args)) => trust::run(session, &args),
        Some(Command::Wait(args)) => wait::run(session, &args),
        Some(Command::Kill(args)) => kill::run(session, &args),
        Some(Command::KillAll(args)) => kill_all::run(session, &args),
        Some(Command::Rm(args)) => rm::run(session, &args),
        Some(Command::Prune(args)) => prune::run(session, &args),
        Some(Command::Killswitch(args)) => killswitch::run(session, &args),
        Some(Command::Freeze(args)) => freeze::run(session, &args, freeze::Way::Freeze),
        Some(Command::Thaw(args)) => freeze::run(session, &args, freeze::Way::Thaw),
        Some(Command::Drill(args)) => {
            let config = server_config(session, &ServeArgs::default())?;
            return drill::run(session, &config, &args).map(Exit::into);
        }
        Some(Command::Retry(args)) => retry::run(session, &args),
        Some(Command::Restore(args)) => restore::run(session, &args),
        Some(Command::Queue(args)) => queue::run(session, &args),
        Some(Command::Audit(args)) => audit::run(session, &args),
        Some(Command::Attention) => attention::list(session),
        Some(Command::Answer(args)) => attention::answer(session, &args),
        Some(Command::Drain(args)) => drain::run(session, &args),
        Some(Command::Nodes(args)) => nodes::run(session, &args),
        Some(Command::Doctor) => doctor::run(session),
        Some(Command::Config(args)) => config::run(session, &args),
        Some(Command::Token(args)) => token::run(session, &args),
        Some(Command::Completions(args)) => completions::run(session, &args),
    };
    exit.map(Exit::into)
}
