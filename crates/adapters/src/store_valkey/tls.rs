//! TLS to a server: rustls, with ring for its cryptography, which is the cheaper one to build.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring};

use crate::bounded_file;

use super::address::Wire;
use super::options::Tls;

/// Error of TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of authorities cannot be read.
    #[error("{} (MOSAIC_VALKEY_CA_FILE) cannot be read: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file of authorities is no PEM.
    #[error("{} (MOSAIC_VALKEY_CA_FILE) cannot be read: {source}", .file.display())]
    NoPem {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// The file of authorities is empty.
    #[error("{} (MOSAIC_VALKEY_CA_FILE) cannot be read: it has no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate is damaged.
    #[error("a certificate in {} (MOSAIC_VALKEY_CA_FILE) cannot be used: {source}", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The machine trusts nobody.
    #[error("there are no authorities for TLS on this machine; set MOSAIC_VALKEY_CA_FILE")]
    NoAuthorities,
    /// The cryptography does not offer what is needed.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
    /// The host's name cannot stand in a certificate.
    #[error("TLS: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// The server was not believed, or does not speak TLS.
    #[error("TLS: {0}")]
    Handshake(#[source] io::Error),
}

/// Makes encrypted connections.
pub(super) struct Connector(TlsConnector);

impl Connector {
    /// Reads the authorities.
    pub(super) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match &tls.ca_file {
            Some(file) => {
                // In a file that the operator names every certificate must be usable. One that is left out silently
                // would show only as a server that is not believed.
                for certificate in read(file)? {
                    let added = roots.add(certificate);
                    added.map_err(|source| TlsError::Certificate { file: file.clone(), source })?;
                }
            }
            None => {
                // The store of a system often has a certificate that the library does not parse. One of them must not
                // keep the node from every server, and an empty store is refused below.
                let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
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
    pub(super) async fn wrap(&self, host: &str, socket: TcpStream) -> Result<Box<dyn Wire>, TlsError> {
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self.0.connect(name, socket).await.map_err(TlsError::Handshake)?;
        Ok(Box::new(stream))
    }
}

/// Longest file of authorities: all of a system's together have some hundred KiB.
const CA_BYTES: u64 = 16 * 1024 * 1024;

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = bounded_file::read_linked(file, CA_BYTES)
        .map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|source| TlsError::NoPem { file: file.to_owned(), source })?;
    if all.is_empty() { Err(TlsError::NoCertificate(file.to_owned())) } else { Ok(all) }
}
