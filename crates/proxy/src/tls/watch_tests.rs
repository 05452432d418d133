//! Handshakes with certificates from files that change.

use std::fs;
use std::path::Path;

use rcgen::{PKCS_ECDSA_P256_SHA256 as ECDSA, PKCS_RSA_SHA256 as RSA};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use waymark_tls::AnyCertificate;

use super::super::server::{HandshakeError, Protocol, Secured};
use super::*;
use crate::tls::testing::make;

const LIMIT: Duration = Duration::from_secs(20);

fn client(alpn: &[&str], schemes: Option<SignatureScheme>) -> ClientConfig {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(only) = schemes {
        // What the verifier knows is what the client says that it knows.
        let algorithms = provider.signature_verification_algorithms.mapping;
        let only: Vec<_> = algorithms.iter().filter(|(s, _)| *s == only).copied().collect();
        provider.signature_verification_algorithms.mapping = Box::leak(only.into_boxed_slice());
    }
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

type Pair =
    (Result<Secured<DuplexStream>, HandshakeError>, std::io::Result<TlsStream<DuplexStream>>);

async fn shake(terminator: &Terminator, config: &Arc<ClientConfig>, name: &str) -> Pair {
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(config.clone());
    tokio::join!(terminator.accept(near, Vec::new(), LIMIT), connector.connect(name, far))
}

/// The names of the certificate that a client gets.
async fn names(terminator: &Terminator, config: &Arc<ClientConfig>, name: &str) -> Vec<String> {
    let (server, client) = shake(terminator, config, name).await;
    server.unwrap();
    names_of(&client.unwrap())
}

fn names_of(client: &TlsStream<DuplexStream>) -> Vec<String> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let certificate = &client.get_ref().1.peer_certificates().unwrap()[0];
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let names = parsed.subject_alternative_name().unwrap();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    names.map(|name| name.to_string()).collect()
}

fn certificates(folder: &Path) -> Arc<Certificates> {
    Certificates::new(vec![folder.to_owned()])
}

fn https(certificates: &Arc<Certificates>) -> Arc<Terminator> {
    certificates.terminator(&[], Mode::Http, &BindOptions::default()).unwrap()
}

const YEAR_2100: i64 = 4_102_444_800;

fn put(folder: &Path, file: &str, name: &str) {
    fs::write(folder.join(file), make(&[name], &ECDSA, YEAR_2100).pem()).unwrap();
}

#[tokio::test]
async fn the_kind_of_key_is_what_the_client_can_check() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.ecdsa.pem", "a.test");
    let rsa = make(&["a.test", "rsa"], &RSA, YEAR_2100).pem();
    fs::write(folder.path().join("a.rsa.pem"), rsa).unwrap();
    let certificates = certificates(folder.path());
    let terminator = https(&certificates);
    let any = Arc::new(client(&["h2"], None));
    assert_eq!(names(&terminator, &any, "a.test").await, ["DNSName(a.test)"]);
    let rsa = Arc::new(client(&[], Some(SignatureScheme::RSA_PSS_SHA256)));
    assert_eq!(names(&terminator, &rsa, "a.test").await, ["DNSName(a.test)", "DNSName(rsa)"]);
    // Nothing suits: the client is told, and it is counted.
    let none = Arc::new(client(&[], Some(SignatureScheme::ED25519)));
    let (server, client) = shake(&terminator, &none, "a.test").await;
    assert!(matches!(server, Err(HandshakeError::Incompatible(_))));
    assert!(client.is_err());
    let stats = certificates.stats();
    assert_eq!((stats.full, stats.incompatible, stats.active), (2, 1, 0));
}

