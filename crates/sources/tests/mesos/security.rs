//! Credentials and TLS: who sees what, and who is believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio_rustls::TlsAcceptor;
use waymark_sources::client::{Auth, ClientError, IamConfig};
use waymark_sources::mesos::{MesosConfig, MesosConfigError, MesosSource};

use crate::cluster::{Following, config, state};
use crate::server::certificates::Certificates;
use crate::server::{Reply, Server};

fn basic() -> Auth {
    Auth::Basic { principal: "me".to_owned(), secret: "pässword".to_owned() }
}

#[tokio::test]
async fn basic_credentials_are_seen_by_known_masters_only() {
    let (leader, standby, thief) =
        (Server::start().await, Server::start().await, Server::start().await);
    let at = leader.addr.to_string();
    let good = state(&at, 2);
    let wanted = format!("Basic {}", STANDARD.encode("me:pässword"));
    leader.answer(move |asked| match asked.header("authorization") == Some(wanted.as_str()) {
        true => Reply::json(&good),
        false => Reply::status(401),
    });
    thief.answer(|_| Reply::status(401));
    let to = format!("//{}/master/state", thief.addr);
    standby.answer(move |_| Reply::Redirect(to.clone()));
    let masters = [standby.addr.to_string(), at];
    let mut config = config(&[&masters[0], &masters[1]]);
    (config.auth, config.subscribe) = (basic(), false);
    let following = Following::start(config);
    following.until_tasks(2).await;
    assert!(!thief.asked().is_empty());
    assert!(thief.asked().iter().all(|asked| asked.header("authorization").is_none()));
    // To a master that is known it goes along, by name as well.
    let to = format!("//localhost:{}/master/state", leader.addr.port());
    standby.answer(move |_| Reply::Redirect(to.clone()));
    let before = standby.asked().len();
    let mut again = crate::cluster::config(&[&masters[0], &masters[1]]);
    (again.auth, again.subscribe) = (basic(), false);
    let following = Following::start(again);
    following.until_tasks(2).await;
    assert!(standby.asked().len() > before);
    assert_eq!(following.status.report().failures, 0);
}

#[test]
fn secrets_do_not_show() {
    let iam = Auth::Iam(IamConfig {
        uid: "u".to_owned(),
        private_key: "pässword".to_owned(),
        login_endpoint: "https://x/".to_owned(),
    });
    for auth in [basic(), iam] {
        let config = MesosConfig { auth, ..MesosConfig::default() };
        assert!(!format!("{config:?}").contains("pässword"));
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// Checks the signature and gives the claims.
fn claims(jwt: &str, key: &RsaKeyPair) -> serde_json::Value {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let claims = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[tokio::test]
async fn iam_logs_in_once_and_again_when_the_token_is_refused() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let private_key = pem("PRIVATE KEY", der.as_ref());
    let (login, master) = (Server::start().await, Server::start().await);
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = logins.clone();
    login.answer(move |asked| {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!((asked.path.as_str(), &body["uid"]), ("/acs/login", &"account".into()));
        let claims = claims(body["token"].as_str().unwrap(), &key);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(claims["exp"].as_u64().unwrap().abs_diff(now + 3600) < 60);
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::json(format!("{{\"token\":\"t{n}\"}}"))
    });
    let at = master.addr.to_string();
    let answer = |token: &'static str, tasks| {
        let good = state(&at, tasks);
        master.answer(move |asked| match asked.header("authorization") == Some(token) {
            true => Reply::json(&good),
            false => Reply::status(401),
        });
    };
    answer("token=t1", 2);
    let mut config = config(&[&at]);
    config.subscribe = false;
    config.auth = Auth::Iam(IamConfig {
        uid: "account".to_owned(),
        private_key,
        login_endpoint: format!("http://{}/acs/login", login.addr),
    });
    let following = Following::start(config);
    following.until_tasks(2).await;
    following.until(|_, _, report| report.full_states > 3).await;
    assert_eq!(logins.load(Ordering::SeqCst), 1);
    answer("token=t2", 3);
    following.until_tasks(3).await;
    assert_eq!(logins.load(Ordering::SeqCst), 2);
    login.answer(|_| Reply::status(500));
    answer("token=t9", 3);
    following.until_lost("login failed").await;
}

/// A master behind TLS and the settings to reach it.
async fn secured(acceptor: TlsAcceptor) -> (Server, MesosConfig) {
    let server = Server::start_with(Some(acceptor)).await;
    let at = server.addr.to_string();
    let good = state(&at, 2);
    server.answer(move |_| Reply::json(&good));
    let mut config = config(&[&at]);
    (config.https, config.subscribe) = (true, false);
    (server, config)
}

#[tokio::test]
async fn https_believes_the_ca_file_and_shows_the_client_certificate() {
    let certificates = Certificates::new();
    let (_server, mut config) = secured(certificates.acceptor(true)).await;
    config.tls.ca_file = certificates.file("ca.pem");
    config.tls.cert_file = certificates.file("cert.pem");
    config.tls.key_file = certificates.file("key.pem");
    Following::start(config).until_tasks(2).await;
}

#[tokio::test]
async fn https_refuses_others_unless_told_to_believe_everybody() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let (_server, config) = secured(certificates.acceptor(false)).await;
    for ca_file in [None, others.file("ca.pem")] {
        let mut config = config.clone();
        config.tls.insecure_without_ca = ca_file.is_some();
        config.tls.ca_file = ca_file;
        let following = Following::start(config);
        following.until(|_, _, report| report.failures > 2).await;
        assert_eq!(following.reader.latest().version, 0);
    }
    let mut config = config;
    config.tls.insecure_without_ca = true;
    Following::start(config).until_tasks(2).await;
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |change: &dyn Fn(&mut MesosConfig)| {
        let mut config = config(&["a:5050"]);
        change(&mut config);
        MesosSource::new(config).map(|_| ()).unwrap_err()
    };
    assert!(matches!(refused(&|c| c.masters.clear()), MesosConfigError::NoMasters));
    assert!(matches!(refused(&|c| c.masters.push("a".into())), MesosConfigError::BadMaster(_)));
    assert!(matches!(refused(&|c| c.refresh = Duration::ZERO), MesosConfigError::Zero("refresh")));
    let https = |c: &mut MesosConfig| {
        (c.https, c.tls.insecure_without_ca) = (true, true);
        c.tls.cert_file = Some("x".into());
    };
    assert!(matches!(refused(&https), MesosConfigError::Client(ClientError::HalfCertificate)));
    let no_file = |c: &mut MesosConfig| (c.https, c.tls.ca_file) = (true, Some("nowhere".into()));
    assert!(matches!(refused(&no_file), MesosConfigError::Client(ClientError::File { .. })));
    let iam = |c: &mut MesosConfig| {
        let (uid, private_key) = ("u".to_owned(), "no key".to_owned());
        let login_endpoint = "http://x/".to_owned();
        c.auth = Auth::Iam(IamConfig { uid, private_key, login_endpoint });
    };
    assert!(matches!(refused(&iam), MesosConfigError::Client(ClientError::Iam(_))));
}
