//! The place of a server, and a stream of bytes to it.

use tokio::io::{AsyncRead, AsyncWrite};

/// A server's host and port.
pub(super) type Address = (String, u16);

/// A stream of bytes to and from a server.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}
