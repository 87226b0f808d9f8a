//! Connections of servers to a shim. None of them can hold the shim up: reads and writes never block, and what a
//! server does not fetch is dropped, since it is only a wake-up.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use mosaic_core::limits;

use super::super::protocol::{Answer, PROTOCOL, Request, line, take_line};

/// Longest request: a full standard input queue in JSON's longest spelling.
const REQUEST_BYTES: usize = 6 * limits::STDIN_QUEUE_BYTES + 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    gone: bool,
}

impl Client {
    /// Tells whether bytes wait for the socket to take them.
    pub(super) fn is_behind(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Reads what is there and returns the requests in it.
    pub(super) fn read(&mut self) -> Vec<Request> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.gone = true,
                Ok(n) => {
                    self.inbox.extend_from_slice(&chunk[..n]);
                    if self.inbox.len() <= REQUEST_BYTES {
                        continue;
                    }
                    // A long request is whole or not one of ours: what has no end of line after this many
                    // bytes would grow without a bound.
                    self.gone = !self.inbox.contains(&b'\n');
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => self.gone = true,
            }
            break;
        }
        let mut requests = Vec::new();
        while let Some(text) = take_line(&mut self.inbox) {
            match serde_json::from_slice(&text) {
                Ok(request) => requests.push(request),
                Err(_) => self.gone = true,
            }
        }
        requests
    }

    /// Queues an answer. A server that asks without reading is let go.
    pub(super) fn answer(&mut self, answer: &Answer) {
        self.outbox.extend(line(answer));
        self.flush();
        self.gone |= self.outbox.len() > limits::OUTPUT_CHUNK_BYTES;
    }

    /// Sends what the socket takes now.
    pub(super) fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

/// All connections.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) listener: UnixListener,
    pub(super) list: Vec<Client>,
}

impl Clients {
    /// Listens at `sock` in the working directory, so that the length of its path does not matter.
    pub(super) fn listen() -> std::io::Result<Self> {
        let listener = UnixListener::bind("sock")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, list: Vec::new() })
    }

    /// Takes a new connection and greets it.
    pub(super) fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.list.len() >= limits::SHIM_CLIENTS || stream.set_nonblocking(true).is_err() {
            return;
        }
        let mut client = Client { stream, inbox: Vec::new(), outbox: Vec::new(), gone: false };
        client.answer(&Answer::Hello { v: PROTOCOL });
        self.list.push(client);
    }

    /// Tells everybody something that may be dropped for those who are behind.
    pub(super) fn announce(&mut self, answer: &Answer) {
        // A wake-up that waits behind another one says nothing new, so a server that reads slowly costs no
        // memory here. The answers to its requests are never dropped.
        for client in self.list.iter_mut().filter(|client| !client.is_behind()) {
            client.answer(answer);
        }
    }

    /// Forgets the connections that ended.
    pub(super) fn prune(&mut self) {
        self.list.retain(|client| !client.gone);
    }
}
