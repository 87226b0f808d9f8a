//! The place of one run of one gate: a copy of the checkout, a home and a temporary directory that nothing ever ran in, and a user
//! of its own where the machine allows one.

use std::io;
use std::path::{Path, PathBuf};

use mosaic_core::domain::gates::GateDefinition;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::sandbox::{Command, Policy, Purpose, SandboxHandle};

use super::judging::Judging;
use super::options::GateOptions;
use super::report_dir::{self, ReportDir};
use super::tree_copy;
use crate::isolation::{self, Account, Isolated};

/// Name of the copy below the place's own directory.
const TREE: &str = "tree";

/// A place that a gate can run in.
pub(super) struct GatePlace {
    handle: SandboxHandle,
    account: Account,
    borrowed: Vec<(PathBuf, PathBuf)>,
    /// The gate's working tree.
    pub(super) tree: PathBuf,
    /// The same, as its commands see it.
    pub(super) inside: PathBuf,
    /// The directory that its command was given for reports.
    pub(super) reports: Option<ReportDir>,
}

/// Makes a place. The inner error is one of the checkout, which says that the gate cannot be judged; the outer one is a fault of
/// this machine.
pub(super) async fn make(
    options: &GateOptions,
    judging: &Judging,
) -> Result<Result<GatePlace, io::Error>, Failure> {
    // The agent's own place is not reused: programs that it left in its HOME or its cache would run as part of the judgement.
    let handle = options.sandbox.prepare(judging.agent, Purpose::Gate, &Policy::of_gates()).await?;
    let (isolator, isolated) = (options.isolator.clone(), judging.is_isolated());
    let (from, place, given) = (judging.checkout.clone(), handle.clone(), judging.given.clone());
    let made = tokio::task::spawn_blocking(move || {
        let account = isolator.account()?;
        let tree = place.own.join(TREE);
        let borrowed = tree_copy::make(&from, &tree, &account, isolated)?;
        if let Some(given) = given {
            given.to_home(&place.home)?;
        }
        hand_over(&place.home, &account)?;
        hand_over(&place.tmp, &account)?;
        Ok((account, borrowed, tree))
    });
    let made = made.await.unwrap_or_else(|_| Err(io::Error::other("the thread that made it broke")));
    match made {
        Ok((account, borrowed, tree)) => {
            let inside = if isolated { PathBuf::from(isolation::TREE) } else { tree.clone() };
            Ok(Ok(GatePlace { handle, account, borrowed, tree, inside, reports: None }))
        }
        Err(e) => {
            discard(options, judging, &handle).await;
            Ok(Err(e))
        }
    }
}

/// Gives a directory and everything in it to the gate's user. Nothing has run in there yet.
fn hand_over(directory: &Path, account: &Account) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => hand_over(&entry.path(), account)?,
            false => isolation::give(&entry.path(), account)?,
        }
    }
    isolation::give(directory, account)
}

impl GatePlace {
    /// Makes the directory for a gate's reports, where the gate names it.
    pub(super) fn give_reports(&mut self, gate: &GateDefinition, isolated: bool) -> io::Result<()> {
        if report_dir::wanted(gate) {
            let inside = if isolated { Path::new(isolation::TMP) } else { &self.handle.tmp };
            self.reports = Some(ReportDir::create(&self.handle.tmp, inside)?);
        }
        Ok(())
    }

    /// Turns a gate's command into one that runs here.
    pub(super) fn command(&self, options: &GateOptions, command: Command) -> Command {
        options.sandbox.command(&self.handle, command)
    }

    /// Turns it into one that runs isolated.
    pub(super) fn isolated(&self, options: &GateOptions, command: Command) -> io::Result<Isolated> {
        let place = isolation::Place {
            own: &self.handle.own,
            tree: &self.tree,
            home: &self.handle.home,
            tmp: &self.handle.tmp,
            read: &self.borrowed,
        };
        options.isolator.isolate(&place, &self.account, command)
    }

    /// Removes it. The user is free for others from then on.
    pub(super) async fn remove(self, options: &GateOptions, judging: &Judging) {
        discard(options, judging, &self.handle).await;
    }
}

async fn discard(options: &GateOptions, judging: &Judging, handle: &SandboxHandle) {
    // A failure is no verdict: the agent's removal takes the rest.
    if let Err(error) = options.sandbox.discard(handle).await {
        let path = handle.own.display();
        tracing::warn!(agent.id = %judging.agent, %path, %error, "the place of a gate stays until its agent is cleaned up");
    }
}
