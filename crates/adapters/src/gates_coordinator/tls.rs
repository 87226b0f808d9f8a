//! TLS to a coordinator: the authorities are the system's (or those of `SSL_CERT_FILE`), and nothing turns the check off.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Reason why there is no encrypted connection.
#[derive(Debug, Error)]
pub(super) enum TlsError {
    /// The machine trusts nobody.
    #[error("there are no authorities for TLS on this machine; install ca-certificates or set SSL_CERT_FILE")]
    NoAuthorities,
    /// The cryptography does not offer what is needed.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
    /// The host's name cannot stand in a certificate.
    #[error("TLS: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// The coordinator was not believed.
    #[error("TLS: {0}; set SSL_CERT_FILE to the authority that signed its certificate")]
    Certificate(#[source] rustls::Error),
    /// The handshake broke off.
    #[error("TLS: {0}")]
    Handshake(#[source] io::Error),
}

/// Makes encrypted connections.
pub(super) struct Connector(TlsConnector);

impl Connector {
    /// Reads the authorities.
    pub(super) fn new() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        // The store of a system often has a certificate that the library does not parse; an empty store is refused below.
        let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoAuthorities);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Encrypts a connection to a host.
    pub(super) async fn wrap(&self, host: &str, socket: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        let name = ServerName::try_from(host.to_owned())?;
        self.0.connect(name, socket).await.map_err(|e| {
            let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner.cloned() {
                Some(error) => TlsError::Certificate(error),
                None => TlsError::Handshake(e),
            }
        })
    }
}
