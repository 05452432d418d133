//! The naming rules on whole apps, and that following changes gives what building anew gives.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use waymark_model::{AppEntry, Catalog, Readiness, TaskEntry};

use super::*;
use crate::build::Builder;
use crate::fixtures::*;

fn zone(apps: impl IntoIterator<Item = AppEntry>) -> Zone {
    zone_of(&catalog(7, apps), &leases())
}

fn addresses(zone: &Zone, name: &str) -> Vec<IpAddr> {
    match zone.lookup(name) {
        Lookup::Found { addresses, services } if services.is_empty() => addresses,
        other => panic!("{name}: {other:?}"),
    }
}

fn services(zone: &Zone, name: &str) -> Vec<(String, u16)> {
    match zone.lookup(name) {
        Lookup::Found { addresses, services } if addresses.is_empty() => services,
        other => panic!("{name}: {other:?}"),
    }
}

/// Every name of Mesos-DNS's own example, in both forms, and no other.
#[test]
fn the_names_of_a_task() {
    let zone = zone([web()]);
    for form in ["web.shop", "web-shop"] {
        for name in [form.to_owned(), format!("{form}-e844k-s3")] {
            assert_eq!(addresses(&zone, &format!("{name}.marathon.mesos")), [ip("9.0.0.7")]);
            assert_eq!(addresses(&zone, &format!("{name}.marathon.slave.mesos")), [ip("10.0.0.4")]);
        }
        let agent = (format!("{form}-e844k-s3.marathon.slave.mesos"), 31005);
        let own = (format!("{form}-e844k-s3.marathon.mesos"), 8080);
        for protocol in ["_tcp", "_udp"] {
            let name = format!("_{form}.{protocol}.marathon.slave.mesos");
            assert_eq!(services(&zone, &name), std::slice::from_ref(&agent));
        }
        for name in [format!("_{form}._tcp"), format!("_http._{form}._tcp")] {
            let found = services(&zone, &format!("{name}.marathon.mesos"));
            assert_eq!(found, std::slice::from_ref(&own));
        }
        assert_eq!(zone.lookup(&format!("_{form}._udp.marathon.mesos")), Lookup::Missing);
    }
    // 16 of the task, `slave`, and what is fixed.
    let fixed = ["leader", "master", "master0", "ns1", "marathon"];
    assert_eq!(zone.names().len(), 16 + 1 + fixed.len());
    for name in fixed {
        assert_eq!(addresses(&zone, &format!("{name}.mesos")), [HOST]);
    }
    assert_eq!(addresses(&zone, "slave.mesos"), [ip("10.0.0.4")]);
}

#[test]
fn what_exists_without_records() {
    let zone = zone([web()]);
    let nothing = Lookup::Found { addresses: vec![], services: vec![] };
    for name in [
        "mesos",
        "MESOS.",
        "shop.marathon.mesos",
        "marathon.slave.mesos",
        "_tcp.marathon.mesos",
        "shop._tcp.marathon.mesos",
        "_udp.marathon.slave.mesos",
    ] {
        assert_eq!(zone.lookup(name), nothing, "{name}");
    }
    for name in ["nope.mesos", "x.web-shop.marathon.mesos", "_udp.marathon.mesos", "tcp.mesos"] {
        assert_eq!(zone.lookup(name), Lookup::Missing, "{name}");
    }
    for name in ["example.org", "notmesos", ".", "a..mesos"] {
        assert_eq!(zone.lookup(name), Lookup::Outside, "{name}");
    }
    let empty = Zone::new(&config()).unwrap();
    assert_eq!(empty.lookup("web-shop.marathon.mesos"), Lookup::NotReady);
}

