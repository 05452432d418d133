//! What secondaries make of transfers, read with the `domain` crate.

use std::collections::BTreeSet;

use domain::base::iana::{Class, Opcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, Serial, ToName, Ttl};
use domain::rdata::{AllRecordData, Soa};
use proptest::prelude::*;
use waymark_model::{AppEntry, Catalog};

use super::*;
use crate::build::Builder;
use crate::fixtures::*;
use crate::zone::Lookup;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));

/// A record as a line of a zone file.
type Line = String;

fn transfers(change: impl FnOnce(&mut TransferConfig)) -> Arc<Transfers> {
    let allow = ["127.0.0.0/8".parse::<crate::access::Network>().unwrap()].into_iter().collect();
    let mut config = TransferConfig { allow, ..TransferConfig::default() };
    change(&mut config);
    Transfers::new(config)
}

fn apex() -> Name<Vec<u8>> {
    "mesos".parse().unwrap()
}

/// A query for AXFR, or for IXFR from a serial.
fn query(serial: Option<u32>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec().question();
    builder.header_mut().set_id(7);
    let qtype = if serial.is_some() { Rtype::IXFR } else { Rtype::AXFR };
    builder.push((apex(), qtype)).unwrap();
    let mut builder = builder.authority();
    if let Some(serial) = serial {
        let zero = Ttl::from_secs(0);
        let soa = Soa::new(apex(), apex(), Serial(serial), zero, zero, zero, zero);
        builder.push((apex(), 0, soa)).unwrap();
    }
    builder.finish()
}

fn lines(message: &[u8]) -> Vec<Line> {
    let message = Message::from_octets(message).unwrap();
    let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
    let line = |record: domain::base::Record<_, AllRecordData<_, _>>| {
        assert_eq!(record.class(), Class::IN);
        let owner: Name<Vec<u8>> = ToName::to_name(record.owner());
        format!("{owner} {} {} {}", record.ttl().as_secs(), record.rtype(), record.data())
    };
    records.map(|record| line(record.unwrap())).collect()
}

/// All records of a transfer, in order.
fn transfer(transfers: &Transfers, zone: &Zone, serial: Option<u32>) -> Vec<Line> {
    let mut all = Vec::new();
    transfers.respond(zone.clone(), &query(serial), serial, PEER, |message| {
        all.extend(lines(&message));
        true
    });
    all
}

/// A secondary: the records it has, without SOA.
#[derive(Clone, Debug, Default, PartialEq)]
struct Secondary {
    serial: Option<u32>,
    records: BTreeSet<Line>,
}

fn serial_of(line: &Line) -> Option<u32> {
    let (_, soa) = line.split_once(" SOA ")?;
    soa.split(' ').nth(2)?.parse().ok()
}

impl Secondary {
    /// Takes a transfer as RFC 5936 and RFC 1995 say, and refuses what they forbid.
    fn take(&mut self, answer: &[Line]) {
        let (first, rest) = answer.split_first().unwrap();
        let newest = serial_of(first).unwrap();
        let Some((last, middle)) = rest.split_last() else {
            assert!(Some(newest) == self.serial, "already there");
            return;
        };
        assert_eq!(first, last);
        if middle.first().and_then(serial_of).is_none() {
            let set: BTreeSet<Line> = middle.iter().cloned().collect();
            assert_eq!(set.len(), middle.len(), "each once");
            *self = Secondary { serial: Some(newest), records: set };
            return;
        }
        let mut is_removed = false;
        for line in middle {
            match serial_of(line) {
                Some(serial) => {
                    is_removed = !is_removed;
                    let now = if is_removed { self.serial } else { Some(newest) };
                    assert_eq!(Some(serial), now);
                }
                None if is_removed => assert!(self.records.remove(line), "{line}"),
                None => assert!(self.records.insert(line.clone()), "{line}"),
            }
        }
        self.serial = Some(newest);
    }
}

/// Apps whose names collide, with tasks whose addresses do.
fn some_app() -> impl Strategy<Value = AppEntry> {
    let name = prop::sample::select(&["/web", "/shop/web", "/web-shop", "/a/b/c", "/x"][..]);
    let host = prop::sample::select(&["10.0.0.1", "10.0.0.2", "10.0.0.3"][..]);
    let own = prop::sample::subsequence(vec!["9.0.0.1", "9.0.0.2", "fd00::1"], 0..3);
    let port_name = prop::option::of(prop::sample::select(&["http", "admin"][..]));
    let ports = prop::collection::vec((1u16..5, port_name), 0..3);
    let one = (0u8..6, host, own, prop::collection::vec(1u16..4, 0..3), ports);
    (name, prop::collection::vec(one, 0..6)).prop_map(|(name, tasks)| {
        let tasks = tasks.into_iter().map(|(n, host, own, host_ports, ports)| {
            let mut task = task(&format!("{name}.{n}"), host);
            task.addresses = own.into_iter().map(ip).collect();
            task.host_ports = host_ports;
            task.discovery =
                ports.into_iter().map(|(number, name)| port(number, name, "tcp")).collect();
            task
        });
        let mut tasks: Vec<_> = tasks.collect();
        tasks.dedup_by(|a, b| a.id == b.id);
        app(name, tasks)
    })
}

