//! A server's connection to a shim.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mosaic_core::limits;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::bounded_file;
use crate::disk;

use super::connection_error::ConnectionError;
use super::layout::JobDir;
use super::protocol::{Answer, PROTOCOL, Request, line, take_line};

/// Longest line that a shim sends, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;

/// The content of a shim's answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// Live processes of the job, where that was asked.
    pub(super) live: Option<u32>,
    /// For how long they have been frozen, when they are.
    pub(super) frozen: Option<Duration>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    inbox: Vec<u8>,
    last_id: u64,
}

impl Connection {
    /// Connects to the shim of a job. The socket is named through a handle of its directory, because a socket's
    /// path has room for 107 bytes only.
    pub(super) async fn open(dir: &JobDir) -> Result<Self, ConnectionError> {
        let path = dir.path().to_owned();
        let connect = disk::run(move || {
            let handle = bounded_file::open_dir(&path)?;
            std::os::unix::net::UnixStream::connect(format!("/proc/self/fd/{}/sock", handle.as_raw_fd()))
        });
        let connected = timeout(limits::DISK_ANSWER, connect).await;
        let stream = connected.map_err(|_| ConnectionError::NoSocket)???;
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, inbox: Vec::new(), last_id: 0 })
    }

    /// Waits for the next thing the shim says, `None` at the end of the connection. Cancel-safe.
    pub(super) async fn receive(&mut self) -> Result<Option<Answer>, ConnectionError> {
        loop {
            if let Some(text) = take_line(&mut self.inbox) {
                match serde_json::from_slice(&text)? {
                    Answer::Hello { v: PROTOCOL } => continue,
                    Answer::Hello { v } => return Err(ConnectionError::Version(v)),
                    other => return Ok(Some(other)),
                }
            }
            if self.inbox.len() > ANSWER_BYTES {
                return Err(ConnectionError::EndlessLine);
            }
            // Everything that is read goes into the inbox before the next wait. A caller that gives up at
            // this point therefore loses no part of a line, which `read_exact` and its like could not
            // promise.
            self.stream.readable().await?;
            let mut chunk = [0; 4096];
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(n) => self.inbox.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // A Unix socket reports a reset when its peer closed it with requests unread. To a server
                // that is the end of the job like any other: the files tell how it ended.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Asks something and waits for the answer; returns what is in it. What the shim announces meanwhile is
    /// dropped: the files say it too.
    pub(super) async fn ask(&mut self, make: impl FnOnce(u64) -> Request) -> Result<Said, ConnectionError> {
        self.last_id += 1;
        let id = self.last_id;
        let request = line(&make(id));
        // The deadline covers the writing too. A supervisor that was stopped by a signal takes nothing from
        // its socket, and a full socket would keep the writer as long as it stands still.
        let answer = timeout(limits::SHIM_ANSWER, async {
            self.stream.write_all(&request).await?;
            while let Some(answer) = self.receive().await? {
                match answer {
                    Answer::Ok { id: of, live, frozen_ms } if of == id => {
                        return Ok(Said { live, frozen: frozen_ms.map(Duration::from_millis) });
                    }
                    Answer::Refused { id: of, why } if of == id => return Err(ConnectionError::Refused(why)),
                    _ => {}
                }
            }
            Err(ConnectionError::Ended)
        });
        answer.await.map_err(|_| ConnectionError::Silent)?
    }
}
