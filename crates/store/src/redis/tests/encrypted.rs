//! Servers that are reached with TLS.

use std::time::Duration;

use celeriac_faults::{Server, free_port, make_certificates};

use super::desk::{consume, fetch, ids, options, publish};
use crate::{Error, Store, connect};

/// A server with TLS at a port of its own, certificates in its folder, and another authority, which nobody asked.
struct Encrypted {
    server: Server,
    port: u16,
}

impl Encrypted {
    fn start(asks_clients: &str) -> Self {
        let port = free_port();
        let arguments = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            "FOLDER/server.pem",
            "--tls-key-file",
            "FOLDER/server.key",
            "--tls-ca-cert-file",
            "FOLDER/authority.pem",
            "--tls-auth-clients",
            asks_clients,
        ];
        Self { server: Server::on(free_port(), &arguments, make_certificates), port }
    }

    /// The URL by this host name, with these options; `FOLDER` in them is the server's.
    fn url(&self, host: &str, options: &str) -> String {
        let folder = self.server.path("");
        let options = options.replace("FOLDER", folder.to_str().unwrap().trim_end_matches('/'));
        format!("rediss://{host}:{}/0?{options}", self.port)
    }

    async fn connect(&self, host: &str, query: &str) -> Result<Store, Error> {
        connect(&self.url(host, query), &options()).await
    }

    /// Connects, which must fail for good.
    async fn refusal(&self, host: &str, query: &str) -> String {
        let error = self.connect(host, query).await.unwrap_err();
        assert!(matches!(error, Error::Misconfigured { .. }), "{error}");
        error.to_string()
    }
}

async fn use_it(store: &Store) {
    publish(store, &["a"]).await;
    let mut subscription = consume(store, Duration::from_secs(60)).await;
    assert_eq!(ids(&fetch(&mut subscription).await), ["a"]);
}

#[tokio::test]
async fn a_server_of_a_known_authority_is_believed() {
    let server = Encrypted::start("no");
    let store = server.connect("localhost", "ssl_cert_reqs=required&ssl_ca_certs=FOLDER/authority.pem").await;
    use_it(&store.unwrap()).await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let server = Encrypted::start("no");
    for query in
        ["ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=FOLDER/stranger.pem", "ssl_ca_certs=FOLDER/stranger.pem"]
    {
        let text = server.refusal("localhost", query).await;
        assert!(text.contains("not accepted") && text.contains("ssl_ca_certs"), "{text}");
    }
}

#[tokio::test]
async fn a_server_of_another_name_is_believed_only_where_names_do_not_matter() {
    let server = Encrypted::start("no");
    let text = server.refusal("127.0.0.1", "ssl_ca_certs=FOLDER/authority.pem").await;
    assert!(text.contains("ssl_check_hostname"), "{text}");
    let any_name = "ssl_ca_certs=FOLDER/authority.pem&ssl_check_hostname=false";
    use_it(&server.connect("127.0.0.1", any_name).await.unwrap()).await;
    let text = server.refusal("127.0.0.1", "ssl_ca_certs=FOLDER/stranger.pem&ssl_check_hostname=false").await;
    assert!(text.contains("ssl_ca_certs"), "{text}");
}

#[tokio::test]
async fn anybody_is_believed_where_no_certificate_is_required() {
    let server = Encrypted::start("no");
    use_it(&server.connect("127.0.0.1", "ssl_cert_reqs=none").await.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told() {
    let server = Encrypted::start("yes");
    let known = "ssl_ca_certs=FOLDER/authority.pem";
    let us = format!("{known}&ssl_certfile=FOLDER/client.pem&ssl_keyfile=FOLDER/client.key");
    use_it(&server.connect("localhost", &us).await.unwrap()).await;
    let text = server.refusal("localhost", known).await;
    assert!(text.contains("ssl_certfile"), "{text}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let server = Encrypted::start("no");
    for (query, word) in [
        ("ssl_ca_certs=FOLDER/none.pem", "none.pem"),
        ("ssl_ca_certs=FOLDER/server.key", "no certificate"),
        ("ssl_ca_certs=FOLDER/authority.pem&ssl_certfile=FOLDER/client.pem", "no private key"),
        (
            "ssl_ca_certs=FOLDER/authority.pem&ssl_certfile=FOLDER/client.pem&ssl_keyfile=FOLDER/server.key",
            "do not fit",
        ),
    ] {
        let text = server.refusal("localhost", query).await;
        assert!(text.contains(word), "{query}: {text}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_away() {
    let server = Server::start();
    let url = format!("rediss://127.0.0.1:{}/0?ssl_cert_reqs=none", server.port());
    let error = connect(&url, &options()).await.unwrap_err();
    assert!(error.to_string().contains("no answer to TLS"), "{error}");
}
