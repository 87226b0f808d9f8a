//! One node of a fleet: its server, the wire to the store, and its trouble.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::chaos::api::Api;
use crate::chaos::server::Server;
use crate::chaos::testbed::Testbed;
use crate::chaos::{Outcome, Programs};
use crate::tcp_proxy::TcpProxy;

/// Term of a lease here: short, so that many of them run out.
pub(super) const LEASE: Duration = Duration::from_secs(6);

/// Present trouble of a node, with the time at which it ends.
pub(super) enum Trouble {
    Dead(Instant),
    Stopped(Instant),
    CutOff(Instant),
}

/// One node: its server, and the wire to the store.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) data: PathBuf,
    pub(super) port: u16,
    pub(super) wire: TcpProxy,
    pub(super) server: Option<Server>,
    pub(super) trouble: Option<Trouble>,
}

impl Node {
    pub(super) fn start(&mut self, programs: &Programs, place: &Testbed) -> Outcome<()> {
        let text = |value: &dyn fmt::Display| value.to_string();
        let env = [
            ("MOSAIC_DATA_DIR", text(&self.data.display())),
            ("MOSAIC_NODE", self.name.clone()),
            ("MOSAIC_NODE_URL", format!("http://127.0.0.1:{}", self.port)),
            ("ORCHESTRATOR_PORT", text(&self.port)),
            ("VALKEY_HOST", "127.0.0.1".to_owned()),
            ("VALKEY_PORT", text(&self.wire.port())),
            ("MOSAIC_LEASE_MS", text(&LEASE.as_millis())),
        ];
        place.note(&format!("{} starts", self.name));
        self.server = Some(Server::start(&programs.mosaic, place, &env)?);
        Ok(())
    }

    /// Returns its API when it is not known to be in trouble and listens.
    pub(super) fn api(&mut self, patience: Duration) -> Option<Api> {
        if self.trouble.is_some() {
            return None;
        }
        self.server.as_mut()?.api_by(Instant::now() + patience)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.server.as_ref().and_then(|server| Pid::from_raw(server.pid().cast_signed())) {
            // The child is not reaped yet, so its id is its own.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends a trouble whose time is over, or at once.
    pub(super) fn heal(&mut self, programs: &Programs, place: &Testbed, now: Option<Instant>) -> Outcome<()> {
        let over = |at: &Instant| now.is_none_or(|now| now >= *at);
        match &self.trouble {
            Some(Trouble::Dead(at)) if over(at) => self.start(programs, place)?,
            Some(Trouble::Stopped(at)) if over(at) => self.signal(Signal::CONT),
            Some(Trouble::CutOff(at)) if over(at) => self.wire.mend(),
            Some(_) => return Ok(()),
            None => {
                // A server that ends by itself, because the store was away when it started, is started again.
                if self.server.as_mut().is_none_or(|server| server.ended().is_some()) {
                    self.start(programs, place)?;
                }
                return Ok(());
            }
        }
        place.note(&format!("{} is well again", self.name));
        self.trouble = None;
        Ok(())
    }
}
