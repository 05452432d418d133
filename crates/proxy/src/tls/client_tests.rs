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

#[test]
fn one_configuration_for_the_same_rules() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let connectors = Connectors::default();
    let mut now = Instant::now();
    let tls = BackendTls { ca: Some(ca.clone()), ..BackendTls::default() };
    let missing = connectors.connector(&tls, H1, now).unwrap_err();
    assert!(missing.to_string().contains("ca.pem"), "{missing}");

    std::fs::write(&ca, make(&["one"], &ECDSA, NOW).chain).unwrap();
    assert!(connectors.connector(&tls, H1, now).is_err(), "not yet looked at again");
    now += RECHECK;
    let first = connectors.connector(&tls, H1, now).unwrap();
    now += RECHECK;
    assert!(Arc::ptr_eq(&first, &connectors.connector(&tls, H1, now).unwrap()));
    let named = BackendTls { server_name: Some("a".to_owned()), ..tls.clone() };
    assert!(Arc::ptr_eq(&first, &connectors.connector(&named, H1, now).unwrap()));
    assert!(!Arc::ptr_eq(&first, &connectors.connector(&tls, &[], now).unwrap()));

    std::fs::write(&ca, "nonsense").unwrap();
    now += RECHECK;
    assert!(Arc::ptr_eq(&first, &connectors.connector(&tls, H1, now).unwrap()));
    let two = make(&["one"], &ECDSA, NOW).chain + &make(&["two"], &ECDSA, NOW).chain;
    std::fs::write(&ca, two).unwrap();
    now += RECHECK;
    assert!(!Arc::ptr_eq(&first, &connectors.connector(&tls, H1, now).unwrap()));

    let insecure = BackendTls { insecure: true, ca: Some("/none".into()), server_name: None };
    assert!(connectors.connector(&insecure, H1, now).is_ok());
}
