//! Where the server is, as the URL says it.

use std::fmt;
use std::path::PathBuf;

use redis::RedisConnectionInfo;

use super::query::{Query, TlsOptions};
use super::sentinel::Sentinels;
use super::tls::Tls;
use crate::{Error, RedisOptions, Result, SentinelLogin, without_password};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// A server and how to sign in.
pub(super) struct Target {
    /// Without the password.
    url: String,
    place: Place,
    login: RedisConnectionInfo,
    tls: Option<Tls>,
    tls_options: Option<TlsOptions>,
}

/// Where the server is.
pub(super) enum Place {
    Server(Address),
    /// Wherever these say.
    Sentinels(Sentinels),
}

/// One address.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Address {
    Tcp(String, u16),
    Socket(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a URL says apart from its options.
struct Parts {
    addresses: Vec<Address>,
    database: i64,
    user: Option<String>,
    password: Option<String>,
}

impl Target {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://` for the same with TLS,
    /// `redis+socket://[USER:PASSWORD@]/PATH[?virtual_host=DB]`, or
    /// `sentinel://[USER:PASSWORD@]HOST[:PORT][;sentinel://HOST[:PORT]...][/DB][?master_name=NAME]`.
    ///
    /// Source: `Channel._connparams`, `Channel._prepare_virtual_host` and `SentinelChannel`, `kombu/transport/redis.py`,
    /// kombu 5.7.0.
    pub(super) fn parse(url: &str, options: &RedisOptions) -> Result<Self> {
        let wrong = |reason: String| Error::Misconfigured { url: without_password(url), reason };
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong("a Redis URL looks like redis://host:6379/0".to_owned()));
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query = Query::parse(query).map_err(wrong)?;
        check(scheme, &query).map_err(wrong)?;
        if scheme != "sentinel" && (rest.contains(";redis://") || rest.contains(";rediss://")) {
            return Err(wrong(SEVERAL.to_owned()));
        }
        let parts = match scheme {
            "redis" | "rediss" => Parts::of_server(rest, DEFAULT_PORT),
            "redis+socket" => Parts::of_socket(rest, &query),
            _ => Parts::of_sentinels(rest),
        };
        let Parts { addresses, database, user, password } = parts.map_err(wrong)?;
        let login = login_of(user.as_deref(), password.as_deref()).set_db(database);
        let tls = match (scheme, query.tls) {
            ("rediss", tls) => Some(tls.unwrap_or_default()),
            (_, tls) => tls,
        };
        let place = match scheme {
            "sentinel" => {
                let name = query.master_name.or_else(|| options.master_name.clone());
                let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
                    wrong("which primary is meant must be said by the option master_name".to_owned())
                })?;
                let SentinelLogin { username, password, ssl } = &options.sentinel_kwargs;
                let login = login_of(username.as_deref(), password.as_deref());
                let sentinel_tls = ssl.then(|| Tls::new(&tls.clone().unwrap_or_default()));
                let tls = sentinel_tls.transpose().map_err(wrong)?;
                Place::Sentinels(Sentinels { addresses, name, login, tls })
            }
            _ => match addresses.into_iter().next() {
                Some(address) => Place::Server(address),
                None => return Err(wrong("no host is named".to_owned())),
            },
        };
        let tls_options = tls;
        let tls = tls_options.as_ref().map(Tls::new).transpose().map_err(wrong)?;
        Ok(Self { url: without_password(url), place, login, tls, tls_options })
    }

    /// Whether both are reached at the same place, in the same way and by the same user.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        let place = match (&self.place, &other.place) {
            (Place::Server(one), Place::Server(other)) => one == other,
            (Place::Sentinels(one), Place::Sentinels(other)) => {
                one.name == other.name && one.addresses == other.addresses
            }
            _ => false,
        };
        place
            && self.login.username() == other.login.username()
            && self.login.password() == other.login.password()
            && self.tls_options == other.tls_options
    }

    /// The URL, without the password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn login(&self) -> &RedisConnectionInfo {
        &self.login
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(super) fn unreachable(&self, error: &std::io::Error) -> Error {
        Error::Unreachable { url: self.url.clone(), reason: error.to_string() }
    }

    pub(super) fn misconfigured(&self, reason: String) -> Error {
        Error::Misconfigured { url: self.url.clone(), reason }
    }
}

/// Whether these options are for this kind of URL.
fn check(scheme: &str, query: &Query) -> std::result::Result<(), String> {
    if !matches!(scheme, "redis" | "rediss" | "redis+socket" | "sentinel") {
        return Err(format!("no such kind of Redis URL: {scheme}"));
    }
    if query.tls.is_some() && !matches!(scheme, "rediss" | "sentinel") {
        return Err("options of TLS (ssl_...) belong to a URL that begins with rediss://".to_owned());
    }
    if query.virtual_host.is_some() && scheme != "redis+socket" {
        return Err("the database stands behind the host, as in redis://host/0; virtual_host is for sockets"
            .to_owned());
    }
    if query.master_name.is_some() && scheme != "sentinel" {
        return Err("master_name belongs to a URL that begins with sentinel://".to_owned());
    }
    Ok(())
}

fn login_of(user: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let login = RedisConnectionInfo::default()
        .set_protocol(redis::ProtocolVersion::RESP3)
        .set_lib_name("celeriac", env!("CARGO_PKG_VERSION"));
    let login = user.into_iter().fold(login, RedisConnectionInfo::set_username);
    password.into_iter().fold(login, RedisConnectionInfo::set_password)
}

