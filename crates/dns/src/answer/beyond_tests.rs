//! What is answered beyond Mesos-DNS: names of addresses, TTLs of one's own, service ports, the
//! version, the nearest first, and large groups.

use std::time::{Duration, Instant};

use waymark_catalog::Freshness;
use waymark_model::{AppEntry, Catalog, Cluster, Master, Masters, Protocol, Service};

use super::tests::{Read, ask, get, many, read, udp};
use super::*;
use crate::build::Builder;
use crate::config::{DnsConfig, NearFirst};
use crate::fixtures::*;
use crate::message::qtype::{A, AAAA, ANY, PTR, SRV, TXT};

fn zone_with(config: DnsConfig, catalog: &Catalog) -> Zone {
    let mut builder = Builder::new(&config).unwrap();
    builder.advance(&Catalog::default(), catalog, &leases());
    builder.zone().clone()
}

fn sorted(read: Read) -> Vec<String> {
    let mut answer = read.answer;
    answer.sort();
    answer
}

#[test]
fn names_of_addresses() {
    let mut cluster = Cluster::default();
    let mut task = cluster_task("web.1", "web", 4);
    task.addresses.netinfo = vec![ip("9.0.0.7"), ip("fd00::7"), ip("10.0.0.4")];
    let mut bare = cluster_task("web.2", "web", 5);
    let mut agent = (*bare.agent).clone();
    agent.hostname = std::sync::Arc::from("10.0.0.5");
    bare.agent = std::sync::Arc::new(agent);
    add_group(&mut cluster, "f", "web", true, [task, bare]);
    let leader = Master { addresses: vec![ip("10.0.0.4")], port: 5050 };
    let masters = Masters { leader: Some(leader.clone()), all: vec![leader] };
    cluster.masters = Some(std::sync::Arc::new(masters));
    let own = app("/shop/x", [task_of("10.0.0.9")]);
    let mut all = catalog(7, [own]);
    all.cluster = cluster;
    let zone = zone_with(config(), &all);

    let name = "7.0.0.9.in-addr.arpa";
    for qtype in [PTR, ANY] {
        let reply = udp(&zone, name, qtype);
        assert_eq!((&*reply.rcode, &*reply.flags), ("NOERROR", "aa rd"));
        assert_eq!(reply.answer, [format!("{name} 5 PTR web-e844k-s4.f.mesos.")]);
    }
    let name = format!("7.0.0.0.{}d.f.ip6.arpa", "0.".repeat(26));
    assert_eq!(udp(&zone, &name, PTR).answer.len(), 1);
    // A machine is called as it registered, however many tasks have its address.
    let name = "4.0.0.10.in-addr.arpa";
    let want = ["agent4.example.org", "master0.mesos"].map(|n| format!("{name} 5 PTR {n}."));
    assert_eq!(sorted(udp(&zone, name, PTR)), want);
    let own = "9.0.0.10.in-addr.arpa";
    assert_eq!(udp(&zone, own, PTR).answer, [format!("{own} 5 PTR host.")]);
    let bare = "5.0.0.10.in-addr.arpa";
    assert_eq!(udp(&zone, bare, PTR).answer, [format!("{bare} 5 PTR slave.mesos.")]);
    // Everything else is others'.
    for (name, qtype) in
        [(name, A), (name, TXT), ("6.0.0.10.in-addr.arpa", PTR), ("10.in-addr.arpa", PTR)]
    {
        assert_eq!(udp(&zone, name, qtype).rcode, "REFUSED", "{name}");
    }
    let off = zone_with(DnsConfig { reverse: false, ..config() }, &all);
    assert_eq!(udp(&off, name, PTR).rcode, "REFUSED");
    assert_eq!(zone.names_of(ip("10.0.0.5")), ["slave.mesos"]);
    assert!(!zone.rrsets().any(|set| set.owner.first() == Some(&0xff)));
}

fn task_of(agent: &str) -> waymark_model::TaskEntry {
    task("own.1", agent)
}

#[test]
fn the_version() {
    let get = |config: DnsConfig| udp(&zone_with(config, &catalog(7, [])), "version.mesos", TXT);
    assert_eq!(get(config()).answer, ["version.mesos 0 TXT \"version=7\""]);
    let freshness = Freshness::default();
    let with =
        || get(DnsConfig { freshness: Some(freshness.clone()), ..config() }).answer.remove(0);
    assert_eq!(with(), "version.mesos 0 TXT \"version=7\" \"source=silent\"");
    freshness.heard(Instant::now());
    assert_eq!(with(), "version.mesos 0 TXT \"version=7\" \"age=0\" \"source=fresh\"");
    freshness.restored(Instant::now(), Duration::from_secs(99), "from disk");
    assert_eq!(with(), "version.mesos 0 TXT \"version=7\" \"age=99\" \"source=stale\"");
    let zone = zone_with(config(), &catalog(7, []));
    assert_eq!(udp(&zone, "version.mesos", ANY).answer.len(), 1);
    assert_eq!(udp(&zone, "version.mesos", A).rcode, "NOERROR");
    assert_eq!(udp(&zone, "x.version.mesos", TXT).rcode, "NXDOMAIN");
    assert_eq!(udp(&Zone::new(&config()).unwrap(), "version.mesos", TXT).rcode, "SERVFAIL");
}

