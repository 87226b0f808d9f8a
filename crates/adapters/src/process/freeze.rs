//! The server's side of freezing: what it asks of every running job of an agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::processes::ProcessError;

use crate::disk;

use super::connection::{Connection, Said};
use super::connection_error::ConnectionError;
use super::job_list;
use super::layout::JobDir;
use super::protocol::Request;

/// The answers of all shims of an agent, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ShimAnswers {
    /// Jobs that run and were asked.
    pub(super) asked: u32,
    /// Of these, those that are frozen now.
    pub(super) frozen: u32,
    /// The longest time that one of them has been frozen.
    pub(super) longest: Option<Duration>,
}

/// Asks all running jobs of the agent at once. A job that ends meanwhile is none any more.
pub(super) async fn ask_all(
    data: &Path,
    agent: AgentId,
    make: impl Fn(u64) -> Request + Copy + Send + Sync + 'static,
) -> Result<ShimAnswers, ProcessError> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the agent's job records do not answer");
    let asked = ask_in_place(data.to_owned(), agent, make);
    disk::drive_for(limits::SHIM_ANSWER + limits::DISK_ANSWER, asked)
        .await
        .unwrap_or_else(|| Err(late().into()))
}

/// Does so on this thread, which the disk may keep.
async fn ask_in_place(
    data: PathBuf,
    agent: AgentId,
    make: impl Fn(u64) -> Request + Copy,
) -> Result<ShimAnswers, ProcessError> {
    let jobs = job_list::unended(&data, agent)?;
    let mut answers = ShimAnswers::default();
    for said in join_all(jobs.iter().map(|dir| ask(dir, make))).await {
        let Some(said) = said? else { continue };
        answers.asked += 1;
        answers.frozen += u32::from(said.frozen.is_some());
        answers.longest = answers.longest.max(said.frozen);
    }
    Ok(answers)
}

/// Asks one job; `None` when it is over.
async fn ask(dir: &JobDir, make: impl Fn(u64) -> Request) -> Result<Option<Said>, ConnectionError> {
    let is_over = || dir.has_ended() || matches!(dir.try_lock(), Ok(Some(_)));
    if is_over() {
        return Ok(None);
    }
    let said = async { Connection::open(dir).await?.ask(make).await }.await;
    match said {
        // A job that ends between the question and the answer closes its socket. That is asked again before
        // the error counts: an order to freeze must not fail for a job that has nothing left to freeze.
        Err(_) if is_over() => Ok(None),
        other => other.map(Some),
    }
}
