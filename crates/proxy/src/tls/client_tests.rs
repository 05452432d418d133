//! Names that are verified, and configurations that are kept.

use super::*;
use crate::tls::testing::{NOW, make};
use rcgen::PKCS_ECDSA_P256_SHA256 as ECDSA;

const H1: &[&[u8]] = &[b"http/1.1"];

#[test]
fn names() {
    let name = |label: Option<&str>, host: &str| {
        let tls = BackendTls { server_name: label.map(str::to_owned), ..BackendTls::default() };
        server_name(&tls, host).map(|name| name.to_str().into_owned()).ok()
    };
    assert_eq!(name(None, "agent-1.example.com").as_deref(), Some("agent-1.example.com"));
    assert_eq!(name(None, "agent-1.example.com.").as_deref(), Some("agent-1.example.com"));
    assert_eq!(name(Some("web.example.com"), "10.0.0.1").as_deref(), Some("web.example.com"));
    assert_eq!(name(None, "10.0.0.1").as_deref(), Some("10.0.0.1"));
    assert_eq!(name(None, "[2001:db8::1]").as_deref(), Some("2001:db8::1"));
    assert_eq!(name(None, "2001:db8::1").as_deref(), Some("2001:db8::1"));
    assert_eq!(name(None, ""), None);
    assert_eq!(name(Some("no name"), "10.0.0.1"), None);
}

/// One that offers HTTP/1.1, when the look at its file that may have been begun is over.
async fn settled(connectors: &Connectors, tls: &BackendTls, now: Instant) -> Made {
    let begun = connectors.connector(tls, H1, now).await;
    let turn = connectors.slot(tls, H1).turn.clone();
    let _over = turn.lock().await;
    match begun {
        Ok(_) => connectors.slot(tls, H1).found(),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn one_configuration_for_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let connectors = Connectors::default();
    let mut now = Instant::now();
    let tls = BackendTls { ca: Some(ca.clone()), ..BackendTls::default() };
    let missing = connectors.connector(&tls, H1, now).await.unwrap_err();
    assert!(missing.to_string().contains("ca.pem"), "{missing}");
    let status = |connectors: &Connectors| {
        let files = connectors.status();
        assert_eq!(files.len(), 1, "{files:?}");
        (files[0].state, files[0].reason.clone().map(|reason| reason.contains("ca.pem")))
    };
    assert_eq!(status(&connectors), (CertificateState::Refused, Some(true)));

    std::fs::write(&ca, make(&["one"], &ECDSA, NOW).chain).unwrap();
    assert!(connectors.connector(&tls, H1, now).await.is_err(), "not yet looked at again");
    now += RECHECK;
    let first = connectors.connector(&tls, H1, now).await.unwrap();
    assert_eq!(status(&connectors), (CertificateState::Served, None));
    now += RECHECK;
    assert!(Arc::ptr_eq(&first, &settled(&connectors, &tls, now).await.unwrap()));
    let named = BackendTls { server_name: Some("a".to_owned()), ..tls.clone() };
    assert!(Arc::ptr_eq(&first, &connectors.connector(&named, H1, now).await.unwrap()));
    assert!(!Arc::ptr_eq(&first, &connectors.connector(&tls, &[], now).await.unwrap()));

    std::fs::write(&ca, "nonsense").unwrap();
    now += RECHECK;
    assert!(Arc::ptr_eq(&first, &settled(&connectors, &tls, now).await.unwrap()));
    assert_eq!(status(&connectors), (CertificateState::Kept, Some(true)));
    let two = make(&["one"], &ECDSA, NOW).chain + &make(&["two"], &ECDSA, NOW).chain;
    std::fs::write(&ca, two).unwrap();
    now += RECHECK;
    assert!(!Arc::ptr_eq(&first, &settled(&connectors, &tls, now).await.unwrap()));

    let insecure = BackendTls { insecure: true, ca: Some("/none".into()), server_name: None };
    assert!(connectors.connector(&insecure, H1, now).await.is_ok());
}

/// A file that does not come to its end: a pipe that nobody writes to.
#[tokio::test(flavor = "current_thread")]
async fn a_file_that_cannot_be_read_holds_up_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("ca.pem");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let connectors = Arc::new(Connectors::default());
    let (now, stuck) =
        (Instant::now(), BackendTls { ca: Some(pipe.clone()), ..Default::default() });
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (connectors, stuck) = (connectors.clone(), stuck.clone());
        waiting.spawn(async move { connectors.connector(&stuck, H1, now).await.is_err() });
    }
    let insecure = BackendTls { insecure: true, ..BackendTls::default() };
    assert!(connectors.connector(&insecure, H1, now).await.is_ok(), "the event loop goes on");
    assert_eq!(waiting.try_join_next().map(Result::unwrap), None);
    // Its end: nothing was in it. One look is enough for all.
    drop(std::fs::OpenOptions::new().write(true).open(&pipe).unwrap());
    while let Some(refused) = waiting.join_next().await {
        assert!(refused.unwrap());
    }
}