fn labelled(mut app: AppEntry, ttl: &str) -> AppEntry {
    app.labels.insert(crate::tasks::TTL_LABEL.to_owned(), ttl.to_owned());
    app
}

#[test]
fn labels_tell_ttls() {
    let one = |id: &str, n: u8| {
        let mut task = task(&format!("{id}{n}"), &format!("10.0.0.{n}"));
        task.discovery = vec![port(80, None, "tcp")];
        app(id, [task])
    };
    let ttls = |apps: [AppEntry; 2], name: &str, qtype: u16| -> Vec<String> {
        let reply = udp(&zone_with(config(), &catalog(7, apps)), name, qtype);
        let all = reply.answer.iter().chain(&reply.additional);
        let mut ttls: Vec<String> = all.map(|r| r.split(' ').nth(1).unwrap().to_owned()).collect();
        ttls.sort();
        ttls.dedup();
        ttls
    };
    let both = |a: &str, b: &str| [labelled(one("/a/b", 1), a), labelled(one("/b-a", 2), b)];
    assert_eq!(ttls(both("60", "1"), "b.a.marathon.mesos", A), ["60"]);
    assert_eq!(ttls(both("60", "1"), "b-a.marathon.mesos", A), ["1"]);
    assert_eq!(ttls(both("60", "x"), "b-a.marathon.mesos", A), ["5"]);
    assert_eq!(ttls(both("60", "-1"), "_b.a._tcp.marathon.mesos", SRV), ["60"]);
    assert_eq!(ttls(both("60", "2147483648"), "_b-a._tcp.marathon.mesos", SRV), ["5", "60"]);

    // Tasks of a cluster have labels of their own.
    let mut cluster = Cluster::default();
    let tasks = [("a", Some("30")), ("b", Some("20")), ("c", None)].into_iter().zip(1..);
    let tasks = tasks.map(|((id, ttl), n)| {
        let mut task = cluster_task(id, "web", n);
        task.labels.extend(ttl.map(|ttl| (crate::tasks::TTL_LABEL.to_owned(), ttl.to_owned())));
        task
    });
    add_group(&mut cluster, "f", "web", true, tasks.take(2));
    let all = Catalog { version: 1, cluster, ..Catalog::default() };
    let zone = zone_with(config(), &all);
    assert!(udp(&zone, "web.f.mesos", A).answer.iter().all(|r| r.starts_with("web.f.mesos 20 A")));
    let listed = zone.rrsets().find(|set| crate::wire::text(set.owner) == "web.f").unwrap();
    assert_eq!(listed.ttl, 20);
    let changed = catalog(2, []);
    let mut builder = Builder::new(&config()).unwrap();
    builder.advance(&Catalog::default(), &all, &leases());
    let gone = builder.advance(&all, &changed, &leases());
    assert_eq!(gone.len(), 2);
}

/// A label that changes moves the records of tasks that did not change.
#[test]
fn a_ttl_that_changes() {
    let before = catalog(1, [labelled(many(40), "60")]);
    let after = catalog(2, [labelled(many(40), "10")]);
    let mut builder = Builder::new(&config()).unwrap();
    builder.advance(&Catalog::default(), &before, &leases());
    let zone = builder.zone().clone();
    builder.advance(&before, &after, &leases());
    let difference = builder.zone().changes_since(&zone, usize::MAX).unwrap();
    assert_eq!(difference.removed.len(), difference.added.len());
    assert!(difference.removed.iter().all(|record| record.ttl == 60));
    assert!(difference.added.iter().all(|record| record.ttl == 10));
    let reply = get(builder.zone(), ask("many.marathon.mesos", A), Transport::Tcp);
    assert!(reply.answer.iter().all(|r| r.starts_with("many.marathon.mesos 10 ")));
}

/// The lease is as long as anything about the task may be kept.
#[test]
fn leases_follow_the_ttl() {
    let leases = leases();
    let mut task = task("t", "10.0.0.4");
    task.discovery = vec![port(80, None, "tcp")];
    let mut builder = Builder::new(&config()).unwrap();
    let all = catalog(1, [labelled(app("/a", [task.clone()]), "600")]);
    builder.advance(&Catalog::default(), &all, &leases);
    let moment = leases.clock().moment(Instant::now());
    let packet = ask("_a._tcp.marathon.mesos", SRV).packet();
    let mut out = Vec::new();
    Answerer::new(1).answer(builder.zone(), &packet, Transport::Udp, HOST, moment, &mut out);
    let until = leases.until(&task.id).unwrap();
    assert!(until > moment.instant + Duration::from_secs(600));
}

