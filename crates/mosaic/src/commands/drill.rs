//! `mosaic drill`: the kill switch proven on this machine.

use crate::cli::DrillArgs;
use crate::config::Config;
use crate::drill::drill;
use crate::exit::Exit;
use crate::interrupt;
use crate::problem::Problem;
use crate::session::{Session, say};

/// Runs the command.
pub(super) fn run(session: &Session, config: &Config, args: &DrillArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let what = "drill is not for agents".to_owned();
        return Err(Problem::NotAllowed { what, hint: Some("ask the operator".to_owned()) });
    }
    let interrupts = interrupt::catch();
    if !session.global.json {
        say("DRILL: throw-away agents that try to get away, and kills. Nothing of yours is touched.");
    }
    let report = match drill(config, args.agents, &interrupts) {
        // Whatever broke off, it did because of this.
        Err(_) if interrupts.caught() => {
            say("stopped: nothing of the drill runs any more");
            return Ok(Exit::Interrupted);
        }
        done => done?,
    };
    if session.global.json {
        session.print_json(&report.json())?;
    } else {
        session.print(report.text(session.terminal.width, session.paint()))?;
    }
    Ok(if report.passed() { Exit::Ok } else { Exit::Error })
}
