//! Making one probe: a connection, perhaps a request, and one sentence on what went wrong.

use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use waymark_model::TaskId;

use crate::insecure_tls;
use crate::state::{Outcome, Response};
use crate::target::{Expectation, Probe, ProbeKind};

/// The most that is read of an answer's body, in bytes; the rest is never asked for. Reading
/// anything at all is for the servers that log an error when their answer is not taken, and for
/// `preserveLastResponse`.
pub const BODY_LIMIT: usize = 64 * 1024;
/// The longest time spent on a body: the status has said all by then.
pub const BODY_TIME: Duration = Duration::from_millis(100);
/// The most that is read of an answer's head, in bytes; more is a failure.
const HEAD_LIMIT: usize = 16 * 1024;
/// How much longer than the time-out a command runner may take to clean up.
const RUNNER_SLACK: Duration = Duration::from_secs(1);

/// Runs the commands of `COMMAND` checks.
pub trait CommandRunner: Send + Sync {
    /// Runs a shell command in the task's environment and ends it after `timeout`; `Err` says in
    /// one sentence what failed.
    fn run(
        &self,
        task: &TaskId,
        command: &str,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
}

/// What all probes share.
pub(crate) struct Client {
    tls: Result<TlsConnector, rustls::Error>,
    runner: Arc<dyn CommandRunner>,
}

/// What a probe found, and the answer if it is to be reported.
pub(crate) struct Finding {
    pub outcome: Outcome,
    pub response: Option<Response>,
}

impl Client {
    pub(crate) fn new(runner: Arc<dyn CommandRunner>) -> Client {
        Client { tls: insecure_tls::connector(), runner }
    }

    /// Makes the probe; never takes notably longer than its time-out.
    pub(crate) async fn probe(&self, task: &TaskId, probe: &Probe) -> Finding {
        let limit = match probe.kind {
            ProbeKind::Command { .. } => probe.timeout + RUNNER_SLACK,
            _ => probe.timeout,
        };
        let result = timeout(limit, self.attempt(task, probe))
            .await
            .unwrap_or_else(|_| Err(format!("timed out after {} s", probe.timeout.as_secs_f64())));
        let response = match result {
            Ok(None) => return Finding { outcome: Outcome::Success, response: None },
            Ok(Some(response)) => response,
            Err(cause) => return Finding { outcome: Outcome::Failure(cause), response: None },
        };
        let keep = matches!(probe.expect, Expectation::Codes(_));
        Finding {
            outcome: judge(response.status, &probe.expect),
            response: keep.then_some(response),
        }
    }

    /// The answer, for kinds that have one.
    async fn attempt(&self, task: &TaskId, probe: &Probe) -> Result<Option<Response>, String> {
        match &probe.kind {
            ProbeKind::Http { addr, path, host } => {
                get(connect(*addr).await?, path, host).await.map(Some)
            }
            ProbeKind::Https { addr, path, host } => {
                let tls = self.tls.as_ref().map_err(|e| format!("TLS cannot be used: {e}"))?;
                let stream = connect(*addr).await?;
                let stream = tls
                    .connect(server_name(host, *addr), stream)
                    .await
                    .map_err(|e| format!("TLS handshake failed: {}", io_cause(&e)))?;
                get(stream, path, host).await.map(Some)
            }
            ProbeKind::Tcp { addr } => connect(*addr).await.map(|_| None),
            ProbeKind::Command { command } => {
                self.runner.run(task, command, probe.timeout).await.map(|()| None)
            }
            ProbeKind::Unresolved { cause } => Err(cause.clone()),
        }
    }
}

fn judge(status: u16, expect: &Expectation) -> Outcome {
    match expect {
        Expectation::Usual { .. } if (200..400).contains(&status) => Outcome::Success,
        Expectation::Usual { ignore_1xx: true } if (100..200).contains(&status) => Outcome::Neutral,
        Expectation::Codes(codes) if codes.contains(&status) => Outcome::Success,
        _ => Outcome::Failure(format!("status {status}")),
    }
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(addr).await.map_err(|e| io_cause(&e))
}

/// The name in `host`, or the address when that is not a DNS name.
fn server_name(host: &str, addr: SocketAddr) -> ServerName<'static> {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ServerName::try_from(name.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(addr.ip().into()))
}

/// One GET on a connection of its own. Interim answers (100, 103) are not final (RFC 9110, 15.2)
/// and are passed over; 101 is.
async fn get<S>(stream: S, path: &str, host: &str) -> Result<Response, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "Waymark")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| format!("{path} on {host} cannot be put into a request"))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| http_cause(&e))?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(|e| http_cause(&e))?;
        let content_type = answer.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok(Response {
            status: answer.status().as_u16(),
            content_type: content_type.to_owned(),
            body: read_some(answer.into_body()).await,
        })
    };
    // The block drops the connection when it has ended, so that the exchange ends as well.
    let driver = async move {
        let _ = connection.await;
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        () = driver => {}
    }
    exchange.await
}

async fn read_some(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                let room = BODY_LIMIT - bytes.len();
                bytes.extend_from_slice(data.get(..room).unwrap_or(data));
            }
            if bytes.len() >= BODY_LIMIT {
                break;
            }
        }
    };
    // What has come until then is kept; the rest is not needed.
    let _ = timeout(BODY_TIME, read).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn http_cause(error: &hyper::Error) -> String {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return io_cause(error);
        }
        source = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "the connection was closed before an answer".to_owned()
    } else if error.is_parse() {
        "the answer is not HTTP".to_owned()
    } else {
        error.to_string()
    }
}

fn io_cause(error: &io::Error) -> String {
    let text = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::HostUnreachable => "host unreachable",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::TimedOut => "the connection timed out",
        ErrorKind::UnexpectedEof => "the connection was closed before an answer",
        _ => return error.to_string(),
    };
    text.to_owned()
}
