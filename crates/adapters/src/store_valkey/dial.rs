//! The way to a server: its address (asked of Sentinels where there are some), a socket, TLS, and the first words.
//!
//! A socket that is given up takes back what it had not sent: a write that was answered with "unavailable" must not
//! arrive long after it was tried again elsewhere.

use std::sync::Arc;
use std::time::Duration;

use mosaic_core::limits;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, Value};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::address::{Address, Wire};
use super::dial_error::{Cause, DialError};
use super::options::{LinkOptions, Sentinels};
use super::quorum::Quorum;
use super::servers::Servers;
use super::tls::Connector;

/// A connection that many calls share, with the task that moves its bytes. The task ends with the connection.
pub(super) struct Dialled {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: JoinHandle<()>,
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Dials servers.
pub(super) struct Dialler {
    pub(super) options: LinkOptions,
    /// The replicas that must confirm, over every connection.
    pub(super) quorum: Arc<Quorum>,
    tls: Option<Connector>,
    /// Where the server is looked for, without Sentinels.
    pub(super) servers: Servers,
}

impl Dialler {
    /// Reads what TLS needs.
    pub(super) fn new(options: LinkOptions) -> Result<Self, DialError> {
        let tls = options.tls.as_ref().map(Connector::new).transpose()?;
        let quorum = Arc::new(Quorum::new(options.accept_risk));
        let first = (options.host.clone(), options.port);
        let servers = Servers::new(std::iter::once(first).chain(options.others.clone()).collect());
        Ok(Self { options, quorum, tls, servers })
    }

    /// Returns where the server is now, or may be: of several each in turn.
    pub(super) async fn locate(&self) -> Result<Address, DialError> {
        match &self.options.sentinels {
            None => Ok(self.servers.next()),
            Some(sentinels) => self.ask_sentinels(sentinels).await,
        }
    }

    async fn ask_sentinels(&self, sentinels: &Sentinels) -> Result<Address, DialError> {
        let mut faults = Vec::new();
        for (host, port) in &sentinels.addresses {
            let asked = self.ask_sentinel((host.clone(), *port), &sentinels.master);
            match tokio::time::timeout(limits::SENTINEL_ANSWER, asked).await {
                Ok(Ok(Some(address))) => return Ok(address),
                Ok(Ok(None)) => faults.push(format!("{host}:{port} knows no \"{}\"", sentinels.master)),
                Ok(Err(why)) => faults.push(why.to_string()),
                Err(_) => faults.push(format!("{host}:{port}: no answer")),
            }
        }
        Err(DialError::NoSentinel(faults))
    }

    async fn ask_sentinel(&self, address: Address, master: &str) -> Result<Option<Address>, DialError> {
        let plain = RedisConnectionInfo::default();
        // Sentinels often have no password although their servers do.
        let dialled = match self.talk(&address, &self.identity(0)).await {
            Err(_) if self.options.password.is_some() => self.talk(&address, &plain).await,
            dialled => dialled,
        };
        let dialled = dialled?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(master);
        let answer: Option<(String, u16)> = command
            .query_async(&mut dialled.connection.clone())
            .await
            .map_err(|e| Cause::from(e).at(&address))?;
        Ok(answer)
    }

    fn identity(&self, database: i64) -> RedisConnectionInfo {
        let mut info =
            RedisConnectionInfo::default().set_db(database).set_lib_name("mosaic", env!("CARGO_PKG_VERSION"));
        if let Some(password) = &self.options.password {
            info = info.set_password(password);
            if let Some(username) = &self.options.username {
                info = info.set_username(username);
            }
        }
        info
    }

    /// Opens a connection that calls share, under this name in the server's list.
    pub(super) async fn dial(&self, address: &Address, name: &str) -> Result<Dialled, DialError> {
        let dialled = within(address, self.talk(address, &self.identity(self.options.database))).await?;
        let mut connection = dialled.connection.clone();
        let mut named = redis::cmd("CLIENT");
        named.arg("SETNAME").arg(client_name(name));
        let greeted = async {
            // A server that reads its files answers nothing else yet.
            redis::cmd("PING").query_async::<Value>(&mut connection).await?;
            // Names are for people: a user who may not give one goes without.
            drop(named.query_async::<Value>(&mut connection).await);
            Ok::<_, RedisError>(())
        };
        within(address, async { greeted.await.map_err(|e| Cause::from(e).at(address)) }).await?;
        Ok(dialled)
    }

    async fn talk(&self, address: &Address, identity: &RedisConnectionInfo) -> Result<Dialled, DialError> {
        let wire = self.wire(address).await?;
        // The deadlines are ours: one covers a whole call with its redirections, and a pipeline that waits
        // behind a slow script is not cut off by a limit for each answer.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let opened = MultiplexedConnection::new_with_config(identity, wire, config).await;
        let (connection, driver) = opened.map_err(|e| Cause::from(e).at(address))?;
        Ok(Dialled { connection, driver: tokio::spawn(driver) })
    }

    /// Opens a connection that only listens.
    pub(super) async fn listen(&self, address: &Address, channels: &[String]) -> Result<PubSub, DialError> {
        within(address, async {
            let wire = self.wire(address).await?;
            let opened = PubSub::new(&self.identity(0), wire).await;
            let mut listening = opened.map_err(|e| Cause::from(e).at(address))?;
            listening.subscribe(channels).await.map_err(|e| Cause::from(e).at(address))?;
            Ok(listening)
        })
        .await
    }

    async fn wire(&self, address: &Address) -> Result<Box<dyn Wire>, DialError> {
        let (host, port) = address;
        let socket = TcpStream::connect((host.as_str(), *port)).await;
        let socket = socket.map_err(|e| Cause::from(e).at(address))?;
        set_up(&socket).map_err(|e| Cause::from(e).at(address))?;
        match &self.tls {
            None => Ok(Box::new(socket)),
            Some(tls) => tls.wrap(host, socket).await.map_err(|e| Cause::from(e).at(address)),
        }
    }
}

/// Small messages go at once; a peer that is gone is noticed; nothing unsent survives the socket.
fn set_up(socket: &TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, limits::LINK_ANSWER)?;
    sockopt::set_tcp_keepintvl(socket, limits::LINK_ANSWER / 2)?;
    sockopt::set_tcp_keepcnt(socket, 2)?;
    // Closing discards what the kernel has not sent yet. Otherwise a write could arrive after its caller was
    // told that the connection was given up, and after another node took the work over.
    sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
    Ok(())
}

/// A name in the server's list of clients has neither spaces nor line breaks.
fn client_name(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).collect()
}

/// Gives up what takes longer than a connection may take.
async fn within<T>(
    address: &Address,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    let done = tokio::time::timeout(limits::LINK_CONNECT, work).await;
    done.unwrap_or_else(|_| Err(Cause::Silent(limits::LINK_CONNECT).at(address)))
}

/// Shared by all that dial one server.
pub(super) type SharedDialler = Arc<Dialler>;