fn zones(catalogs: Vec<Vec<AppEntry>>, start: Version) -> Vec<Zone> {
    let leases = leases();
    let mut before = Catalog::default();
    let mut builder = Builder::new(&config()).unwrap();
    let versions = (0..).map(|n| start + n);
    versions
        .zip(catalogs)
        .map(|(version, apps)| {
            let after = catalog(version, apps);
            builder.advance(&before, &after, &leases);
            before = after;
            builder.zone().clone()
        })
        .collect()
}

/// What a lookup of a name finds, as lines.
fn looked_up(zone: &Zone, name: &str) -> BTreeSet<Line> {
    let Lookup::Found { addresses, services } = zone.lookup(name) else { return BTreeSet::new() };
    let addresses = addresses.into_iter().map(|address| {
        let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("{name} 5 {rtype} {address}")
    });
    let services =
        services.into_iter().map(|(target, port)| format!("{name} 5 SRV 0 1 {port} {target}"));
    addresses.chain(services).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The whole zone is what lookups find under all of its names.
    #[test]
    fn axfr_is_what_lookups_find(apps in prop::collection::vec(some_app(), 0..5)) {
        let zone = zones(vec![apps], 7).remove(0);
        let mut secondary = Secondary::default();
        secondary.take(&transfer(&transfers(|_| ()), &zone, None));
        let mut found: BTreeSet<Line> =
            zone.names().iter().flat_map(|name| looked_up(&zone, name)).collect();
        found.insert("mesos 5 NS ns1.mesos.".to_owned());
        prop_assert_eq!(secondary.records, found);
        prop_assert_eq!(secondary.serial, Some(7));
    }

    /// Secondaries of any age and in any rhythm get to the same zone; the serial may go round.
    #[test]
    fn ixfr_leads_to_what_axfr_gives(
        catalogs in prop::collection::vec(prop::collection::vec(some_app(), 0..4), 1..12),
        start in prop_oneof![Just(3u64), Just(u64::from(u32::MAX) - 4)],
        asks in prop::collection::vec(any::<[bool; 3]>(), 12),
        journal_bytes in prop_oneof![Just(0usize), Just(2000), Just(1 << 20)],
    ) {
        let transfers = transfers(|config| config.journal_bytes = journal_bytes);
        let mut secondaries = [const { Secondary { serial: None, records: BTreeSet::new() } }; 3];
        let zones = zones(catalogs, start);
        for (zone, asks) in zones.iter().zip(&asks) {
            let mut fresh = Secondary::default();
            for (secondary, asks) in secondaries.iter_mut().zip(asks) {
                if *asks {
                    secondary.take(&transfer(&transfers, zone, secondary.serial));
                    fresh.take(&transfer(&transfers, zone, None));
                    prop_assert_eq!(&fresh, &*secondary);
                }
            }
        }
        prop_assert!(transfers.lock().journal.bytes() <= journal_bytes);
    }
}

fn shop(tasks: u8) -> Vec<AppEntry> {
    vec![app("/shop", (0..tasks).map(|n| task(&format!("shop.{n}"), &format!("10.0.0.{n}"))))]
}

/// Two secondaries at different versions get one step each, condensed; who is up to date or ahead
/// gets the SOA alone; who is unknown gets everything.
#[test]
fn each_gets_what_it_lacks() {
    let zones = zones(vec![shop(40), shop(41), shop(42), shop(41)], 1);
    let transfers = transfers(|_| ());
    let mut answers = Vec::new();
    for (zone, serial) in [
        (&zones[0], None),
        (&zones[1], Some(1)),
        (&zones[2], Some(2)),
        (&zones[3], Some(2)),
        (&zones[3], Some(1)),
        (&zones[3], Some(4)),
        (&zones[3], Some(9)),
        (&zones[3], Some(0)),
    ] {
        answers.push(transfer(&transfers, zone, serial));
    }
    let [whole, one, two, none, many, same, ahead, unknown] = answers.as_slice() else {
        panic!("eight answers")
    };
    assert_eq!(whole.iter().filter(|line| serial_of(line).is_some()).count(), 2);
    assert!(one.len() < whole.len() && two.len() < whole.len());
    let serials: Vec<u32> = none.iter().filter_map(serial_of).collect();
    assert_eq!((serials, none.len()), (vec![4, 2, 4, 4], 4), "what came and went");
    assert_eq!(many.iter().filter_map(serial_of).collect::<Vec<_>>(), [4, 1, 4, 4]);
    assert_eq!(many.len(), one.len());
    assert_eq!((same.len(), ahead.len()), (1, 1));
    assert_eq!(unknown.len(), one.len() - 4 + whole.len());
    let stats = transfers.stats();
    assert_eq!((stats.whole, stats.changes, stats.unchanged), (2, 4, 2));
    assert!(stats.journal_bytes > 0);
}

