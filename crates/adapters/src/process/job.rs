//! The server's end of a running job: output from the files, wake-ups and orders over the socket.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::limits;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, ProcessError};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::connection::Connection;
use super::connection_error::ConnectionError;
use super::layout::{ExitFile, JobDir};
use super::output_reader::{OutputReader, Piece};
use super::protocol::Request;
use crate::disk;
use crate::passing::is_passing;

/// A job under a shim.
#[derive(Debug)]
pub(super) struct ShimJob {
    dir: JobDir,
    files: Files,
    connection: Option<Connection>,
    ended: Option<Exit>,
    /// The files could not be looked at, and that was said.
    waits: bool,
}

/// The job's files, which a disk may keep: each look at them has a thread of its own, and outlives a caller that gives up.
#[derive(Debug)]
enum Files {
    Here(OutputReader),
    Looking(oneshot::Receiver<Option<Look>>),
    Lost,
}

/// One look at a job's files, and the reader back.
type Look = (OutputReader, Result<Found, ProcessError>);

/// Result of one look.
#[derive(Debug)]
enum Found {
    Output(Piece),
    /// Nothing new; the job runs.
    Nothing,
    Ended(Exit),
    /// It has ended, and everything was read.
    Over,
}

/// Looks for the next piece of output, and then for the end of the job: its exit file, or that its supervisor is gone without one.
fn look(
    reader: &mut OutputReader,
    dir: &JobDir,
    ended: Option<&Exit>,
    is_connected: bool,
) -> Result<Found, ProcessError> {
    // Output comes before the end: the shim writes the exit after its last byte of output, so whoever sees an
    // exit and then finds no more output has read everything.
    if let Some(piece) = reader.next()? {
        return Ok(Found::Output(piece));
    }
    if let Some(exit) = ended {
        if let Some(gap) = reader.skip_to(exit.output_bytes) {
            return Ok(Found::Output(gap));
        }
        // Only a reader that has come to the end may do this. An earlier server that was lost half-way leaves
        // them to the next one, which then still finds what overflowed.
        reader.remove_overflow();
        return Ok(Found::Over);
    }
    if let Some(file) = dir.load::<ExitFile>()? {
        return Ok(Found::Ended(file.into_exit()));
    }
    // A shim closes its connections when it ends, so an open one is proof enough that it lives. Only without
    // one is the lock asked, which opens a file in a directory that the agent can write to.
    if is_connected || dir.try_lock()?.is_none() {
        return Ok(Found::Nothing);
    }
    // The lock was free after the first look; an exit written between the two counts.
    let file = dir.load::<ExitFile>()?.ok_or_else(|| ProcessError::Lost(dir.label()))?;
    Ok(Found::Ended(file.into_exit()))
}

impl ShimJob {
    /// Follows a job from its start.
    pub(super) fn new(dir: JobDir, reader: OutputReader, connection: Option<Connection>) -> Self {
        Self { dir, files: Files::Here(reader), connection, ended: None, waits: false }
    }

    /// Looks at the job's files. Cancel-safe: the next call takes over a look that is under way.
    async fn look(&mut self) -> Result<Found, ProcessError> {
        // The reader travels to the thread and back instead of being shared. When the disk hangs, the thread
        // keeps it, and this future can be dropped and polled again without touching a file.
        if matches!(self.files, Files::Here(_))
            && let Files::Here(reader) = std::mem::replace(&mut self.files, Files::Lost)
        {
            // Shared until a thread has begun with it: where none is to be had, the reader stays here.
            let shelf = Arc::new(Mutex::new(Some(reader)));
            let taken = Arc::clone(&shelf);
            let (dir, ended, is_connected) =
                (self.dir.clone(), self.ended.clone(), self.connection.is_some());
            let take = |shelf: &Mutex<Option<OutputReader>>| shelf.lock().take();
            let work = move || {
                let mut reader = take(&taken)?;
                let found = look(&mut reader, &dir, ended.as_ref(), is_connected);
                Some((reader, found))
            };
            match disk::begin(work) {
                Ok(answer) => self.files = Files::Looking(answer),
                Err(e) => {
                    self.files = take(&shelf).map_or(Files::Lost, Files::Here);
                    return Err(e.into());
                }
            }
        }
        let Files::Looking(answer) = &mut self.files else {
            return Err(ProcessError::Lost(self.dir.label()));
        };
        let Ok(Some((reader, found))) = answer.await else {
            return Err(ProcessError::Lost(self.dir.label()));
        };
        self.files = Files::Here(reader);
        found
    }

