//! Connections as clients see them.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn limits() -> Limits {
    Limits {
        connections: 2,
        header_bytes: 8192,
        headers: 20,
        header_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(20),
        stop_timeout: Duration::from_secs(20),
    }
}

/// A server that answers everything with `hello`, and what stops it.
async fn hello(limits: Limits, tls: Option<Tls>) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve(listener, limits, tls, stopped, |_, _| async {
        Response::new(Full::new(Bytes::from_static(b"hello")))
    }));
    (address, stop)
}

async fn exchange(stream: impl AsyncRead + AsyncWrite) -> String {
    let mut stream = pin!(stream);
    stream.write_all(REQUEST).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn answers_in_clear() {
    let (address, _stop) = hello(limits(), None).await;
    let text = exchange(TcpStream::connect(address).await.unwrap()).await;
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("hello"), "{text}");
}

#[tokio::test]
async fn answers_in_tls_and_lives_on_after_nonsense() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let tls = Tls::new(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    let (address, _stop) = hello(limits(), Some(tls)).await;
    let mut nonsense = TcpStream::connect(address).await.unwrap();
    nonsense.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    // Whatever TLS says to this, HTTP it is not.
    let _ = nonsense.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert!(exchange(stream).await.ends_with("hello"));
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let (address, _stop) = hello(Limits { connections: 0, ..limits() }, None).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
}

#[tokio::test]
async fn stops_when_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, limits(), None, stopped, |_, _| async {
        Response::new(Full::new(Bytes::new()))
    }));
    // An idle connection does not hold it up.
    let _idle = TcpStream::connect(address).await.unwrap();
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
