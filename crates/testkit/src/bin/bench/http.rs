//! The API of the measured server, on a kept-alive connection.

use std::net::SocketAddr;
use std::time::Duration;

use mosaic_api::{Event, EventEnvelope};
use mosaic_testkit::connection::{Connection, EventStream};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::Outcome;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Client(Connection);

impl Client {
    /// Connects; `token` goes into every request.
    pub(crate) fn connect(address: SocketAddr, token: &str) -> Outcome<Self> {
        Ok(Self(Connection::open(address, token, ANSWER)?))
    }

    /// Sends a request and returns the answer's status and body.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &str) -> Outcome<(u16, &[u8])> {
        Ok(self.0.send(method, path, "", body)?)
    }

    /// Sends a request that must succeed.
    pub(crate) fn done(&mut self, method: &str, path: &str, body: &str) -> Outcome<()> {
        self.json::<IgnoredAny>(method, path, body).map(drop)
    }

    /// Sends a request that must succeed, and reads its answer.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, method: &str, path: &str, body: &str) -> Outcome<T> {
        let (status, answer) = self.send(method, path, body)?;
        if !(200..300).contains(&status) {
            return Err(format!(
                "{method} {path} was answered {status}: {}",
                String::from_utf8_lossy(answer)
            )
            .into());
        }
        Ok(serde_json::from_slice(answer)?)
    }

    /// Turns the connection into a reader of the event stream. Returns once the server has sent where the stream begins.
    pub(crate) fn events(self, kinds: &str) -> Outcome<Events> {
        let mut events = Events(self.0.events(&format!("/v1/events?types={kinds}"), ANSWER)?);
        while events.next()?.kind() != "snapshot" {}
        Ok(events)
    }
}

/// The event stream.
pub(crate) struct Events(EventStream);

impl Events {
    /// Waits for the next event.
    pub(crate) fn next(&mut self) -> Outcome<Event> {
        let event = self.0.next_event()?.ok_or("the server closed the event stream")?;
        Ok(serde_json::from_str::<EventEnvelope>(&event.data)?.event())
    }
}
