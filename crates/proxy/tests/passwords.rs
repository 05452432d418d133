//! Passwords of services (`HAPROXY_n_AUTH`) when more come than can be checked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::config;
use support::http::{Recorder, Web, answered_at_once, read_answer, status, text};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use waymark_proxy::{Limits, ProxyConfig};

/// So many are checked at once, and nobody waits beside them.
const WAITING: usize = 2;
const GUESSES: usize = 12;

async fn ask(web: &Web, password: &str) -> TcpStream {
    let mut client = web.dial().await;
    let pair = STANDARD.encode(format!("user:{password}"));
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {pair}\r\nConnection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn guesses_that_cannot_be_checked_are_told_to_come_again_and_known_users_go_on() {
    let task =
        Recorder::start(answered_at_once("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    // So slow that two guesses are under way for longer than all others take to come.
    let hash = pwhash::sha512_crypt::hash_with("$6$rounds=300000$saltsalt", "secret").unwrap();
    let auth = format!("realm:user:{hash}");
    let limits = Limits { waiting_passwords: WAITING, ..Limits::default() };
    let config = ProxyConfig { limits, ..config() };
    let web = Web::with(config, &[("HAPROXY_0_AUTH", &auth)], &[task.address]).await;
    let known = async || status(&read_answer(&mut ask(&web, "secret").await).await);
    assert_eq!(known().await, 200);

    let mut clients = Vec::new();
    for guess in 0..GUESSES {
        clients.push(ask(&web, &format!("guess {guess}")).await);
    }
    assert_eq!(known().await, 200, "who is known waits for nobody");
    let mut answers = BTreeMap::new();
    for client in &mut clients {
        let answer = text(&read_answer(client).await);
        assert_eq!(answer.contains("Retry-After: 1\r\n"), answer.starts_with("HTTP/1.1 503"));
        *answers.entry(status(answer.as_bytes())).or_default() += 1;
    }
    let counted = web.proxy.http_totals();
    let expected = [(401, counted.denied), (503, counted.unchecked)];
    assert_eq!(answers, BTreeMap::from(expected));
    assert!(counted.unchecked > 0 && counted.denied > 0, "{answers:?}");
}

#[tokio::test]
async fn nothing_is_told_of_a_service_before_the_password_is_checked() {
    let hash = pwhash::sha512_crypt::hash_with("$6$rounds=1000$saltsalt", "secret").unwrap();
    let auth = format!("realm:user:{hash}");
    let elsewhere = ("HAPROXY_0_HTTP_BACKEND_REDIR", "/inside/");
    let networks = ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "192.0.2.0/24");
    let task = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let cases: [(&[_], &[_], u16); 3] =
        [(&[elsewhere], &[task], 301), (&[networks], &[task], 403), (&[], &[], 503)];
    for (labels, tasks, then) in cases {
        let labels = [labels, &[("HAPROXY_0_AUTH", auth.as_str())]].concat();
        let web = Web::with(config(), &labels, tasks).await;
        let said = async |password| {
            let answer = text(&read_answer(&mut ask(&web, password).await).await);
            assert!(!answer.starts_with("HTTP/1.1 401") || !answer.contains("inside"), "{answer}");
            status(answer.as_bytes())
        };
        // The second time each is known.
        let statuses =
            [said("wrong").await, said("wrong").await, said("secret").await, said("secret").await];
        assert_eq!(statuses, [401, 401, then, then], "{labels:?}");
        assert_eq!(web.proxy.http_totals().denied, if then == 403 { 4 } else { 2 });
    }
}
