//! TLS to a server: rustls, with ring for its cryptography, which is the cheaper one to build.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::bounded_file;

use super::dial::Wire;
use super::options::Tls;

/// Makes encrypted connections.
pub(super) struct Connector(TlsConnector);

impl Connector {
    /// Reads the authorities. The error is for people.
    pub(super) fn new(tls: &Tls) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match &tls.ca_file {
            Some(file) => {
                for certificate in read(file)? {
                    roots.add(certificate).map_err(|e| {
                        format!(
                            "a certificate in {} (MOSAIC_VALKEY_CA_FILE) cannot be used: {e}",
                            file.display()
                        )
                    })?;
                }
            }
            None => {
                let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(
                "there are no authorities for TLS on this machine; set MOSAIC_VALKEY_CA_FILE".to_owned()
            );
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS cannot be set up: {e}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Encrypts a connection to a host. The error is for people.
    pub(super) async fn wrap(&self, host: &str, socket: TcpStream) -> Result<Box<dyn Wire>, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|e| format!("TLS: {e}"))?;
        let stream = self.0.connect(name, socket).await.map_err(|e| format!("TLS: {e}"))?;
        Ok(Box::new(stream))
    }
}

/// Longest file of authorities: all of a system's together have some hundred KiB.
const CA_BYTES: u64 = 16 * 1024 * 1024;

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| format!("{} (MOSAIC_VALKEY_CA_FILE) cannot be read: {why}", file.display());
    let text = bounded_file::read_linked(file, CA_BYTES).map_err(|e| wrong(e.to_string()))?;
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|e| wrong(e.to_string()))?;
    if all.is_empty() { Err(wrong("it has no certificate".to_owned())) } else { Ok(all) }
}
