//! Errors of the way to a server. Each keeps its cause; the text of all of them is for people.

use std::io;
use std::time::Duration;

use mosaic_core::ports::store::StoreError;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use thiserror::Error;

use super::address::Address;
use super::failure::{io_message, message};
use super::tls::TlsError;

/// Error of the way to a server.
#[derive(Debug, Error)]
pub enum DialError {
    /// A server cannot be reached, or does not let us in.
    #[error("cannot reach the store at {}:{} ({cause})", .address.0, .address.1)]
    Unreachable {
        /// The server.
        address: (String, u16),
        /// The cause.
        #[source]
        cause: Cause,
    },
    /// No Sentinel names the server; a message from each.
    #[error("no Sentinel says where the store is ({})", .0.join("; "))]
    NoSentinel(Vec<String>),
    /// TLS cannot be spoken at all.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server refused to say what it is.
    #[error("{}", message(.0))]
    Refused(#[source] RedisError),
    /// The server did not say within this time what it is.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
}

/// Cause of a server that cannot be reached.
#[derive(Debug, Error)]
pub enum Cause {
    /// The server, or the connection to it, failed.
    #[error("{}", message(.0))]
    Server(#[from] RedisError),
    /// The operating system failed.
    #[error("{}", io_message(.0))]
    Io(#[from] io::Error),
    /// TLS could not be agreed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No answer came within this time.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Each server of the cluster names another one.
    #[error("the cluster sends us on and on")]
    Redirects,
    /// The Sentinels name a server that may not be written to.
    #[error("it is a replica; the Sentinels name it all the same")]
    Replica,
}

impl Cause {
    /// Makes the error of a server that cannot be reached for this cause.
    pub(super) fn at(self, address: &Address) -> DialError {
        DialError::Unreachable { address: address.clone(), cause: self }
    }
}

impl DialError {
    /// Tells whether the server is there, but still reads its files.
    pub(super) fn is_loading(&self) -> bool {
        matches!(self, Self::Unreachable { cause: Cause::Server(error), .. }
            if error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading))
    }
}

impl From<DialError> for StoreError {
    fn from(error: DialError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