#[tokio::test]
async fn what_was_read_ahead_and_what_was_agreed_on() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.pem", "a.test");
    let certificates = certificates(folder.path());
    let terminator = https(&certificates);
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Protocol::Http2),
        (&["http/1.1"], Protocol::Http1),
        (&[], Protocol::Http1),
    ] {
        let (mut near, far) = duplex(64 * 1024);
        let connector = TlsConnector::from(Arc::new(client(offered, None)));
        let name = ServerName::try_from("A.test").unwrap();
        let mut connect = Box::pin(connector.connect(name, far));
        let mut ahead = vec![0; 100];
        tokio::select! {
            _ = &mut connect => panic!("nobody answered"),
            read = near.read_exact(&mut ahead) => { read.unwrap(); }
        }
        let (server, client) = tokio::join!(terminator.accept(near, ahead, LIMIT), connect);
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        assert_eq!(server.protocol, agreed);
        assert_eq!(server.server_name.as_deref(), Some("a.test"));
        client.write_all(b"hello").await.unwrap();
        let mut hello = [0; 5];
        server.stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
    }
    // An offer without anything in common is refused (RFC 7301 §3.2).
    let (server, _) = shake(&terminator, &Arc::new(client(&["smtp"], None)), "a.test").await;
    assert!(matches!(server, Err(HandshakeError::Incompatible(_))));
    // In mode tcp nothing is offered, and nothing is asked for.
    let tcp = certificates.terminator(&[], Mode::Tcp, &BindOptions::default()).unwrap();
    let (server, _) = shake(&tcp, &Arc::new(client(&["smtp"], None)), "a.test").await;
    assert!(server.is_ok());
}

#[tokio::test]
async fn failures_have_kinds() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.pem", "a.test");
    let certificates = certificates(folder.path());
    let options = BindOptions { tls13_only: true, ..BindOptions::default() };
    let terminator = certificates.terminator(&[], Mode::Http, &options).unwrap();
    let (near, mut far) = duplex(1024);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let invalid = terminator.accept(near, Vec::new(), LIMIT).await;
    assert!(matches!(invalid, Err(HandshakeError::Invalid(_))));
    let (near, far) = duplex(1024);
    drop(far);
    let gone = terminator.accept(near, Vec::new(), LIMIT).await;
    assert!(matches!(gone, Err(HandshakeError::Gone(_))));
    let (near, _far) = duplex(1024);
    let late = terminator.accept(near, Vec::new(), Duration::from_millis(1)).await;
    assert!(matches!(late, Err(HandshakeError::Timeout)));
    let old = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (old, _) = shake(&terminator, &Arc::new(old), "a.test").await;
    assert!(matches!(old, Err(HandshakeError::Incompatible(_))));
    let verifying = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (refused, _) = shake(&terminator, &Arc::new(verifying), "a.test").await;
    assert!(matches!(refused, Err(HandshakeError::Refused(_))));
    let stats = certificates.stats();
    let failed = [stats.invalid, stats.gone, stats.timeout, stats.incompatible, stats.refused];
    assert_eq!((failed, stats.full), ([1; 5], 0));
}

/// How the client's handshake came about, and that its tickets have arrived.
async fn kind(terminator: &Terminator, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let (server, client) = shake(terminator, config, "a.test").await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    // Tickets of TLS 1.3 come after the handshake.
    server.stream.write_all(b"x").await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
    client.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn sessions_are_resumed_at_every_worker_and_with_every_certificate() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.pem", "a.test");
    let certificates = certificates(folder.path());
    for options in [BindOptions::default(), BindOptions { tls13_only: true, ..Default::default() }]
    {
        let config = Arc::new(client(&["http/1.1"], None));
        let held = certificates.terminator(&[], Mode::Http, &options).unwrap();
        let mut kinds = Vec::new();
        for _ in 0..3 {
            // As another worker would get it.
            let terminator = certificates.terminator(&[], Mode::Http, &options).unwrap();
            assert!(Arc::ptr_eq(&held, &terminator));
            kinds.push(kind(&terminator, &config).await);
            // The certificate matters not to who comes back.
            put(folder.path(), "a.pem", "a.test");
            certificates.reload();
        }
        let resumed = Some(HandshakeKind::Resumed);
        assert_eq!(kinds, [Some(HandshakeKind::Full), resumed, resumed]);
    }
    assert_eq!((certificates.stats().full, certificates.stats().resumed), (2, 4));
}

