//! Zone transfers to the secondaries that people run: NSD, Knot and dig. What they serve is
//! compared with what we serve, name by name.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod primary;
mod secondary;

use std::collections::BTreeSet;
use std::process::Command;

use primary::{Primary, app, ask, wait_until};
use secondary::{Secondary, free_address};
use waymark_dns::TransferConfig;

/// Names to compare: of apps, tasks, services, fixed ones, of names above others, and of nothing.
fn names(apps: u16) -> Vec<(String, &'static str)> {
    let mut names: Vec<(String, &str)> = Vec::new();
    for n in 0..apps {
        names.push((format!("app{n}.marathon.mesos"), "A"));
        names.push((format!("app{n}.marathon.slave.mesos"), "A"));
        names.push((format!("_app{n}._tcp.marathon.mesos"), "SRV"));
        names.push((format!("_http._app{n}._tcp.marathon.mesos"), "SRV"));
        names.push((format!("app{n}.marathon.mesos"), "AAAA"));
    }
    for name in ["leader.mesos", "slave.mesos", "marathon.mesos", "_tcp.marathon.mesos", "nothing"]
    {
        names.push((name.to_owned(), "A"));
    }
    names.extend([("mesos".to_owned(), "NS"), ("mesos".to_owned(), "SOA")]);
    names
}

/// Waits until the secondary has the primary's version, and compares what they answer.
fn agree(primary: &Primary, secondary: &Secondary, apps: u16) {
    let version = primary.version().to_string();
    wait_until(&format!("version {version} at the secondary"), || {
        ask(secondary.address, "mesos", "SOA").records.iter().any(|soa| soa.contains(&version))
    });
    for (name, qtype) in names(apps) {
        let (ours, theirs) =
            (ask(primary.address, &name, qtype), ask(secondary.address, &name, qtype));
        assert_eq!(ours, theirs, "{name} {qtype}");
    }
}

/// A secondary's life: the whole zone, changes one by one and in a burst, our restart.
fn follows(start: fn(std::net::SocketAddr, std::net::SocketAddr) -> Secondary) -> Secondary {
    let place = free_address();
    let config = TransferConfig { notify: vec![place], ..Primary::open() };
    let mut primary = Primary::start(None, 1000, config.clone());
    primary.publish((0..30).map(|n| app(n, &[1, 2])));
    let secondary = start(place, primary.address);
    agree(&primary, &secondary, 30);
    assert_eq!(primary.dns.transfer_stats().whole, 1);

    for round in 3..8 {
        primary.publish([app(round, &[round as u8]), app(30, &[round as u8, 1])]);
        agree(&primary, &secondary, 31);
    }
    primary.publish([app(7, &[])]);
    agree(&primary, &secondary, 31);
    let stats = primary.dns.transfer_stats();
    assert!(stats.whole == 1 && stats.changes >= 6, "{stats:?}");

    for n in 0..200 {
        primary.publish([app(n % 6, &[1, 2 + (n % 5) as u8])]);
    }
    agree(&primary, &secondary, 31);
    let stats = primary.dns.transfer_stats();
    assert!(stats.whole == 1 && (7..150).contains(&stats.changes), "told together: {stats:?}");

    // We come back with the same names and without a journal; then with a change.
    let (address, version) = (primary.address, primary.version());
    drop(primary);
    let mut primary = Primary::start(Some(address), version, config);
    primary.publish((0..35).map(|n| app(n, &[1, 4])));
    agree(&primary, &secondary, 35);
    assert_eq!(primary.dns.transfer_stats().whole, 1);
    primary.publish([app(3, &[2])]);
    agree(&primary, &secondary, 35);
    let stats = primary.dns.transfer_stats();
    assert!(stats.whole == 1 && stats.changes >= 1, "{stats:?}");
    secondary
}

#[test]
fn nsd_follows() {
    let nsd = follows(Secondary::nsd);
    assert!(nsd.log().contains("notify for mesos. from 127.0.0.1"), "{}", nsd.log());
}

#[test]
fn knot_follows() {
    let knot = follows(Secondary::knot);
    let log = knot.log();
    for line in ["AXFR, incoming, remote 127.0.0.1", "IXFR, incoming, remote 127.0.0.1"] {
        assert!(log.contains(line), "{line} in {log}");
    }
}

/// A journal that holds nothing: every change is the whole zone.
#[test]
fn secondaries_get_the_zone_when_the_journal_is_too_short() {
    for start in [Secondary::nsd, Secondary::knot] {
        let place = free_address();
        let mut config = TransferConfig { notify: vec![place], ..Primary::open() };
        config.journal_bytes = 10;
        let mut primary = Primary::start(None, u64::from(u32::MAX) - 1, config);
        primary.publish((0..3).map(|n| app(n, &[1])));
        let secondary = start(place, primary.address);
        wait_until("the first zone", || primary.dns.transfer_stats().whole == 1);
        // The serial goes round here.
        for round in 2..4 {
            primary.publish([app(1, &[round])]);
            wait_until("the same answers", || {
                let name = "app1.marathon.mesos";
                ask(primary.address, name, "A") == ask(secondary.address, name, "A")
            });
        }
        let stats = primary.dns.transfer_stats();
        assert!(stats.whole >= 3 && stats.changes == 0, "{stats:?}");
    }
}

/// The lines of records that dig prints.
fn dig(primary: &Primary, arguments: &[&str]) -> Vec<String> {
    let port = primary.address.port().to_string();
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port, "mesos", "+nocomments", "+nostats", "+nocmd"])
        .args(["+noquestion", "+onesoa"])
        .args(arguments)
        .output()
        .expect("dig runs (Debian package bind9-dnsutils)");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn dig_and_the_checkers_of_nsd_and_bind_read_it() {
    let mut primary = Primary::start(None, 40, Primary::open());
    primary.publish((0..400).map(|n| app(n, &[1, 2, 3])));
    let zone = dig(&primary, &["axfr"]);
    let different: BTreeSet<&String> = zone.iter().collect();
    assert_eq!(different.len(), zone.len(), "each record once");
    assert!(zone.len() > 400 * 10, "{} records", zone.len());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mesos.zone");
    std::fs::write(&file, zone.join("\n") + "\n").unwrap();
    for checker in ["nsd-checkzone", "named-checkzone"] {
        let checked = Command::new(checker).arg("mesos").arg(&file).output().expect(checker);
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{checker}: {said}");
    }

    let before = primary.version();
    primary.publish([app(1, &[1, 2, 4])]);
    let changes = dig(&primary, &[&format!("ixfr={before}")]);
    assert!((8..40).contains(&changes.len()), "{changes:#?}");
    assert!(changes.iter().any(|line| line.contains("10.0.0.3")), "removed: {changes:#?}");
    assert!(changes.iter().any(|line| line.contains("10.0.0.4")), "added: {changes:#?}");
    let now = primary.version();
    assert_eq!(dig(&primary, &[&format!("ixfr={now}")]).len(), 1);
    assert_eq!(dig(&primary, &[&format!("ixfr={before}"), "+notcp", "+ignore"]).len(), 1);
    assert!(dig(&primary, &["ixfr=7"]).len() > 400 * 10);
}

#[test]
fn who_is_not_allowed_gets_nothing() {
    let mut primary = Primary::start(None, 40, TransferConfig::default());
    primary.publish([app(1, &[1])]);
    for query in ["axfr", "ixfr=40"] {
        assert!(dig(&primary, &[query]).iter().all(|line| line.starts_with(';')), "{query}");
    }
    assert_eq!(primary.dns.transfer_stats().refused, 2);
}
