//! Client of the demo's own server: it uses the public API, as every other program does.

use std::time::Duration;

use anyhow::bail;
use mosaic_api::EventEnvelope;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};

use crate::client::{ApiAnswer, Client};
use crate::config::Secret;
use crate::locate::ServerLocation;
use crate::problem::Problem;
use crate::sent::Sent;
use crate::serve::LocalServer;

/// Longest time for the whole play.
const PLAY: Duration = Duration::from_secs(180);

/// The client of the demo's server.
pub(super) struct Stage {
    client: Client,
}

impl Stage {
    /// Makes the client. The server ends when the play takes too long, and with it whatever waits for it.
    pub(super) fn new(server: &LocalServer) -> Self {
        let token = Some(server.token()).filter(|token| !token.is_empty());
        let token = token.map(|token| Secret::new(token.to_owned()));
        let stop = server.stopper();
        // Not joined: it ends with the program, which the play's end is.
        std::thread::spawn(move || {
            std::thread::sleep(PLAY);
            stop();
        });
        Self {
            client: Client::new(&ServerLocation {
                url: server.url().to_owned(),
                token,
                explicit: true,
                port: None,
            }),
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Sent<T>> {
        self.client.get(path).map_err(told)
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<Sent<T>> {
        self.client.post(path, body).and_then(ApiAnswer::read).map_err(told)
    }

    /// Reads events from the first one on until the listener says that it has heard enough.
    pub(super) fn events(
        &self,
        mut listen: impl FnMut(&EventEnvelope) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut heard = Ok(true);
        let read = self.client.events("/v1/events?after=0", |kind, event| {
            // It has no envelope: the log was pruned, and what follows begins anew.
            if kind == "reset" {
                return true;
            }
            heard = EventEnvelope::deserialize(event)
                .map_err(anyhow::Error::new)
                .and_then(|envelope| listen(&envelope));
            matches!(heard, Ok(true))
        });
        match (heard, read) {
            (Err(e), _) => Err(e),
            (Ok(false), _) => Ok(()),
            (Ok(true), Err(problem)) => Err(told(problem)),
            (Ok(true), Ok(())) => bail!("the event stream ended before the play did"),
        }
    }
}

fn told(problem: Problem) -> anyhow::Error {
    match problem {
        Problem::Other(e) => e,
        other => anyhow::anyhow!("{other}"),
    }
}
