//! A collector that is reached with TLS.

use std::path::Path;
use std::sync::Arc;

use celeriac_faults::make_certificates;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::*;
use crate::trace::otlp::client::{Client, Identities};

/// A collector, and the folder with its certificates.
struct Encrypted {
    folder: TempDir,
    port: u16,
    requests: Receiver<ExportTraceServiceRequest>,
}

impl Encrypted {
    fn start(asks_clients: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let config = Arc::new(config(folder.path(), asks_clients));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, requests) = channel();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                // It fails with whoever does not believe this collector, or is not believed.
                let _ = take(StreamOwned::new(connection, stream), 200, &taken);
            }
        });
        Self { folder, port, requests }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A tracer as the environment makes it, which names these files.
    fn tracer(&self, files: &[(&str, &str)]) -> Result<Tracer, String> {
        let get = |name: &'static str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("https://localhost:{}", self.port)),
            _ => files.iter().find(|(variable, _)| *variable == name).map(|(_, file)| self.file(file)),
        };
        Tracer::from_variables("kitchen", get).map(Option::unwrap).map_err(|error| error.to_string())
    }

    /// Why nothing reaches the collector at this host.
    fn refusal(&self, host: &str, identities: &Identities) -> String {
        let url = format!("https://{host}:{}/v1/traces", self.port);
        let client = Client::new(&url, SOON, identities).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = opentelemetry_http::Request::post(&url).body("".into()).unwrap();
        let answer = runtime.block_on(opentelemetry_http::HttpClient::send_bytes(&client, request));
        assert!(answer.is_err());
        client.last_answer().get().unwrap_err()
    }
}

fn config(folder: &Path, asks_clients: bool) -> ServerConfig {
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match asks_clients {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate("authority.pem")).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    builder.with_single_cert(vec![certificate("server.pem")], key).unwrap()
}

const AUTHORITY: (&str, &str) = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "authority.pem");

#[test]
fn spans_reach_a_collector_of_a_known_authority() {
    let collector = Encrypted::start(false);
    let tracer = collector.tracer(&[AUTHORITY]).unwrap();
    record(&tracer, "proj.add");
    assert!(tracer.flush(SOON));
    assert_eq!(names(&collector.requests.try_recv().unwrap()), ["run/proj.add"]);
}

#[test]
fn a_collector_that_asks_who_we_are_is_told() {
    let collector = Encrypted::start(true);
    let identity = [
        AUTHORITY,
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "client.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "client.key"),
    ];
    let tracer = collector.tracer(&identity).unwrap();
    record(&tracer, "proj.add");
    assert!(tracer.flush(SOON));
    assert_eq!(names(&collector.requests.try_recv().unwrap()), ["run/proj.add"]);
    // Who does not say it is sent away.
    let tracer = collector.tracer(&[AUTHORITY]).unwrap();
    record(&tracer, "proj.add");
    assert!(!tracer.flush(SOON));
}

#[test]
fn a_collector_that_is_not_believed_gets_nothing_and_the_reason_is_said() {
    let collector = Encrypted::start(false);
    let of = |name: &str| Identities {
        authorities: Some(collector.folder.path().join(name)),
        ..Identities::default()
    };
    let said = collector.refusal("localhost", &of("stranger.pem"));
    assert!(said.contains("UnknownIssuer"), "{said}");
    let said = collector.refusal("127.0.0.1", &of("authority.pem"));
    assert!(said.contains("not valid for name"), "{said}");
    // The system does not know that authority.
    let said = collector.refusal("localhost", &Identities::default());
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert!(collector.requests.try_recv().is_err());
}

#[test]
fn a_file_that_cannot_be_used_is_named_at_the_start() {
    let collector = Encrypted::start(false);
    let client = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "client.pem");
    let key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "client.key");
    for (files, file, reason) in [
        (&[("OTEL_EXPORTER_OTLP_CERTIFICATE", "nothing.pem")][..], "nothing.pem", "cannot be read"),
        (
            &[("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "server.key"), AUTHORITY],
            "server.key",
            "no certificate",
        ),
        (&[AUTHORITY, client], "client.pem", "no private key"),
        (&[AUTHORITY, key], "client.key", "no certificate to this key"),
        (&[client, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "server.key")], "server.key", "do not fit"),
    ] {
        let said = collector.tracer(files).err().unwrap();
        assert!(said.contains(file) && said.contains(reason), "{said}");
    }
}
