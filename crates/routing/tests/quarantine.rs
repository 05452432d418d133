//! Apps whose labels cannot be read keep their last good rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

use std::sync::Arc;

use waymark_model::{AppEntry, AppId, Protocol, Service, Timestamp};
use waymark_routing::Quarantine;

fn id() -> AppId {
    AppId::parse("/web").unwrap()
}

fn app(port: u16, vhost: &str, weight: &str) -> Arc<AppEntry> {
    let mut app = AppEntry::new(id(), "marathon");
    let (protocol, name, labels) = (Protocol::Tcp, None, Default::default());
    app.services = vec![Service { index: 0, port, protocol, name, labels }];
    app.labels.insert("HAPROXY_0_VHOST".into(), vhost.into());
    app.labels.insert("HAPROXY_0_BACKEND_WEIGHT".into(), weight.into());
    Arc::new(app)
}

#[test]
fn rules_are_the_same_while_only_tasks_change() {
    let mut quarantine = Quarantine::new();
    let first = quarantine.follow(&id(), Some(&app(10_000, "a.test", "1")), Timestamp(1)).unwrap();
    let mut scaled = AppEntry::clone(&app(10_000, "a.test", "1"));
    scaled.instances = 7;
    let second = quarantine.follow(&id(), Some(&Arc::new(scaled)), Timestamp(2)).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    let third = quarantine.follow(&id(), Some(&app(10_000, "b.test", "1")), Timestamp(3)).unwrap();
    assert!(!Arc::ptr_eq(&first, &third));
}

#[test]
fn the_last_good_rules_stay_and_listen_where_they_did() {
    let mut quarantine = Quarantine::new();
    let good = quarantine.follow(&id(), Some(&app(10_000, "a.test", "1")), Timestamp(1)).unwrap();
    let kept = quarantine.follow(&id(), Some(&app(10_007, "b.test", "x")), Timestamp(2)).unwrap();
    assert_eq!(kept.ports[0].hosts, good.ports[0].hosts);
    assert_eq!(kept.ports[0].port, Some(10_000));

    let later = quarantine.follow(&id(), Some(&app(10_008, "c.test", "y")), Timestamp(3)).unwrap();
    assert!(Arc::ptr_eq(&kept, &later));
    let reported = &quarantine.quarantined()[&id()];
    assert_eq!((reported.since, reported.kept), (Timestamp(2), true));
    assert!(reported.errors[0].reason.contains("\"y\""), "{reported:?}");

    let mended = quarantine.follow(&id(), Some(&app(10_008, "c.test", "2")), Timestamp(4)).unwrap();
    assert_eq!((mended.ports[0].priority, mended.ports[0].port), (2, None));
    assert!(quarantine.quarantined().is_empty());
}

#[test]
fn without_good_rules_there_are_none() {
    let mut quarantine = Quarantine::new();
    assert_eq!(quarantine.follow(&id(), Some(&app(10_000, "a.test", "x")), Timestamp(5)), None);
    assert!(!quarantine.quarantined()[&id()].kept);
    assert_eq!(quarantine.follow(&id(), Some(&app(10_000, "b.test", "x")), Timestamp(6)), None);
    assert_eq!(quarantine.quarantined()[&id()].since, Timestamp(5));

    assert_eq!(quarantine.follow(&id(), None, Timestamp(7)), None);
    assert!(quarantine.quarantined().is_empty());
    assert_eq!(quarantine.routing(&id()), None);
}

#[test]
fn an_app_that_comes_back_has_no_past() {
    let mut quarantine = Quarantine::new();
    quarantine.follow(&id(), Some(&app(10_000, "a.test", "1")), Timestamp(1));
    quarantine.follow(&id(), None, Timestamp(2));
    assert_eq!(quarantine.follow(&id(), Some(&app(10_000, "a.test", "x")), Timestamp(3)), None);
}
