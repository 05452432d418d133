//! Whatever stands in labels is read without a panic, in the same way each time, and does not depend
//! on what other ports say.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use waymark_model::{AppEntry, AppId, Protocol, Service};
use waymark_routing::{HostPattern, Scope, labels, read};

fn app(labels: BTreeMap<String, String>, ports: usize) -> AppEntry {
    let mut app = AppEntry::new(AppId::parse("/web").unwrap(), "marathon");
    let service = |index: usize| Service {
        index,
        port: 10_000 + u16::try_from(index).unwrap(),
        protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Both][index % 3],
        name: None,
        labels: BTreeMap::new(),
    };
    app.services = (0..ports).map(service).collect();
    app.labels = labels;
    app
}

/// Names that exist, nearly exist, or do not.
fn name() -> impl Strategy<Value = String> {
    let known = (0..labels().len(), 0..4_usize).prop_map(|(label, n)| labels()[label].at(n));
    prop_oneof![
        6 => known.clone(),
        1 => (known, any::<prop::sample::Index>()).prop_map(|(mut name, at)| {
            name.remove(at.index(name.len()));
            name
        }),
        1 => "(HAPROXY|WAYMARK|haproxy)[_0-9A-Z+é-]{0,20}",
        1 => any::<String>(),
    ]
}

/// Values that some label takes, and any others.
fn value() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "true",
        "1",
        "-1",
        "65536",
        "a.test,*.b.test,*",
        "-i /a /b",
        "-m reg ^/a",
        "/a/b",
        "/a /b",
        "r:u:h",
        "r:u:$6$rounds=1000$a$b",
        "$1$",
        "10.0.0.0/8 ::1",
        "accept-proxy alpn h2",
        "ssl crt",
        "hdr(a)",
        "random(2)",
        "hash header:x",
        "hash src",
        "30s",
        "20%",
        "2016-03-01T10:20:30",
        "+",
        "*",
        ",",
        "''",
        "\\",
    ];
    prop_oneof![
        4 => prop::sample::select(KNOWN).prop_map(String::from),
        2 => "[-a-z0-9 /:$.*,()%\\\\\"']{0,24}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_is_lost(labels in prop::collection::btree_map(name(), value(), 0..12), ports in 0..4_usize) {
        let app = app(labels, ports);
        match read(&app) {
            Ok(routing) => {
                prop_assert_eq!(routing.ports.len(), ports);
                prop_assert_eq!(read(&app), Ok(routing.clone()));
                // What is listed is a label that was given.
                prop_assert!(routing.unapplied.iter().all(|u| app.labels.contains_key(&u.label)));
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                // The rest can be read without those that cannot.
                let mut rest = app.clone();
                rest.labels.retain(|label, _| errors.iter().all(|e| e.label != *label));
                prop_assert!(read(&rest).is_ok() || errors.iter().any(|e| e.label.ends_with("_REWRITE")));
            }
        }
    }

    #[test]
    fn ports_do_not_change_each_other(a in value(), b in value(), n in 0..labels().len(), m in 0..labels().len()) {
        let (x, y) = (&labels()[n], &labels()[m]);
        prop_assume!(x.scope == Scope::Port && y.scope == Scope::Port);
        let alone = BTreeMap::from([(x.at(0), a.clone())]);
        let together = BTreeMap::from([(x.at(0), a), (y.at(3), b)]);
        if let (Ok(alone), Ok(together)) = (read(&app(alone, 4)), read(&app(together, 4))) {
            prop_assert_eq!(&alone.ports[0], &together.ports[0]);
        }
    }

    #[test]
    fn printed_hosts_are_read_as_themselves(text in "([a-zA-Z0-9*._:-]{1,12},?){1,4}") {
        let hosts = |text: &str| {
            let label = BTreeMap::from([(String::from("HAPROXY_0_VHOST"), text.to_owned())]);
            read(&app(label, 1)).map(|r| r.ports[0].hosts.clone())
        };
        if let Ok(read) = hosts(&text) {
            let printed: Vec<String> = read.iter().map(HostPattern::to_string).collect();
            prop_assert_eq!(hosts(&printed.join(",")), Ok(read));
        }
    }
}
