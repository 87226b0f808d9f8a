//! The connection to the server that every verb goes through: one socket for all calls, kept up by a task beside them
//! ([`super::reconnect`]), with a deadline for every answer.
//!
//! A call that finds no connection waits a moment for one and is then refused. A call whose answer does not come was
//! perhaps carried out: it is `Unavailable`, too, and the connection is given up, so that nothing of it arrives later.

use std::sync::Arc;

use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::dial::{Dialler, SharedDialler};
use super::failure::{Fault, message};
use super::live::{Live, Standing};
use super::options::LinkOptions;
use super::preflight;
use super::reconnect::{self, Reports};
use super::replicas::NotConfirmed;
use super::scripts::Script;

/// The connection to one server.
pub(super) struct Link {
    dialler: SharedDialler,
    standing: watch::Receiver<Standing>,
    reports: Reports,
    keeper: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Link {
    /// Connects, once, and looks whether the server may be trusted with anything. What is lost later comes back by itself.
    ///
    /// Errors: `Unavailable` when it cannot be reached, `Unusable` when it must not be used.
    pub(super) async fn connect(options: &LinkOptions) -> Result<Self, StoreError> {
        let dialler =
            Arc::new(Dialler::new(options.clone()).map_err(|e| StoreError::Unusable(e.to_string()))?);
        let (first, driver) = reconnect::connect_first(&dialler).await?;
        preflight::check(&first.connection, options, &first.address).await?;
        let (tell, standing) = watch::channel(Standing::Up(first.clone()));
        let (reports, received) = reconnect::reports();
        let keeper = tokio::spawn(reconnect::keep_up(Arc::clone(&dialler), (first, driver), tell, received));
        Ok(Self { dialler, standing, reports, keeper })
    }

    /// Runs a script by its digest; the server is told its text when it does not know it.
    pub(super) async fn eval(
        &self,
        script: &'static Script,
        keys: &[String],
        args: Vec<Vec<u8>>,
    ) -> Result<Value, StoreError> {
        let deadline = Instant::now() + limits::LINK_ANSWER;
        Ok(self.run_script(script, keys, &args, deadline).await?.0)
    }

    /// Runs a script as [`Self::eval`] does, and waits until every replica that the store had has what it wrote.
    ///
    /// Errors: besides those of [`Self::eval`], `NotSafe` when too few replicas are there or confirm. In the first case
    /// nothing was written, in the second the write stands on the primary.
    pub(super) async fn eval_durably(
        &self,
        script: &'static Script,
        keys: &[String],
        args: Vec<Vec<u8>>,
    ) -> Result<Value, StoreError> {
        let deadline = Instant::now() + limits::LINK_ANSWER;
        let not_safe =
            |live: &Live, why: NotConfirmed| StoreError::NotSafe(refused_at(&live.address, &why.to_string()));
        let live = self.live(deadline).await.map_err(Failed::into_error)?;
        live.replicas.before(&live.connection).await.map_err(|why| not_safe(&live, why))?;
        // A failover in between may have moved the call to another server. `WAIT` is about the writes of its own
        // connection, so the one that carried the script out is the one to ask.
        let (value, live) = self.run_script(script, keys, &args, deadline).await?;
        live.replicas.confirm(&live.connection).await.map_err(|why| not_safe(&live, why))?;
        Ok(value)
    }

    async fn run_script(
        &self,
        script: &'static Script,
        keys: &[String],
        args: &[Vec<u8>],
        deadline: Instant,
    ) -> Result<(Value, Live), StoreError> {
        // Servers before version 7 take no flags in the first line of a script, so each script has two texts
        // and two digests.
        let flags = self.live(deadline).await.map_err(Failed::into_error)?.flags;
        let joined = if flags { script.joined() } else { script.plain() };
        let call = |verb: &str, text: &str| {
            let mut cmd = redis::cmd(verb);
            cmd.arg(text).arg(keys.len()).arg(keys).arg(args);
            cmd
        };
        match self.send(Sent::One(&call("EVALSHA", &joined.digest)), deadline).await {
            // A server forgets its scripts when it restarts, and a replica that became the primary may never
            // have had them. Nothing was carried out, so the text can be sent at once.
            Err(Failed::Fault(Fault::NoScript, _)) => {
                let whole = call("EVAL", &joined.code);
                self.send(Sent::One(&whole), deadline).await.map_err(Failed::into_error)
            }
            done => done.map_err(Failed::into_error),
        }
    }

    /// Runs one command.
    pub(super) async fn query<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T, StoreError> {
        let deadline = Instant::now() + limits::LINK_ANSWER;
        let (value, live) = self.send(Sent::One(&cmd), deadline).await.map_err(Failed::into_error)?;
        self.read(value, &live)
    }

    /// Runs one command as [`Self::query`] does, and waits until every replica that the store had has what it wrote. Fails as
    /// [`Self::eval_durably`] does.
    pub(super) async fn query_durably<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T, StoreError> {
        let deadline = Instant::now() + limits::LINK_ANSWER;
        let (value, live) = self.send(Sent::One(&cmd), deadline).await.map_err(Failed::into_error)?;
        let confirmed = live.replicas.confirm(&live.connection).await;
        confirmed.map_err(|why| StoreError::NotSafe(refused_at(&live.address, &why.to_string())))?;
        self.read(value, &live)
    }

    /// Runs several commands in one round trip.
    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipe: Pipeline) -> Result<T, StoreError> {
        let deadline = Instant::now() + limits::LINK_ANSWER;
        let (value, live) = self.send(Sent::Many(&pipe), deadline).await.map_err(Failed::into_error)?;
        self.read(value, &live)
    }

