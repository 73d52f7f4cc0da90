//! Certificates for servers that are reached with TLS.

use std::path::Path;
use std::process::{Command, Stdio};

/// Makes certificates in a folder by `openssl`, each with its key: `authority.pem` and `authority.key`; of that authority
/// `server.pem`, for the name `localhost`, and `client.pem`; and `stranger.pem`, another authority.
///
/// # Panics
/// If `openssl` is not there.
pub fn make_certificates(folder: &Path) {
    openssl(folder, "authority", &["-subj", "/CN=authority"]);
    openssl(folder, "stranger", &["-subj", "/CN=stranger"]);
    for (name, subject) in [("server", "subjectAltName=DNS:localhost"), ("client", "subjectAltName=DNS:me")] {
        let signed = ["-CA", "authority.pem", "-CAkey", "authority.key"];
        let about =
            ["-subj", "/CN=somebody", "-addext", subject, "-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(folder, name, &[&signed[..], &about].concat());
    }
}

/// Makes a key and a certificate for it.
fn openssl(folder: &Path, name: &str, arguments: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
        .args(arguments)
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl can be started: install the package openssl").success(), "{name}");
}
