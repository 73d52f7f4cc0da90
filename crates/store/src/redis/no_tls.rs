//! In place of TLS, in a program that was built without it.

use std::time::Duration;

use tokio::net::TcpStream;

use super::query::TlsOptions;
use super::target::Target;
use crate::Result;

/// Nobody has one.
pub(super) enum Tls {}

impl Tls {
    pub(super) fn new(_: &TlsOptions) -> std::result::Result<Self, String> {
        Err("this program was built without the cargo feature `tls`".to_owned())
    }

    #[expect(clippy::unused_async, reason = "as the real one, which waits")]
    pub(super) async fn shake_hands(
        &self,
        _: &Target,
        _: &str,
        _: TcpStream,
        _: Duration,
    ) -> Result<TcpStream> {
        match *self {}
    }
}
