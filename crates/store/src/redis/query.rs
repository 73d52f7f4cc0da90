//! What follows the `?` of a URL.

use std::path::PathBuf;

use super::target::{ENCODE, percent_decoded};
use crate::RedisOptions;

/// The options of a URL.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    /// The number of the database, of a server at a socket.
    pub virtual_host: Option<String>,
    /// What sentinels call the primary.
    pub master_name: Option<String>,
    pub tls: Option<TlsOptions>,
}

/// How an encrypted connection is made.
///
/// Source: `parse_url`, `kombu/utils/url.py`, kombu 5.7.0, and `RedisBackend.__init__`, `celery/backends/redis.py`, Celery 5.7.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TlsOptions {
    /// `ssl_cert_reqs=none`: whoever answers is taken for the server.
    pub accept_anybody: bool,
    /// `ssl_check_hostname=false`: any certificate of the authority will do.
    pub accept_any_name: bool,
    /// `ssl_ca_certs`: the authorities, in place of the system's.
    pub authorities: Option<PathBuf>,
    /// `ssl_certfile`: who we are.
    pub certificate: Option<PathBuf>,
    /// `ssl_keyfile`, if it is not in the same file.
    pub key: Option<PathBuf>,
}

impl Query {
    /// Reads `NAME=VALUE&...`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            // The message would show the rest of a password that holds a `?`.
            let is_password = |_: String| format!("a ? stands before the options; {ENCODE}");
            let set = query.set(name, percent_decoded(value)?);
            if text.contains('@') { set.map_err(is_password)? } else { set? }
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "virtual_host" => self.virtual_host = Some(value),
            "master_name" => self.master_name = Some(value),
            _ if name.starts_with("ssl_") => self.tls.get_or_insert_default().set(name, value)?,
            _ if RedisOptions::means_nothing(name) => {}
            _ => {
                return Err(format!(
                    "unknown option {name:?}: a URL takes virtual_host, master_name and those of TLS (ssl_...)"
                ));
            }
        }
        Ok(())
    }
}

impl TlsOptions {
    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            // To a client "optional" means the same as "required" in OpenSSL: a server always shows a certificate.
            "ssl_cert_reqs" => match &*value {
                "required" | "CERT_REQUIRED" | "optional" | "CERT_OPTIONAL" => self.accept_anybody = false,
                "none" | "CERT_NONE" => self.accept_anybody = true,
                _ => return Err(format!("ssl_cert_reqs is required, optional or none, not {value:?}")),
            },
            "ssl_check_hostname" => self.accept_any_name = value.eq_ignore_ascii_case("false"),
            "ssl_ca_certs" => self.authorities = Some(value.into()),
            "ssl_certfile" => self.certificate = Some(value.into()),
            "ssl_keyfile" => self.key = Some(value.into()),
            _ => {
                return Err(format!(
                    "unknown option {name:?}: TLS takes ssl_cert_reqs, ssl_check_hostname, ssl_ca_certs, \
                     ssl_certfile and ssl_keyfile"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tls_are_celerys() {
        let query =
            Query::parse("ssl_cert_reqs=CERT_OPTIONAL&ssl_ca_certs=%2Fca%20s.pem&ssl_check_hostname=False");
        let expected = TlsOptions {
            accept_any_name: true,
            authorities: Some("/ca s.pem".into()),
            ..TlsOptions::default()
        };
        assert_eq!(query.unwrap().tls, Some(expected));
        let query =
            Query::parse("ssl_cert_reqs=none&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&socket_timeout=3");
        let expected = TlsOptions {
            accept_anybody: true,
            certificate: Some("/c.pem".into()),
            key: Some("/k.pem".into()),
            ..TlsOptions::default()
        };
        assert_eq!(query.unwrap().tls, Some(expected));
    }

    #[test]
    fn an_unknown_option_is_named() {
        for (query, word) in [
            ("colour=blue", "colour"),
            ("ssl_cert_reqs=maybe", "maybe"),
            ("ssl_colour=blue", "ssl_colour"),
            ("master_name=%z", "%25"),
        ] {
            let error = Query::parse(query).unwrap_err();
            assert!(error.contains(word), "{query}: {error}");
        }
    }
}
