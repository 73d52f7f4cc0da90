//! URLs as they may be shown: without what signs in.

use crate::RedisOptions;

/// Options of a URL whose values are no secrets. Celery hides what has `KEY` in its name, and so `ssl_keyfile` is none.
///
/// Source: `HIDDEN_SETTINGS`, `celery/app/utils.py`, Celery 5.7.0.
const SHOWN: &[&str] =
    &["master_name", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "virtual_host"];

/// The URL with `***` in place of each password, fit for logs. Several URLs may stand together, as in
/// `sentinel://:secret@one;sentinel://:secret@two`.
///
/// A password is the part between the first `:` of the login and the last `@`, whatever stands in it, and the value of
/// every option that is not known to be harmless. Of a URL that cannot be right it rather hides too much.
///
/// ```
/// use celeriac_store::without_password;
///
/// assert_eq!(without_password("redis://me:a/b@c@host:6379/0"), "redis://me:***@host:6379/0");
/// assert_eq!(without_password("redis://host/0?password=secret"), "redis://host/0?password=***");
/// ```
pub fn without_password(url: &str) -> String {
    // A password may hold a `;` of its own: only one before a scheme separates.
    let scheme_follows = |text: &str| {
        text.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
        })
    };
    let end = url.match_indices(';').map(|(at, _)| at).find(|at| scheme_follows(&url[at + 1..]));
    match end {
        Some(end) => format!("{};{}", one_without_password(&url[..end]), without_password(&url[end + 1..])),
        None => one_without_password(url),
    }
}

fn one_without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.contains('@') { hide_login(url) } else { url.to_owned() };
    };
    let (place, query) = split_query(rest);
    let place = match scheme {
        // A name, or a path, with any characters: nobody signs in.
        "memory" => return url.to_owned(),
        "sqlite" => place.to_owned(),
        _ => hide_login(place),
    };
    match query {
        Some(query) => format!("{scheme}://{place}?{}", hide_values(query)),
        None => format!("{scheme}://{place}"),
    }
}

/// What stands before and after the `?`, unless that is a character of a password.
fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((place, query)) if is_query(query) || !query.contains('@') => (place, Some(query)),
        _ => (text, None),
    }
}

fn is_query(text: &str) -> bool {
    let name = |option: &str| option.split('=').next().map(str::to_owned).unwrap_or_default();
    text.split('&').map(name).all(|name| is_harmless(&name) || name == "ssl_keyfile")
}

fn is_harmless(name: &str) -> bool {
    SHOWN.contains(&name) || RedisOptions::means_nothing(name)
}

fn hide_values(query: &str) -> String {
    let options = query.split('&').map(|option| match option.split_once('=') {
        _ if option.is_empty() => String::new(),
        Some((name, _)) if is_harmless(name) => option.to_owned(),
        Some((name, _)) => format!("{name}=***"),
        None if is_harmless(option) => option.to_owned(),
        None => "***".to_owned(),
    });
    options.collect::<Vec<_>>().join("&")
}

/// `USER:***@PLACE`.
fn hide_login(text: &str) -> String {
    let (login, place) = text.rsplit_once('@').map_or((None, text), |(login, place)| (Some(login), place));
    let place = if has_wrong_port(place) { hide_after_colon(place) } else { place.to_owned() };
    match login {
        Some(login) if login.contains(':') => format!("{}@{place}", hide_after_colon(login)),
        Some(login) => format!("{login}@{place}"),
        None => place,
    }
}

fn hide_after_colon(text: &str) -> String {
    format!("{}:***", text.split(':').next().unwrap_or_default())
}

/// Whether one of the hosts has a port that is no number: a password whose host was forgotten, perhaps.
fn has_wrong_port(place: &str) -> bool {
    let authority = place.split('/').next().unwrap_or(place);
    authority.split([';', ',']).any(|host| {
        // The address of IPv6 has colons of its own.
        let after_address = host.rsplit(']').next().unwrap_or(host);
        after_address.split_once(':').is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(cases: &[(&str, &str)]) {
        for (url, expected) in cases {
            assert_eq!(without_password(url), *expected, "{url}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        shown(&[
            ("redis://me:secret@host:6379/0", "redis://me:***@host:6379/0"),
            ("redis://:s@crét@host/0", "redis://:***@host/0"),
            ("redis://:a/b?c@host/0", "redis://:***@host/0"),
            ("redis://:a@b/c@host/0", "redis://:***@host/0"),
            ("redis://:a://b@host", "redis://:***@host"),
            ("redis://:secret", "redis://:***"),
            ("redis://host:secret/0", "redis://host:***"),
            ("redis://:a@host:b?c", "redis://:***@host:***?***"),
            (":secret@host", ":***@host"),
            ("redis:/:secret@host", "redis:***@host"),
            ("redis+socket:///me:secret@/run/redis.sock", "redis+socket:///me:***@/run/redis.sock"),
        ]);
    }

    #[test]
    fn each_of_several_urls_has_its_password_hidden() {
        shown(&[
            (
                "sentinel://:s;a@one;sentinel://:b@two:7000/0?master_name=main",
                "sentinel://:***@one;sentinel://:***@two:7000/0?master_name=main",
            ),
            ("sentinel://one;sentinel://:b/c@two", "sentinel://one;sentinel://:***@two"),
            ("sentinel://:a@one;:b@two", "sentinel://:***@two"),
        ]);
    }

    #[test]
    fn values_of_options_are_shown_only_where_they_are_no_secret() {
        shown(&[
            (
                "redis://host/0?password=secret&socket_timeout=3",
                "redis://host/0?password=***&socket_timeout=3",
            ),
            ("redis://host:1/0?pasword=a@b", "redis://host:***@b"),
            ("redis://:a@host/0?ssl_certfile=/c@d.pem", "redis://:***@host/0?ssl_certfile=/c@d.pem"),
            (
                "rediss://host?ssl_keyfile=/k.pem&ssl_keyfile_password=x",
                "rediss://host?ssl_keyfile=***&ssl_keyfile_password=***",
            ),
            ("redis://host?secret", "redis://host?***"),
        ]);
    }

    #[test]
    fn a_url_without_a_password_is_shown_as_it_is() {
        for url in [
            "redis://host:6379/0",
            "redis://[::1]:6379/0",
            "redis://me@host",
            "redis+socket:///run/redis.sock?virtual_host=2",
            "sentinel://one:7000;two:7001/0?master_name=main",
            "sqlite:////tmp/a:b@c.db",
            "memory://a:b",
            "tasks.db",
        ] {
            assert_eq!(without_password(url), url);
        }
    }
}
