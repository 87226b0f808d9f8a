//! The `mosaic` program: the server, and the commands that talk to one. One file per command under `commands/`;
//! `config.rs` knows every setting, `exit.rs` every exit code. A library, so that the program and the one that breaks
//! its ports on purpose are the same except for their [`PortWrappers`].

mod agent_env;
mod cli;
mod client;
mod color;
mod commands;
mod config;
mod control;
mod demo;
mod drill;
mod exit;
mod follow;
mod head_files;
mod hidden;
mod interrupt;
mod local_audit;
mod local_git;
mod local_kill;
mod locate;
mod log_output;
mod logging;
mod problem;
mod proof;
mod queue_file;
mod resolve;
mod run_state;
#[cfg(test)]
mod samples;
mod sanitize;
mod sent;
mod serve;
mod session;
mod small_file;
mod table;
mod transcript;
mod trust;
mod view;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use exit::Exit;
use session::{Session, say};

pub use wire::PortWrappers;

/// Runs the program with its ports in these wrappers.
pub fn main_with(wrappers: PortWrappers) -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if let Some(code) = hidden::dispatch(&args) {
        return code;
    }
    wire::install(wrappers);
    let parsed = match cli::Cli::try_parse() {
        Ok(parsed) => parsed,
        Err(e) => {
            let help = !e.use_stderr();
            // A closed pipe while help is printed is nobody's problem.
            let _ = e.print();
            return if help { Exit::Ok.into() } else { Exit::Usage.into() };
        }
    };
    let session = Session::new(parsed.global);
    match commands::run(&session, parsed.command) {
        Ok(code) => code,
        Err(problem) => {
            let exit = Exit::of_problem(&problem);
            if exit != Exit::Ok {
                say(session.paint().symbols(problem.render()).trim_end());
            }
            exit.into()
        }
    }
}
