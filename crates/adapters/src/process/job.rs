//! The server's end of a running job: output from the files, wake-ups and orders over the socket.

use std::io;

use async_trait::async_trait;
use mosaic_core::limits;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, ProcessError};
use tokio::time::timeout;

use super::connection::Connection;
use super::layout::{ExitFile, JobDir};
use super::output_reader::{OutputReader, Piece};
use super::protocol::Request;

/// A job under a shim.
#[derive(Debug)]
pub(super) struct ShimJob {
    dir: JobDir,
    reader: OutputReader,
    connection: Option<Connection>,
    ended: Option<Exit>,
}

impl ShimJob {
    /// Follows a job from its start.
    pub(super) fn new(dir: JobDir, reader: OutputReader, connection: Option<Connection>) -> Self {
        Self { dir, reader, connection, ended: None }
    }

    /// Notices the end of the job: its exit file, or that its supervisor is gone without one.
    fn look_for_end(&mut self) -> Result<bool, ProcessError> {
        if let Some(file) = self.dir.load::<ExitFile>()? {
            self.ended = Some(file.exit);
            return Ok(true);
        }
        if self.connection.is_some() || self.dir.try_lock()?.is_none() {
            return Ok(false);
        }
        // The lock was free after the first look; an exit written between the two counts.
        match self.dir.load::<ExitFile>()? {
            Some(file) => self.ended = Some(file.exit),
            None => return Err(ProcessError::Lost(self.dir.label())),
        }
        Ok(true)
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

    async fn ask(&mut self, make: impl FnOnce(u64) -> Request) -> Result<(), ProcessError> {
        let Some(connection) = &mut self.connection else {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the job has ended").into());
        };
        connection.ask(make).await?;
        Ok(())
    }
}

#[async_trait]
impl Job for ShimJob {
    async fn next(&mut self) -> Result<JobEvent, ProcessError> {
        loop {
            match self.reader.next()? {
                Some(Piece::Data(data)) => return Ok(JobEvent::Output(data)),
                Some(Piece::Gap(bytes)) => return Ok(JobEvent::Gap(bytes)),
                None => {}
            }
            if let Some(exit) = &self.ended {
                if let Some(Piece::Gap(bytes)) = self.reader.skip_to(exit.output_bytes) {
                    return Ok(JobEvent::Gap(bytes));
                }
                self.reader.remove_overflow();
                return Ok(JobEvent::Exited(exit.clone()));
            }
            if !self.look_for_end()? {
                self.wait().await;
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ProcessError> {
        let refuse = |kind, why: &str| Err(ProcessError::Io(io::Error::new(kind, why)));
        if bytes.len() > limits::STDIN_QUEUE_BYTES {
            return refuse(io::ErrorKind::FileTooLarge, "more than fits the standard input queue");
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return refuse(io::ErrorKind::InvalidInput, "standard input takes UTF-8 text");
        };
        self.ask(|id| Request::Write { id, data: text.to_owned() }).await
    }

    async fn close_stdin(&mut self) -> Result<(), ProcessError> {
        if self.connection.is_none() {
            return Ok(());
        }
        match self.ask(|id| Request::CloseStdin { id }).await {
            Err(ProcessError::Io(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}
