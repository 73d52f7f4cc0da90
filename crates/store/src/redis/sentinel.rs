//! Sentinels, who know which server is the primary.
//!
//! Source: `SentinelChannel`, `kombu/transport/redis.py`, kombu 5.7.0, and Redis's guidelines for clients of Sentinel.

use std::time::Duration;

use redis::{AsyncConnectionConfig, RedisConnectionInfo, Value, cmd};
use tokio::time::{Instant, timeout};

use super::dial::{Connection, sign_in};
use super::failure::translate;
use super::target::{Address, Target};
use super::tls::Tls;
use crate::{Error, Result};

/// Several sentinels, of whom one is enough.
pub(super) struct Sentinels {
    pub addresses: Vec<Address>,
    /// What they call the primary.
    pub name: String,
    /// How to sign in to them; the URL's own user and password are those of the servers.
    pub login: RedisConnectionInfo,
    pub tls: Option<Tls>,
}

/// Asks one sentinel after the other where the primary is, within `budget`.
pub(super) async fn find_primary(
    target: &Target,
    sentinels: &Sentinels,
    budget: Duration,
) -> Result<Address> {
    let ends = Instant::now() + budget;
    let all = u32::try_from(sentinels.addresses.len()).unwrap_or(u32::MAX);
    let mut reasons = Vec::new();
    for (tried, address) in (0..).zip(&sentinels.addresses) {
        // What one does not need is for those after it.
        let share = ends.saturating_duration_since(Instant::now()) / (all - tried);
        match timeout(share, ask(target, sentinels, address, share)).await {
            Ok(Ok(Some(primary))) => return Ok(primary),
            Ok(Ok(None)) => reasons.push(format!("{address} knows no primary {:?}", sentinels.name)),
            Ok(Err(error)) => reasons.push(format!("{address}: {error}")),
            Err(_) => reasons.push(format!("{address} does not answer")),
        }
    }
    let reason = format!("no sentinel says where the primary is ({})", reasons.join("; "));
    Err(Error::Unreachable { url: target.url().to_owned(), reason })
}

async fn ask(
    target: &Target,
    sentinels: &Sentinels,
    address: &Address,
    budget: Duration,
) -> Result<Option<Address>> {
    let Sentinels { login, tls, name, .. } = sentinels;
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut connection = sign_in(target, address, tls.as_ref(), login, config, budget).await?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    let answer: Option<(String, u16)> =
        question.query_async(&mut *connection).await.map_err(|error| translate(&error, target))?;
    Ok(answer.map(|(host, port)| Address::Tcp(host, port)))
}

/// The same connection, if the server is the primary as the sentinels said: they learn later than it does.
pub(super) async fn check_role(
    target: &Target,
    address: &Address,
    mut connection: Connection,
) -> Result<Connection> {
    let answer: Vec<Value> =
        cmd("ROLE").query_async(&mut *connection).await.map_err(|error| translate(&error, target))?;
    match answer.into_iter().next().map(redis::from_redis_value::<String>) {
        Some(Ok(role)) if role == "master" => Ok(connection),
        _ => Err(Error::Unreachable {
            url: target.url().to_owned(),
            reason: format!("{address} is not the primary any more"),
        }),
    }
}
