//! The HTTP that is spoken with a collector: one request for each connection.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The files by which the two ends know each other, all in PEM format.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Identities {
    /// The authorities that are believed about the collector; those of the system unless named.
    pub(super) authorities: Option<PathBuf>,
    /// Who this program is, for a collector that asks.
    pub(super) certificate: Option<PathBuf>,
    /// The key of that certificate; else it is in the same file.
    pub(super) key: Option<PathBuf>,
}

/// How the last request ended: the status of its answer, or why there is none. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LastAnswer(Arc<Mutex<Result<u16, String>>>);

impl Default for LastAnswer {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Err("nothing was sent".to_owned()))))
    }
}

impl LastAnswer {
    pub(super) fn get(&self) -> Result<u16, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, answer: Result<u16, String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

/// Speaks with one collector, on the runtime that polls it.
#[derive(Debug)]
pub(super) struct Client {
    host: String,
    port: u16,
    timeout: Duration,
    last_answer: LastAnswer,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
}

impl Client {
    /// A client of this URL, each request of which may take so long. Identities matter only where it begins with `https://`.
    ///
    /// # Errors
    /// Why nothing can be sent there.
    pub(super) fn new(url: &str, timeout: Duration, identities: &Identities) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("{url} is no URL that begins with http:// or https://")),
        };
        let Some(host) = uri.host() else { return Err(format!("{url} names no host")) };
        #[cfg(not(feature = "tls"))]
        if is_encrypted {
            let _ = identities;
            return Err(format!("{url} needs TLS, and this program was built without the feature tls"));
        }
        Ok(Self {
            // As sockets know an IPv6 address.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 }),
            timeout,
            last_answer: LastAnswer::default(),
            #[cfg(feature = "tls")]
            tls: is_encrypted.then(|| super::tls::Tls::new(identities)).transpose()?,
        })
    }

    /// How the last request ended.
    pub(super) fn last_answer(&self) -> LastAnswer {
        self.last_answer.clone()
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
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the collector does not answer");
        let answer = match tokio::time::timeout(self.timeout, self.ask(request)).await.map_err(late) {
            Ok(answer) => answer,
            Err(error) => Err(error.into()),
        };
        self.last_answer.set(match &answer {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(error.to_string()),
        });
        answer
    }
}