    /// Waits before another look after one that failed for a reason that passes. The job goes on under its shim meanwhile, and its
    /// output is in the files.
    async fn wait_out(&mut self, why: &io::Error) {
        if !std::mem::replace(&mut self.waits, true) {
            tracing::warn!(job = %self.dir.label(), error = %why, "a job's files cannot be looked at now; trying again");
        }
        tokio::time::sleep(limits::JOB_POLL).await;
    }

    /// Waits until the shim says something, at most one period.
    async fn wait(&mut self) {
        match &mut self.connection {
            Some(connection) => {
                if let Ok(Ok(None) | Err(_)) = timeout(limits::JOB_POLL, connection.receive()).await {
                    self.connection = None;
                }
            }
            None => {
                // The shim lives but its socket was closed: its files are looked at until it is heard again.
                tokio::time::sleep(limits::JOB_POLL / 10).await;
                self.connection = Connection::open(&self.dir).await.ok();
            }
        }
    }

    async fn ask(&mut self, make: impl FnOnce(u64) -> Request) -> Result<(), ConnectionError> {
        let Some(connection) = &mut self.connection else {
            return Err(ConnectionError::Ended);
        };
        connection.ask(make).await?;
        Ok(())
    }
}

/// Returns bytes for the standard input as the text in which they travel.
fn input_text(bytes: &[u8]) -> io::Result<String> {
    if bytes.len() > limits::STDIN_QUEUE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than fits the standard input queue"));
    }
    let text = std::str::from_utf8(bytes);
    let text =
        text.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "standard input takes UTF-8 text"))?;
    Ok(text.to_owned())
}

#[async_trait]
impl Job for ShimJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        loop {
            let found = match self.look().await {
                Err(ProcessError::Io(e)) if is_passing(&e) => {
                    self.wait_out(&e).await;
                    continue;
                }
                found => found?,
            };
            self.waits = false;
            match found {
                Found::Output(Piece::Data(data)) => return Ok(JobEvent::Output(data)),
                Found::Output(Piece::Gap(bytes)) => return Ok(JobEvent::Gap(bytes)),
                Found::Nothing => self.wait().await,
                Found::Ended(exit) => self.ended = Some(exit),
                Found::Over => return Ok(JobEvent::Exited(self.ended.clone().unwrap_or_default())),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        let data = input_text(bytes)?;
        Ok(self.ask(|id| Request::Write { id, data, answers: None }).await?)
    }

    async fn answer(&mut self, line_end: u64, bytes: &[u8]) -> Result<(), ProcessError> {
        let data = input_text(bytes)?;
        let make = |id| Request::Write { id, data: data.clone(), answers: Some(line_end) };
        match self.ask(make).await {
            // The supervisor may have taken it before its connection was lost; it knows that by itself, so that it can
            // be asked again.
            Err(e) if !matches!(e, ConnectionError::Refused(_)) => {
                self.connection = Connection::open(&self.dir).await.ok();
                Ok(self.ask(make).await?)
            }
            asked => Ok(asked?),
        }
    }

    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        if self.connection.is_none() {
            return Ok(());
        }
        match self.ask(|id| Request::CloseStdin { id }).await {
            Err(e) if e.is_end() => Ok(()),
            asked => Ok(asked?),
        }
    }
}

/// Closing a file on a disk that hangs may take as long as the disk does.
impl Drop for ShimJob {
    fn drop(&mut self) {
        if let Files::Here(reader) = std::mem::replace(&mut self.files, Files::Lost) {
            // Where no thread is to be had, it is closed here.
            let _ = disk::begin(move || drop(reader));
        }
    }
}