#[test]
fn service_ports_on_the_balancer() {
    let mut web = web();
    let service = |index, port, name: Option<&str>| Service {
        index,
        port,
        protocol: Protocol::Tcp,
        name: name.map(str::to_owned),
        labels: Default::default(),
    };
    web.services =
        vec![service(0, 10_000, Some("http")), service(1, 10_001, None), service(2, 0, None)];
    web.tasks.clear();
    let all = catalog(7, [web.clone()]);
    let with = DnsConfig { balancer_addresses: vec![HOST], ..config() };
    let zone = zone_with(with.clone(), &all);
    for form in ["web.shop", "web-shop"] {
        let name = format!("_{form}._svc.marathon.mesos");
        assert_eq!(udp(&zone, &name, A).answer, [format!("{name} 5 A {HOST}")]);
        let reply = udp(&zone, &name, SRV);
        assert_eq!(reply.additional, [format!("{name} 5 A {HOST}")]);
        let want = [10_000, 10_001].map(|port| format!("{name} 5 SRV 0 1 {port} {name}"));
        assert_eq!(sorted(reply), want);
        let reply = udp(&zone, &format!("_http.{name}"), SRV);
        assert_eq!(reply.answer, [format!("_http.{name} 5 SRV 0 1 10000 {name}")]);
    }
    assert_eq!(
        udp(&zone_with(config(), &all), "_web-shop._svc.marathon.mesos", A).rcode,
        "NXDOMAIN"
    );
    // They follow the app's definition.
    let mut builder = Builder::new(&with).unwrap();
    builder.advance(&Catalog::default(), &all, &leases());
    web.services.truncate(1);
    let next = catalog(8, [web.clone()]);
    builder.advance(&all, &next, &leases());
    assert_eq!(udp(builder.zone(), "_web-shop._svc.marathon.mesos", SRV).answer.len(), 1);
    web.services.clear();
    let last = catalog(9, [web]);
    builder.advance(&next, &last, &leases());
    assert_eq!(udp(builder.zone(), "_web-shop._svc.marathon.mesos", A).rcode, "NXDOMAIN");
    builder.advance(&last, &catalog(10, []), &leases());
}

#[test]
fn the_nearest_first() {
    let tasks = [(1, "10.0.0.4"), (2, "10.0.1.4"), (3, "10.0.1.5"), (4, "10.0.2.4")];
    let mut with_v6 = task("t5", "10.0.0.9");
    with_v6.addresses = vec![ip("fd00::1")];
    with_v6.discovery = vec![port(80, None, "tcp")];
    let tasks = tasks.map(|(n, agent)| {
        let mut task = task(&format!("t{n}"), agent);
        task.discovery = vec![port(80, None, "tcp")];
        task
    });
    let all = catalog(7, [app("/a", tasks.into_iter().chain([with_v6]))]);
    let zone = zone_with(DnsConfig { near_first: Some(NearFirst::default()), ..config() }, &all);
    let mut answerer = Answerer::new(1);
    let mut out = Vec::new();
    let mut ask = |name: &str, qtype: u16, client: &str| {
        let packet = ask(name, qtype).packet();
        let client = ip(client);
        let outcome = answerer.answer(&zone, &packet, Transport::Tcp, client, now(), &mut out);
        read(&out, outcome.unwrap()).answer
    };
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let answer = ask("a.marathon.mesos", A, "10.0.1.77");
        assert!(answer.len() == 4 && answer[..2].iter().all(|r| r.contains(" 10.0.1.")));
        firsts.insert(answer[0].clone());
        let service = &ask("_a._tcp.marathon.mesos", SRV, "10.0.2.1")[0];
        assert!(service.contains(&crate::naming::task_hash("t4")), "{service}");
        assert_eq!(ask("a.marathon.mesos", AAAA, "10.0.1.77").len(), 1);
    }
    assert_eq!(firsts.len(), 2, "in random order among these");
}

/// Of a group far larger than an answer some are told, all in the long run.
#[test]
fn large_groups_are_told_in_part() {
    let zone = zone_with(config(), &catalog(7, [many(1200)]));
    let packet = ask("many.marathon.mesos", A).packet();
    let mut answerer = Answerer::new(1);
    let (mut out, mut told) = (Vec::new(), std::collections::BTreeSet::new());
    for _ in 0..2000 {
        let outcome = answerer.answer(&zone, &packet, Transport::Udp, HOST, now(), &mut out);
        let reply = read(&out, outcome.unwrap());
        assert!(reply.flags.contains("tc") && reply.answer.len() > 20);
        told.extend(reply.answer);
    }
    assert_eq!(told.len(), 1200);
    assert_eq!(get(&zone, ask("many.marathon.mesos", A), Transport::Tcp).answer.len(), 1200);
    assert_eq!(udp(&zone, "many.marathon.mesos", AAAA).rcode, "NOERROR");
}
