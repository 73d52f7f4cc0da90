//! Where the server is, as the URL says it.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::{Error, Result, without_password};

const DEFAULT_PORT: u16 = 6379;

/// The system gives up a connection on which the other side has acknowledged nothing for this long.
const SILENCE: Duration = Duration::from_secs(10);
/// An idle connection is probed this often.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// A server and how to sign in.
pub(super) struct Target {
    /// Without the password.
    url: String,
    info: ConnectionInfo,
}

impl Target {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or `redis+socket://[USER:PASSWORD@]/PATH[?virtual_host=DB]`.
    ///
    /// Source: `Channel._connparams` and `Channel._prepare_virtual_host`, `kombu/transport/redis.py`, kombu 5.7.0.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Misconfigured { url: without_password(url), reason };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong("a Redis URL looks like redis://host:6379/0".to_owned()));
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) =
            rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let (addr, db) = match scheme {
            "redis" => tcp(place).map_err(wrong)?,
            "redis+socket" => socket(place, query).map_err(wrong)?,
            _ => return Err(wrong(format!("no such kind of Redis URL: {scheme}"))),
        };
        if let (false, Some((option, _))) = (scheme == "redis+socket", query.split_once('=')) {
            return Err(wrong(format!("unknown option {option:?}")));
        }
        let mut redis = RedisConnectionInfo::default()
            .set_db(db)
            .set_protocol(redis::ProtocolVersion::RESP3)
            .set_lib_name("celeriac", env!("CARGO_PKG_VERSION"));
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            if !user.is_empty() {
                redis = redis.set_username(percent_decoded(user).map_err(wrong)?);
            }
            if !password.is_empty() {
                redis = redis.set_password(percent_decoded(password).map_err(wrong)?);
            }
        }
        let info = addr.into_connection_info().map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            url: without_password(url),
            info: info.set_redis_settings(redis).set_tcp_settings(tcp_settings()),
        })
    }

    /// The URL, without the password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

/// No waiting for more to send, and dead connections end.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(PROBE_EVERY).with_interval(PROBE_EVERY).with_retries(2);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}

/// `HOST[:PORT][/DB]`, the host of IPv6 in brackets.
fn tcp(place: &str) -> std::result::Result<(ConnectionAddr, i64), String> {
    let (authority, db) = place.split_once('/').unwrap_or((place, ""));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = match port {
        "" => DEFAULT_PORT,
        port => port.parse().map_err(|_| format!("{port:?} is not a port"))?,
    };
    Ok((ConnectionAddr::Tcp(host.to_owned(), port), database(db)?))
}

fn socket(place: &str, query: &str) -> std::result::Result<(ConnectionAddr, i64), String> {
    let mut db = 0;
    for option in query.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("virtual_host", number)) => db = database(number)?,
            _ => return Err(format!("unknown option {option:?}: a socket takes virtual_host")),
        }
    }
    if !place.starts_with('/') {
        return Err("a socket is named by its whole path: redis+socket:///run/redis.sock".to_owned());
    }
    Ok((ConnectionAddr::Unix(percent_decoded(place)?.into()), db))
}

fn database(text: &str) -> std::result::Result<i64, String> {
    match text.trim_matches('/') {
        "" => Ok(0),
        number => match number.parse::<u32>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(format!("the database is a number, such as 0, not {number:?}")),
        },
    }
}

/// The text with `%40` made `@` and so on.
fn percent_decoded(text: &str) -> std::result::Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: &u8| (*digit as char).to_digit(16);
        match (first, after) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                let (high, low) = (hex(high).unwrap_or(0), hex(low).unwrap_or(0));
                bytes.push((high * 16 + low) as u8);
                rest = after;
            }
            (b'%', _) => return Err("a % stands before two hexadecimal digits; write %25 for %".to_owned()),
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "user, password and path are UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> String {
        let target = Target::parse(url).unwrap();
        let login = target.info.redis_settings();
        let (user, password) = (login.username().unwrap_or("-"), login.password().unwrap_or("-"));
        format!("{} {} {user} {password}", target.info.addr(), login.db())
    }

    #[test]
    fn a_url_names_host_port_database_user_and_password() {
        assert_eq!(place("redis://"), "127.0.0.1:6379 0 - -");
        assert_eq!(place("redis://there"), "there:6379 0 - -");
        assert_eq!(place("redis://there:7000/3"), "there:7000 3 - -");
        assert_eq!(place("redis://[::1]:7000//"), "::1:7000 0 - -");
        assert_eq!(place("redis://[::1]"), "::1:6379 0 - -");
        assert_eq!(place("redis://:s%40crét@there/0"), "there:6379 0 - s@crét");
        assert_eq!(place("redis://me:a:b@c@there"), "there:6379 0 me a:b@c");
        assert_eq!(place("redis+socket:///run/redis.sock?virtual_host=2"), "/run/redis.sock 2 - -");
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong() {
        for (url, word) in [
            ("redis://there:port", "port"),
            ("redis://there/tasks", "number"),
            ("redis://a%zz:b@there", "%25"),
            ("redis://there?colour=blue", "colour"),
            ("redis+socket://run/redis.sock", "whole path"),
            ("redis+socket:///run/redis.sock?db=2", "virtual_host"),
        ] {
            let error = Target::parse(url).err().expect(url).to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
    }
}