#[tokio::test]
async fn sessions_are_resumed_by_the_key_before_but_not_by_older_ones() {
    const LIFE: i64 = super::super::tickets::TICKET_KEY_LIFE;
    let made = crate::tls::testing::certificate(&["a.test"], &ECDSA, YEAR_2100);
    let scope = Arc::new(Scope::new(Choice::new(&[made], 0), 0).unwrap());
    let handshakes = Arc::new(Semaphore::new(1));
    let terminator =
        Terminator::new(scope.clone(), Vec::new(), false, Arc::default(), handshakes).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let fresh = || {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
                .with_no_client_auth();
            Arc::new(config)
        };
        let (once, twice) = (fresh(), fresh());
        scope.rotate_tickets(0);
        assert_eq!(kind(&terminator, &once).await, Some(HandshakeKind::Full));
        assert_eq!(kind(&terminator, &twice).await, Some(HandshakeKind::Full));
        scope.rotate_tickets(LIFE);
        assert_eq!(kind(&terminator, &once).await, Some(HandshakeKind::Resumed));
        scope.rotate_tickets(2 * LIFE);
        assert_eq!(kind(&terminator, &twice).await, Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_file_replaced_under_load() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.pem", "one.test");
    let certificates = certificates(folder.path());
    let terminator = https(&certificates);
    let mut config = client(&[], None);
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    // A connection that is there when the certificate changes.
    let (server, client) = shake(&terminator, &config, "a.test").await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());

    let deadline = Instant::now() + LIMIT;
    let mut version = 0;
    let mut seen = BTreeSet::new();
    // The folder is watched by its own thread; each handshake must do, whatever is being written.
    while seen.len() < 3 {
        assert!(Instant::now() < deadline, "only {seen:?} were served");
        let text = make(&[&format!("version{version}.test")], &ECDSA, YEAR_2100).pem();
        if seen.len() as u32 >= version {
            version += 1;
            fs::write(folder.path().join("a.pem"), &text[..text.len() / 2]).unwrap();
            names(&terminator, &config, "a.test").await;
            fs::write(folder.path().join("a.pem"), text).unwrap();
        }
        seen.extend(names(&terminator, &config, "a.test").await);
    }
    client.write_all(b"still there").await.unwrap();
    let mut still = [0; 11];
    server.stream.read_exact(&mut still).await.unwrap();
    assert_eq!(&still, b"still there");
}

#[tokio::test]
async fn without_a_certificate_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = certificates(folder.path());
    let terminator = https(&certificates);
    let config = Arc::new(client(&[], None));
    assert!(names(&terminator, &config, "a.test").await.is_empty(), "it has a common name only");
    let status = certificates.status();
    let made = status.iter().find(|s| s.state == CertificateState::SelfSigned).unwrap();
    assert_eq!(made.names, ["*"]);
    assert!(terminator.covers(Some("a.test"), "b.test"));
    // As soon as there is one, it is served.
    put(folder.path(), "a.pem", "a.test");
    certificates.reload();
    let fresh = Arc::new(client(&[], None));
    assert_eq!(names(&terminator, &fresh, "a.test").await, ["DNSName(a.test)"]);
    let status = certificates.status();
    assert_eq!(status.iter().map(|s| s.state).collect::<Vec<_>>(), [CertificateState::Served]);
    assert!(!terminator.covers(Some("a.test"), "b.test"));
}

#[tokio::test]
async fn listeners_with_their_own_files() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.pem", "a.test");
    put(folder.path(), "b.pem", "b.test");
    let certificates = Certificates::new(vec![folder.path().join("a.pem")]);
    let shared = https(&certificates);
    let own = [folder.path().join("b.pem")];
    let service = certificates.terminator(&own, Mode::Http, &BindOptions::default()).unwrap();
    let config = Arc::new(client(&[], None));
    assert_eq!(names(&shared, &config, "b.test").await, ["DNSName(a.test)"]);
    // The session of one listener is nothing to another one.
    assert_eq!(names(&service, &config, "b.test").await, ["DNSName(b.test)"]);
    assert_eq!(certificates.stats().resumed, 0);
    assert_eq!(certificates.status().len(), 2);
    // Its files are forgotten with the last listener that has them.
    drop(service);
    certificates.reload();
    assert_eq!(certificates.status().len(), 1);
}
