//! Encrypted connections.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::query::TlsOptions;
use super::target::Target;
use crate::Result;

/// How connections are encrypted, and who is believed. The files of the options are read once.
pub(super) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    pub(super) fn new(options: &TlsOptions) -> std::result::Result<Self, String> {
        // Named here: what else the program does with TLS chooses for itself.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = match believed(options, &provider)? {
            Believed::Checked(verifier) => builder.with_webpki_verifier(verifier),
            Believed::Leniently(verifier) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let key = options.key.as_ref().unwrap_or(certificate);
                let fails = |error: rustls::Error| {
                    format!("{} and {} do not fit: {error}", certificate.display(), key.display())
                };
                builder.with_client_auth_cert(certificates(certificate)?, key_of(key)?).map_err(fails)?
            }
        };
        Ok(Self { connector: Arc::new(config).into() })
    }

    /// The stream, encrypted, once the server has shown who it is.
    pub(super) async fn shake_hands(
        &self,
        target: &Target,
        host: &str,
        stream: TcpStream,
        budget: Duration,
    ) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| target.misconfigured(format!("{host:?} is no name that a certificate has")))?;
        let shaking = timeout(budget / 4 * 3, self.connector.connect(name, stream));
        let Ok(shaken) = shaking.await else {
            // A server without TLS waits for the rest of what it takes for a command.
            let reason =
                "the connection is there, and no answer to TLS: if this port has none, the URL is redis://";
            return Err(target.unreachable(&io::Error::new(io::ErrorKind::TimedOut, reason)));
        };
        shaken.map_err(|error| {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            match cause {
                Some(rustls::Error::InvalidCertificate(reason)) => {
                    target.misconfigured(distrust(host, reason))
                }
                Some(rustls::Error::InvalidMessage(_)) => {
                    target.misconfigured(format!("{host} does not speak TLS at this port"))
                }
                Some(rustls::Error::AlertReceived(_)) => target.misconfigured(error.to_string()),
                _ => target.unreachable(&error),
            }
        })
    }
}

/// Why the server is not believed, and what would help.
fn distrust(host: &str, reason: &CertificateError) -> String {
    let advice = match reason {
        CertificateError::UnknownIssuer => "; ssl_ca_certs names the file of its authority",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "; use the name in the certificate, or ssl_check_hostname=false"
        }
        _ => "",
    };
    format!("the certificate of {host} is not accepted: {reason}{advice}")
}

/// Who is taken for the server.
enum Believed {
    Checked(Arc<WebPkiServerVerifier>),
    Leniently(Lenient),
}

fn believed(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> std::result::Result<Believed, String> {
    let provider = Arc::clone(provider);
    if options.accept_anybody {
        return Ok(Believed::Leniently(Lenient { authorities: None, provider }));
    }
    let roots = Arc::new(authorities(options.authorities.as_deref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|error| error.to_string())?;
    Ok(match options.accept_any_name {
        true => Believed::Leniently(Lenient { authorities: Some(verifier), provider }),
        false => Believed::Checked(verifier),
    })
}

/// The authorities in this file, or the system's.
fn authorities(file: Option<&Path>) -> std::result::Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        None => {
            // Some systems carry a few that nobody can read.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(
                    "this system knows no certificate authorities: name them by ssl_ca_certs".to_owned()
                );
            }
        }
    }
    Ok(roots)
}

fn certificates(file: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
    let found: Vec<_> = found.collect::<std::result::Result<_, _>>().map_err(|error| unreadable(&error))?;
    match found.is_empty() {
        true => Err(format!("{} holds no certificate in PEM format", file.display())),
        false => Ok(found),
    }
}

fn key_of(file: &Path) -> std::result::Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| format!("no private key can be read from {}: {error}", file.display()))
}

/// Believes more than is safe, because the URL says so.
#[derive(Debug)]
struct Lenient {
    /// Who must have signed the certificate, whatever its name; `None` believes anybody.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last, when all else has been found right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