/// A zone that is older than what somebody got already is not gone back to.
#[test]
fn never_goes_back() {
    let zones = zones(vec![shop(1), shop(2)], 1);
    let transfers = transfers(|_| ());
    let newest = transfer(&transfers, &zones[1], None);
    assert_eq!(transfer(&transfers, &zones[0], None), newest);
    assert_eq!(transfer(&transfers, &zones[0], Some(2)).len(), 1);
}

/// What a query gets that begins no transfer.
fn refusal(transfers: &Arc<Transfers>, zone: &Zone, packet: &[u8], peer: IpAddr) -> Rcode {
    match transfers.try_begin(zone, packet, peer) {
        Ok(_) => Rcode::NoError,
        Err(rcode) => rcode,
    }
}

#[tokio::test]
async fn who_may_not_gets_nothing() {
    let zone = zones(vec![shop(1)], 1).remove(0);
    let some = transfers(|config| config.at_once = 1);
    let ask = |packet: &[u8]| refusal(&some, &zone, packet, PEER);
    assert_eq!(ask(&query(None)), Rcode::NoError);
    assert_eq!(refusal(&some, &zone, &query(None), ip("10.0.0.1")), Rcode::Refused);
    let nobody = Transfers::new(TransferConfig::default());
    assert_eq!(refusal(&nobody, &zone, &query(None), PEER), Rcode::Refused);
    assert!(!nobody.is_used());

    // Another name, another class, nothing published.
    let mut other = query(None);
    other[13] = b'n';
    assert_eq!(ask(&other), Rcode::Refused);
    let mut chaos = query(None);
    *chaos.last_mut().unwrap() = 3;
    assert_eq!(ask(&chaos), Rcode::Refused);
    let unmade = Zone::new(&config()).unwrap();
    assert_eq!(refusal(&some, &unmade, &query(None), PEER), Rcode::ServFail);
    // IXFR that does not say from where.
    let mut unsaid = query(None);
    let qtype = unsaid.len() - 3;
    unsaid[qtype] = 251;
    assert_eq!(ask(&unsaid), Rcode::FormErr);
    // A later version of EDNS.
    let mut later = query(None);
    later[11] = 1;
    later.extend(b"\0\0\x29\x04\xd0\0\x01\0\0\0\0");
    assert_eq!(ask(&later), Rcode::BadVers);
    // Signed: an additional record of type TSIG.
    let mut signed = query(None);
    signed[11] = 1;
    signed.extend(b"\x03key\0\0\xfa\0\xff\0\0\0\0\0\0");
    assert_eq!(ask(&signed), Rcode::Refused);

    // One at a time; a place that is given back is taken again.
    let held = some.try_begin(&zone, &query(None), PEER).ok().unwrap();
    let mut out = Vec::new();
    assert!(some.begin(&zone, &query(None), PEER, &mut out).is_none());
    assert_eq!((out[1], out[3] & 15), (7, Rcode::Refused as u8));
    drop(held);
    assert_eq!(ask(&query(None)), Rcode::NoError);
    assert_eq!(some.stats().refused, 1);
}

#[test]
fn over_udp_there_is_the_soa_alone() {
    let zone = zones(vec![shop(3)], 5).remove(0);
    let transfers = transfers(|_| ());
    let mut out = b"as it was".to_vec();
    transfers.answer_udp(&zone, &query(Some(1)), ip("10.0.0.1"), &mut out);
    assert_eq!(out, b"as it was");
    transfers.answer_udp(&zone, &query(Some(1)), PEER, &mut out);
    let lines = lines(&out);
    assert_eq!(lines.iter().filter_map(serial_of).collect::<Vec<_>>(), [5]);
    let message = Message::from_octets(&out[..]).unwrap();
    assert_eq!((message.header().opcode(), message.header().aa()), (Opcode::QUERY, true));
}
