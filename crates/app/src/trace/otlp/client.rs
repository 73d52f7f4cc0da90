//! The HTTP that is spoken with a collector: one request for each connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Uri, header};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The most that is read of an answer, in bytes.
const LARGEST_ANSWER: usize = 1 << 20;

/// Speaks with one collector, on the runtime that polls it.
#[derive(Debug)]
pub(super) struct Client {
    host: String,
    port: u16,
    timeout: Duration,
    last_status: Arc<AtomicU16>,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
}

impl Client {
    /// A client of this URL, each request of which may take so long.
    ///
    /// # Errors
    /// Why nothing can be sent there.
    pub(super) fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url} is no URL that begins with http:// or https://")),
        };
        let Some(host) = uri.host() else { return Err(format!("{url} names no host")) };
        #[cfg(not(feature = "tls"))]
        if is_encrypted {
            return Err(format!("{url} needs TLS, and this program was built without the feature tls"));
        }
        Ok(Self {
            // As sockets know an IPv6 address.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            timeout,
            last_status: Arc::default(),
            #[cfg(feature = "tls")]
            tls: is_encrypted.then(super::tls::Tls::new).transpose()?,
        })
    }

    /// The status of the last answer; 0 while there is none to the last request.
    pub(super) fn last_status(&self) -> Arc<AtomicU16> {
        Arc::clone(&self.last_status)
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return talk(tls.shake_hands(&self.host, stream).await?, request).await;
        }
        talk(stream, request).await
    }
}

/// Sends the request and reads the answer.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (mut head, body) = request.into_parts();
        let host = head.uri.authority().map(|authority| authority.as_str().parse()).transpose()?;
        host.into_iter().for_each(|host| drop(head.headers.insert(header::HOST, host)));
        head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
        let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        // The answer may have come with the end of the connection.
        _ = &mut connection => answer.await,
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.last_status.store(0, Ordering::Relaxed);
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the collector does not answer");
        let answer = tokio::time::timeout(self.timeout, self.ask(request)).await.map_err(late)??;
        self.last_status.store(answer.status().as_u16(), Ordering::Relaxed);
        Ok(answer)
    }
}
