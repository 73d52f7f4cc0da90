//! Encrypted connections to a collector.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::Identities;

/// Believes the authorities that it is given, else those of the system.
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file cannot be used.
    pub(super) fn new(identities: &Identities) -> Result<Self, String> {
        // Named here: what else the program does with TLS chooses for itself.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = builder.with_root_certificates(believed(identities.authorities.as_deref())?);
        let config = match (&identities.certificate, &identities.key) {
            (None, None) => builder.with_no_client_auth(),
            (None, Some(key)) => {
                let reason = "there is no certificate to this key: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
                return Err(format!("{}: {reason}", key.display()));
            }
            (Some(certificate), key) => {
                let key = key.as_ref().unwrap_or(certificate);
                let fails = |error: rustls::Error| {
                    format!("{} and {} do not fit: {error}", certificate.display(), key.display())
                };
                builder.with_client_auth_cert(certificates(certificate)?, key_of(key)?).map_err(fails)?
            }
        };
        Ok(Self(Arc::new(config).into()))
    }

    pub(super) async fn shake_hands(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// The authorities in this file, or the system's.
fn believed(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        // Some systems carry a few that nobody can read.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("{} cannot be read: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found.map_err(unreadable)? {
        found if found.is_empty() => Err(format!("{} holds no certificate in PEM format", file.display())),
        found => Ok(found),
    }
}

fn key_of(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| format!("no private key can be read from {}: {error}", file.display()))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
