//! TLS with clients: the configuration of one listener, and the handshake.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConnection, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error};

use super::choice::Choice;
use super::prefixed::Prefixed;
use super::tickets::Tickets;
use crate::port::count;

/// The most handshakes at a time, of all workers. One more waits, within its own time.
pub(crate) const MAX_HANDSHAKES: usize = 4096;

/// The most sessions that are remembered for clients that cannot keep tickets (TLS 1.2 only); the
/// oldest goes first.
const MAX_SESSIONS: usize = 1024;

/// A listener cannot speak TLS.
#[derive(Debug, Error)]
pub enum TerminatorError {
    /// The provider of cryptography refuses.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
    /// There is no certificate, and none could be made.
    #[error("there is no certificate, and none could be made: {0}")]
    SelfSigned(String),
}

/// The certificates of the listeners that have the same files, and the keys of their tickets.
#[derive(Debug)]
pub(crate) struct Scope {
    choice: ArcSwap<Choice>,
    tickets: Arc<Tickets>,
    sessions: Arc<ServerSessionMemoryCache>,
}

impl Scope {
    pub(crate) fn new(choice: Choice, now: i64) -> Result<Scope, rustls::Error> {
        Ok(Scope {
            choice: ArcSwap::from_pointee(choice),
            tickets: Arc::new(Tickets::new(now)?),
            sessions: ServerSessionMemoryCache::new(MAX_SESSIONS),
        })
    }

    /// From here on handshakes get these. Connections that are there are not touched.
    pub(crate) fn replace(&self, choice: Choice) {
        self.choice.store(Arc::new(choice));
    }

    pub(crate) fn rotate_tickets(&self, now: i64) {
        if let Err(error) = self.tickets.rotate(now) {
            error!(%error, "the key of session tickets could not be replaced");
        }
    }
}

#[derive(Debug)]
struct Resolver(Arc<Scope>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choice = self.0.choice.load();
        let chosen = choice.choose(hello.server_name(), hello.signature_schemes());
        chosen.map(|certificate| certificate.key.clone())
    }
}

/// What a client and a listener have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1, or nothing was said.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client after its handshake.
pub struct Secured<S> {
    /// What it says, in clear.
    pub stream: TlsStream<Prefixed<S>>,
    /// What it is going to speak.
    pub protocol: Protocol,
    /// The server name it asked for, in lower case.
    pub server_name: Option<Box<str>>,
}

/// Ends TLS at a listener. Shared by the workers.
#[derive(Debug)]
pub struct Terminator {
    scope: Arc<Scope>,
    acceptor: Arc<ServerConfig>,
    counters: Arc<Counters>,
    handshakes: Arc<Semaphore>,
}

/// A handshake that came to nothing.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the handshake took too long")]
    Timeout,
    /// The client was gone.
    #[error("the client has gone: {0}")]
    Gone(io::Error),
    /// The client refused, mostly the certificate.
    #[error("the client refused: {0}")]
    Refused(rustls::Error),
    /// The two have no version, cipher or protocol in common, or the client no use for any of the
    /// certificates.
    #[error("nothing in common with the client: {0}")]
    Incompatible(rustls::Error),
    /// What came is not TLS, or not as it should be.
    #[error("not TLS: {0}")]
    Invalid(rustls::Error),
}

