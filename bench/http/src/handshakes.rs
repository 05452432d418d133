//! Clients that shake hands, ask once and close, again and again: made here, since no tool at hand
//! says whether it resumes sessions.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use waymark_tls::AnyCertificate;

use crate::Outcome;
use crate::contestant::Contestant;
use crate::idle::ask;

const CLIENTS: usize = 16;

/// Runs them for that long; how many got their answer.
pub async fn run(contestant: &Contestant, resumed: bool, time: Duration) -> Outcome<u64> {
    let (end, done) = (Instant::now() + time, Rc::new(Cell::new(0)));
    let (port, host) = (contestant.setup.https, contestant.setup.asked().swap_remove(0));
    let clients = LocalSet::new();
    for _ in 0..CLIENTS {
        let (done, host) = (done.clone(), host.clone());
        // Each has sessions of its own to go on with.
        let connector = connector(resumed)?;
        clients.spawn_local(async move {
            let outcome = async {
                while Instant::now() < end {
                    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                    let name = ServerName::try_from(host.clone())?;
                    let mut stream = connector.connect(name, socket).await?;
                    ask(&mut stream, &host).await?;
                    done.set(done.get() + 1);
                }
                Outcome::Ok(())
            };
            if let Err(error) = outcome.await {
                eprintln!("a client of TLS gave up: {error}");
            }
        });
    }
    clients.await;
    Ok(done.get())
}

/// Key exchange by elliptic curves, as all contestants know it: the post-quantum one, which Waymark
/// would agree to, is more work.
pub fn connector(resumed: bool) -> Outcome<TlsConnector> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
        .with_no_client_auth();
    config.resumption = match resumed {
        true => Resumption::in_memory_sessions(64),
        false => Resumption::disabled(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