/// Only ready tasks count, as do only they for `slave` and for the names above.
#[test]
fn tasks_that_are_not_ready_have_no_names() {
    for readiness in [Readiness::HealthUnknown, Readiness::Unhealthy, Readiness::Draining] {
        let mut other = task("web.2", "10.0.0.5");
        other.readiness = readiness;
        let zone =
            zone([app("/a/web", [task("web.1", "10.0.0.4"), other.clone()]), app("/b/c", [other])]);
        assert_eq!(addresses(&zone, "web-a.marathon.mesos"), [ip("10.0.0.4")]);
        assert_eq!(addresses(&zone, "slave.mesos"), [ip("10.0.0.4")]);
        assert_eq!(zone.lookup("c-b.marathon.mesos"), Lookup::Missing);
        assert_eq!(zone.lookup("b.marathon.mesos"), Lookup::Missing);
    }
}

#[test]
fn ports_protocols_and_families() {
    let mut one = task("t.1", "10.0.0.4");
    one.addresses = vec![ip("9.0.0.7"), ip("fd00::7")];
    one.host_ports = vec![31001, 31002, 31001];
    one.discovery = vec![
        port(80, Some("My.Port"), "tcp"),
        port(80, Some("My.Port"), "udp"),
        port(81, None, "tcp"),
        port(82, Some("日本"), "tcp"),
    ];
    let zone = zone([app("/a", [one])]);
    let ports = |name: &str| -> Vec<u16> {
        services(&zone, &format!("{name}.mesos")).into_iter().map(|(_, port)| port).collect()
    };
    assert_eq!(addresses(&zone, "a.marathon.mesos"), [ip("9.0.0.7"), ip("fd00::7")]);
    assert_eq!(ports("_a._tcp.marathon"), [80, 81, 82]);
    assert_eq!(ports("_a._udp.marathon"), [80]);
    assert_eq!(ports("_my-port._a._tcp.marathon"), [80]);
    assert_eq!(ports("_my-port._a._udp.marathon"), [80]);
    assert_eq!(ports("_a._udp.marathon.slave"), [31001, 31002]);
}

/// Apps on one name are a union, and one that goes leaves the other's records alone.
#[test]
fn collisions_are_unions() {
    let leases = leases();
    let own = |app_id: &str, n: u8| {
        let mut task = task(&format!("{app_id}.{n}"), &format!("10.0.0.{n}"));
        task.discovery = vec![port(1000 + u16::from(n), None, "tcp")];
        app(app_id, [task])
    };
    // Both are `b-a` as one label.
    let both = catalog(1, [own("/a/b", 1), own("/b-a", 2)]);
    let mut builder = Builder::new(&config()).unwrap();
    builder.advance(&Catalog::default(), &both, &leases);
    let zone = builder.zone();
    assert_eq!(addresses(zone, "b-a.marathon.mesos"), [ip("10.0.0.1"), ip("10.0.0.2")]);
    assert_eq!(services(zone, "_b-a._tcp.marathon.mesos").len(), 2);
    assert_eq!(addresses(zone, "b.a.marathon.mesos"), [ip("10.0.0.1")]);

    let gone = builder.advance(&both, &catalog(2, [own("/b-a", 2)]), &leases);
    let zone = builder.zone();
    assert_eq!(gone.iter().map(|l| l.task().as_str()).collect::<Vec<_>>(), ["/a/b.1"]);
    assert_eq!(addresses(zone, "b-a.marathon.mesos"), [ip("10.0.0.2")]);
    assert_eq!(zone.lookup("b.a.marathon.mesos"), Lookup::Missing);
    assert_eq!(zone.lookup("a.marathon.mesos"), Lookup::Missing);
    assert_eq!(zone.version(), 2);
}

/// A framework called `slave` adds to the names of that zone.
#[test]
fn frameworks_are_dotted_names() {
    let with = |framework: &str| {
        let mut app = app("/x", [task("t", "10.0.0.4")]);
        app.framework = Arc::from(framework);
        zone([app])
    };
    assert_eq!(addresses(&with("Prod.Marathon"), "x.prod.marathon.mesos"), [ip("10.0.0.4")]);
    assert_eq!(addresses(&with("slave"), "x.slave.mesos"), [ip("10.0.0.4")]);
    assert!(!with("...").names().iter().any(|name| name.starts_with('x')));
}