impl Terminator {
    pub(crate) fn new(
        scope: Arc<Scope>,
        alpn: Vec<Vec<u8>>,
        tls13_only: bool,
        counters: Arc<Counters>,
        handshakes: Arc<Semaphore>,
    ) -> Result<Terminator, rustls::Error> {
        let versions: &[&'static rustls::SupportedProtocolVersion] = match tls13_only {
            true => &[&rustls::version::TLS13],
            false => &[&rustls::version::TLS13, &rustls::version::TLS12],
        };
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)?
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(Resolver(scope.clone())));
        config.alpn_protocols = alpn;
        config.ticketer = scope.tickets.clone();
        config.session_storage = scope.sessions.clone();
        Ok(Terminator { scope, acceptor: Arc::new(config), counters, handshakes })
    }

    /// Shakes hands with a client of which `ahead` has been read already. Everything must be done
    /// within `limit`, the wait for other handshakes included.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        client: S,
        ahead: Vec<u8>,
        limit: Duration,
    ) -> Result<Secured<S>, HandshakeError> {
        let shaken = timeout_at(Instant::now() + limit, async {
            let _turn = self.turn().await;
            let client = Prefixed::new(ahead, client);
            TlsAcceptor::from(self.acceptor.clone()).accept(client).await
        });
        let outcome = match shaken.await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(HandshakeError::from(error)),
            Err(_) => Err(HandshakeError::Timeout),
        };
        match outcome {
            Ok(stream) => Ok(self.secured(stream)),
            Err(error) => {
                debug!(%error, "handshake failed");
                count(self.counters.failure(&error));
                Err(error)
            }
        }
    }

    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        if let Ok(turn) = self.handshakes.try_acquire() {
            return Some(turn);
        }
        count(&self.counters.waited);
        // It fails only when the semaphore is closed, which nobody does.
        self.handshakes.acquire().await.ok()
    }

    fn secured<S>(&self, stream: TlsStream<Prefixed<S>>) -> Secured<S> {
        let session: &ServerConnection = stream.get_ref().1;
        count(match session.handshake_kind() {
            Some(HandshakeKind::Resumed) => &self.counters.resumed,
            _ => &self.counters.full,
        });
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let server_name = session.server_name().map(|name| name.to_ascii_lowercase().into());
        Secured { stream, protocol, server_name }
    }

    /// Whether a connection that asked for `server_name` may carry requests for `host` (without
    /// port): it asked for that one, or its certificate is for that one too. If not, the answer
    /// is 421 (RFC 9110 §15.5.20), after which the client connects anew.
    pub fn covers(&self, server_name: Option<&str>, host: &str) -> bool {
        self.scope.choice.load().covers(server_name, host)
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> HandshakeError {
        use rustls::Error::{AlertReceived, General, NoApplicationProtocol, PeerIncompatible};
        match error.downcast::<rustls::Error>() {
            Ok(error @ AlertReceived(_)) => HandshakeError::Refused(error),
            // `General` is what rustls says when no certificate was chosen.
            Ok(error @ (PeerIncompatible(_) | NoApplicationProtocol | General(_))) => {
                HandshakeError::Incompatible(error)
            }
            Ok(error) => HandshakeError::Invalid(error),
            Err(error) => HandshakeError::Gone(error),
        }
    }
}

/// What happened in handshakes. Written by the workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    waited: AtomicU64,
    timeout: AtomicU64,
    gone: AtomicU64,
    refused: AtomicU64,
    incompatible: AtomicU64,
    invalid: AtomicU64,
}

/// What happened in handshakes, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsStats {
    /// Complete ones, sessions made anew.
    pub full: u64,
    /// Complete ones that went on with an earlier session.
    pub resumed: u64,
    /// Those going on now.
    pub active: usize,
    /// Those that had to wait for others.
    pub waited: u64,
    /// Not done in time.
    pub timeout: u64,
    /// The client was gone.
    pub gone: u64,
    /// The client refused.
    pub refused: u64,
    /// Nothing in common.
    pub incompatible: u64,
    /// Not TLS.
    pub invalid: u64,
}

impl Counters {
    fn failure(&self, error: &HandshakeError) -> &AtomicU64 {
        match error {
            HandshakeError::Timeout => &self.timeout,
            HandshakeError::Gone(_) => &self.gone,
            HandshakeError::Refused(_) => &self.refused,
            HandshakeError::Incompatible(_) => &self.incompatible,
            HandshakeError::Invalid(_) => &self.invalid,
        }
    }

    pub(crate) fn stats(&self, active: usize) -> TlsStats {
        TlsStats {
            full: self.full.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            active,
            waited: self.waited.load(Relaxed),
            timeout: self.timeout.load(Relaxed),
            gone: self.gone.load(Relaxed),
            refused: self.refused.load(Relaxed),
            incompatible: self.incompatible.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
        }
    }
}