impl Parts {
    /// `[USER:PASSWORD@]HOST[:PORT][/DB]`, the host of IPv6 in brackets.
    fn of_server(text: &str, default_port: u16) -> std::result::Result<Self, String> {
        let (user, password, place) = signed(text)?;
        let (authority, db) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let port = match port {
            "" => default_port,
            // Not shown, for it is a part of a password that holds a `?`, or whose host was forgotten.
            port => port.parse().map_err(|_| format!("the port is a number, such as 6379; {ENCODE}"))?,
        };
        let addresses = vec![Address::Tcp(host.to_owned(), port)];
        Ok(Self { addresses, database: database(db)?, user, password })
    }

    fn of_socket(text: &str, query: &Query) -> std::result::Result<Self, String> {
        let (user, password, place) = signed(text)?;
        if !place.starts_with('/') {
            return Err("a socket is named by its whole path: redis+socket:///run/redis.sock".to_owned());
        }
        let addresses = vec![Address::Socket(percent_decoded(place)?.into())];
        let database = database(query.virtual_host.as_deref().unwrap_or_default())?;
        Ok(Self { addresses, database, user, password })
    }

    /// Several of them. User, password and database may stand with any, and are those of the servers.
    fn of_sentinels(text: &str) -> std::result::Result<Self, String> {
        let mut all = Self { addresses: Vec::new(), database: 0, user: None, password: None };
        for one in text.split(';').map(|one| one.trim_start_matches("sentinel://")) {
            let one = Self::of_server(one, DEFAULT_SENTINEL_PORT)?;
            all.addresses.extend(one.addresses);
            all.user = all.user.or(one.user);
            all.password = all.password.or(one.password);
            all.database = if all.database == 0 { one.database } else { all.database };
        }
        Ok(all)
    }
}

/// User, password and the rest of `[USER:PASSWORD@]REST`.
fn signed(text: &str) -> std::result::Result<(Option<String>, Option<String>, &str), String> {
    let Some((login, rest)) = text.rsplit_once('@') else { return Ok((None, None, text)) };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let given = |text: &str| (!text.is_empty()).then(|| percent_decoded(text)).transpose();
    Ok((given(user)?, given(password)?, rest))
}

fn database(text: &str) -> std::result::Result<i64, String> {
    match text.trim_matches('/') {
        "" => Ok(0),
        number => match number.parse::<u32>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(format!("the database is a number, such as 0; {ENCODE}")),
        },
    }
}

/// kombu goes to the next of several servers when one is away. What is lent and waits there is another queue's.
const SEVERAL: &str = "it names several servers, and a store is one: name the one that is written to, or let sentinels say \
                       which that is (sentinel://HOST;sentinel://HOST/0?master_name=NAME)";

/// What helps when a part of a password is taken for something else.
pub(super) const ENCODE: &str = "in a password, write %2F for /, %3F for ? and %40 for @";

/// The text with `%40` made `@` and so on.
pub(super) fn percent_decoded(text: &str) -> std::result::Result<String, String> {
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

    fn parse(url: &str) -> Result<Target> {
        Target::parse(url, &RedisOptions::default())
    }

    fn place(url: &str) -> String {
        let target = parse(url).unwrap();
        let login = &target.login;
        let (user, password) = (login.username().unwrap_or("-"), login.password().unwrap_or("-"));
        let place = match &target.place {
            Place::Server(address) => address.to_string(),
            Place::Sentinels(sentinels) => {
                let addresses: Vec<String> = sentinels.addresses.iter().map(Address::to_string).collect();
                format!("{} of {}", sentinels.name, addresses.join(","))
            }
        };
        format!("{place} {} {user} {password}", login.db())
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
        assert_eq!(
            place("sentinel://:pw@one;sentinel://two:7000;sentinel://[::3]/4?master_name=main"),
            "main of one:26379,two:7000,::3:26379 4 - pw"
        );
        assert_eq!(place("redis://there?socket_timeout=30"), "there:6379 0 - -");
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
            ("redis://there?virtual_host=2", "behind the host"),
            ("redis://there?ssl_cert_reqs=none", "rediss://"),
            ("redis://there?master_name=main", "sentinel://"),
            ("sentinel://there", "master_name"),
            ("redis://one/0;redis://two/0", "sentinels"),
        ] {
            let error = parse(url).err().expect(url).to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
    }

    #[test]
    fn an_error_shows_no_part_of_a_password() {
        for url in [
            "redis://:sec/ret",
            "redis://:sec?ret@there/0",
            "redis://:1/sec?ret@there",
            "redis://:1/2?sec=x&ret@there",
            "redis://:sec@ret/x?y@there",
            "redis://there/0?password=secret",
            "redis://there/0?ssl_cert_reqs=none&password=secret",
            "redis+socket://:sec?ret@/run/redis.sock",
            "sentinel://:sec/ret@one;two:ret",
            "rediss://:sec%zzret@there",
        ] {
            let error = parse(url).err().expect(url).to_string();
            assert!(!error.contains("sec") && !error.contains("ret"), "{url}: {error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn without_tls_its_urls_name_the_missing_feature() {
        for url in ["rediss://there", "sentinel://there?master_name=main&ssl_cert_reqs=none"] {
            let error = parse(url).err().expect(url).to_string();
            assert!(error.contains("cargo feature `tls`"), "{url}: {error}");
        }
    }
}