    fn read<T: FromRedisValue>(&self, value: Value, live: &Live) -> Result<T, StoreError> {
        T::from_redis_value(value)
            .map_err(|e| self.unavailable(&live.address, &format!("its answer cannot be read: {e}")))
    }

    /// Returns since when the connection stands; nothing while it does not.
    pub(super) fn since(&self) -> Option<Instant> {
        match &*self.standing.borrow() {
            Standing::Up(live) => Some(live.since),
            Standing::Down { .. } => None,
        }
    }

    /// Returns a view of how the connection stands.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Opens a connection of its own that listens to these channels.
    pub(super) async fn listen(&self, channels: &[String]) -> Result<PubSub, StoreError> {
        let deadline = Instant::now() + limits::LINK_ANSWER;
        let live = self.live(deadline).await.map_err(Failed::into_error)?;
        Ok(self.dialler.listen(&live.address, channels).await?)
    }

    /// Returns what dials the same server.
    pub(super) fn dialler(&self) -> SharedDialler {
        Arc::clone(&self.dialler)
    }

    fn unavailable(&self, address: &Address, why: &str) -> StoreError {
        StoreError::Unavailable(refused_at(address, why))
    }

    /// Sends a command, again where it was certainly not carried out.
    async fn send(&self, sent: Sent<'_>, deadline: Instant) -> Result<(Value, Live), Failed> {
        let mut tries = 0;
        loop {
            let live = self.live(deadline).await?;
            let mut connection = live.connection.clone();
            let answer = match timeout_at(deadline, sent.over(&mut connection)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let why = format!("no answer within {} s", limits::LINK_ANSWER.as_secs());
                    // The answer may still come. Without giving the connection up, it would be read later,
                    // after the caller was told that nothing is known.
                    self.reports.give_up(live.generation, &why);
                    return Err(Failed::Unavailable(refused_at(&live.address, &why)));
                }
            };
            let error = match answer {
                Ok(value) => return Ok((value, live)),
                Err(error) => error,
            };
            let (fault, why) = (Fault::of(&error), message(&error));
            tries += 1;
            match &fault {
                Fault::Broken | Fault::Elsewhere => self.reports.give_up(live.generation, &why),
                Fault::Moved(host, port) => self.reports.go_to(live.generation, (host.clone(), *port)),
                Fault::NoScript | Fault::Refused => {}
            }
            // These two say for certain that nothing was carried out. After a broken connection the write may
            // stand, and sending it again could carry it out twice.
            if matches!(fault, Fault::Elsewhere | Fault::Moved(..)) && tries < limits::LINK_REDIRECTS {
                self.changed_from(live.generation, deadline).await;
                continue;
            }
            return Err(Failed::Fault(fault, refused_at(&live.address, &why)));
        }
    }

    /// Returns the connection; while there is none, waits for one as long as that may be a matter of moments.
    async fn live(&self, deadline: Instant) -> Result<Live, Failed> {
        let mut standing = self.standing.clone();
        loop {
            let until = match &*standing.borrow_and_update() {
                Standing::Up(live) => return Ok(live.clone()),
                Standing::Down { why, since } => {
                    // The wait counts from the loss and not from this call. Otherwise every call of a node without its
                    // store would take that long, and callers would pile up behind it.
                    let until = deadline.min(*since + limits::LINK_REACH);
                    if Instant::now() >= until {
                        return Err(Failed::Unavailable(why.to_string()));
                    }
                    until
                }
            };
            if let Ok(Err(_)) = timeout_at(until, standing.changed()).await {
                return Err(Failed::Unavailable("the store was closed".to_owned()));
            }
        }
    }

    /// Waits until another connection than this one stands, or none.
    async fn changed_from(&self, generation: u64, deadline: Instant) {
        let mut standing = self.standing.clone();
        let other =
            standing.wait_for(|now| !matches!(now, Standing::Up(live) if live.generation == generation));
        drop(timeout_at(deadline, other).await);
    }
}

fn refused_at(address: &Address, why: &str) -> String {
    format!("the store at {}:{} does not take it: {why}", address.0, address.1)
}

/// One command or several, sent in one go.
#[derive(Clone, Copy)]
enum Sent<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Sent<'_> {
    async fn over(self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        match self {
            Self::One(cmd) => cmd.query_async(connection).await,
            Self::Many(pipe) => pipe.query_async(connection).await,
        }
    }
}

/// Why there is no answer; both have words for people.
enum Failed {
    Unavailable(String),
    Fault(Fault, String),
}

impl Failed {
    fn into_error(self) -> StoreError {
        let (Self::Unavailable(why) | Self::Fault(_, why)) = self;
        StoreError::Unavailable(why)
    }
}