/// Long ids lose only the forms that do not fit into a name.
#[test]
fn long_names() {
    let deep = format!("/{}", ["abcdefgh"; 40].join("/"));
    let long_label = format!("/{}", "n".repeat(70));
    let ports = |mut task: TaskEntry| {
        task.host_ports = vec![31000];
        task.discovery = vec![port(31000, None, "tcp")];
        task
    };
    let task = || ports(task("t", "10.0.0.4"));
    let zone = zone([app(&deep, [task()]), app(&long_label, [task()])]);
    assert!(zone.names().iter().all(|name| name.len() <= 253));
    assert!(zone.names().iter().flat_map(|name| name.split('.')).all(|label| label.len() <= 63));
    // The label is cut at 63, loses its trailing dash and is filled from behind the cut.
    let one_label = format!("{}abcdefgha", "abcdefgh-".repeat(6));
    let name = format!("{one_label}.marathon.mesos");
    assert_eq!(addresses(&zone, &name), [ip("10.0.0.4")]);
    // The services of a name that fills its label are found under what of it fits behind `_`,
    // and lead to a name that has the address.
    let service = format!("_{}._tcp.marathon.mesos", "n".repeat(62));
    let target = services(&zone, &service).remove(0).0;
    assert_eq!(addresses(&zone, &target), [ip("10.0.0.4")]);
}

fn any_task() -> impl Strategy<Value = (u8, u8, u8, u8)> {
    (0u8..6, 0u8..4, 0u8..4, 0u8..8)
}

fn make_task((n, agent, readiness, ports): (u8, u8, u8, u8)) -> TaskEntry {
    let mut task = task(&format!("t{n}"), &format!("10.0.0.{agent}"));
    task.readiness = match readiness {
        0 => Readiness::Draining,
        _ => Readiness::Ready,
    };
    if ports & 1 != 0 {
        task.addresses = vec![ip(&format!("fd00::{n}")), ip(&format!("9.0.0.{n}"))];
    }
    if ports & 2 != 0 {
        task.host_ports = vec![31000 + u16::from(ports)];
    }
    if ports & 4 != 0 {
        task.discovery =
            vec![port(8000, (n & 1 == 0).then_some("http"), "tcp"), port(53, None, "udp")];
    }
    task
}

/// Apps that collide: `/a/b` and `/b-a`, `/a/b/c`, a group's own name.
const APPS: [&str; 6] = ["/a/b", "/b-a", "/a/b/c", "/a", "/a/b.c", "/shop/web"];

proptest! {
    #[test]
    fn following_is_rebuilding(
        steps in prop::collection::vec(
            prop::collection::vec(
                (0..APPS.len(), prop::option::of(prop::collection::vec(any_task(), 0..4))), 0..4),
            1..12),
    ) {
        let leases = leases();
        let mut seen = Catalog::default();
        let mut builder = Builder::new(&config()).unwrap();
        let mut ever = std::collections::BTreeSet::new();
        for step in steps {
            let mut next = seen.clone();
            next.version += 1;
            for (n, tasks) in step {
                match tasks {
                    None => next.apps.remove(&id(APPS[n])),
                    Some(tasks) => {
                        let entry = app(APPS[n], tasks.into_iter().map(make_task));
                        next.apps.insert(id(APPS[n]), Arc::new(entry))
                    }
                };
            }
            let before = builder.zone().clone();
            let before_names = before.names();
            builder.advance(&seen, &next, &leases);
            let zone = builder.zone();
            let fresh = zone_of(&next, &leases);
            ever.extend(fresh.names());
            // With the names above them, and some below.
            let asked = ever.iter().flat_map(|name| {
                name.match_indices('.').map(|(at, _)| name[at + 1..].to_owned()).chain([name.clone(), format!("x.{name}")])
            });
            for name in asked {
                prop_assert_eq!(zone.lookup(&name), fresh.lookup(&name), "{}", name);
            }
            prop_assert_eq!(zone.names(), fresh.names());
            prop_assert_eq!(zone.len(), fresh.len());
            prop_assert_eq!(&zone.above, &fresh.above);
            prop_assert_eq!(before.names(), before_names, "a copy stays as it was");
            seen = next;
        }
    }
}
