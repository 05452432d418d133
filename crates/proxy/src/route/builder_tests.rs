use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;
use waymark_catalog::Writer;
use waymark_model::{
    Agent, AppEntry, Endpoint as TaskEndpoint, PathId, Protocol, Readiness, Service, TaskEntry,
};

use super::super::pool::{Candidate, Reason};
use super::super::table::{Groups, HealthPolicy};
use super::*;

fn app_id(n: u8) -> AppId {
    PathId::parse(&format!("/g/a{n}")).unwrap()
}

fn service(index: usize, port: u16, protocol: Protocol) -> Service {
    Service { index, port, protocol, name: None, labels: BTreeMap::new() }
}

fn task(id: String, endpoints: &[(usize, u16)], readiness: Readiness) -> Arc<TaskEntry> {
    let at = |port| SocketAddr::from(([10, 0, 0, 1], port));
    Arc::new(TaskEntry {
        id: TaskId::from_text(&id),
        agent: Arc::new(Agent { id: "m-S0".into(), hostname: "h".into(), address: at(0).ip() }),
        addresses: Vec::new(),
        host_ports: Vec::new(),
        discovery: Vec::new(),
        endpoints: endpoints
            .iter()
            .map(|(service, port)| TaskEndpoint { service: *service, address: at(*port) })
            .collect(),
        readiness,
    })
}

fn app(id: AppId, services: Vec<Service>, tasks: Vec<Arc<TaskEntry>>) -> AppEntry {
    AppEntry { services, tasks, ..AppEntry::new(id, "marathon") }
}

pub(super) fn exposure() -> Exposure {
    Exposure {
        groups: Groups::All,
        strict: false,
        health: HealthPolicy::Strict,
        listen: [127, 0, 0, 1].into(),
        https_port: 443,
    }
}

fn builder() -> TableBuilder {
    TableBuilder::new(exposure(), |_| false, Arc::default())
}

fn apply(builder: &mut TableBuilder, reader: &waymark_catalog::Reader) -> Notices {
    builder.apply(reader.latest(), Timestamp::ZERO)
}

fn tcp(port: u16) -> ListenKey {
    ListenKey { port, udp: false, ip: None }
}

fn pool(table: &RouteTable, port: u16) -> Arc<Pool> {
    table.service(port).unwrap().pool.clone()
}

fn ready(pool: &Pool) -> Vec<u16> {
    let ready = pool.candidates.iter().filter(|c| c.withheld.is_none());
    ready.map(|c| c.endpoint.address.port()).collect()
}

/// A route as data: its apps, and the addresses of its tasks with what speaks against them.
type Said = (Vec<AppId>, bool, Vec<(SocketAddr, TaskId, Option<Reason>)>);

/// Everything a table says, in a form that can be compared.
fn said(table: &RouteTable) -> (BTreeMap<ListenKey, Said>, Vec<String>) {
    let tasks = |pool: &Pool| {
        let one = |c: &Candidate| (c.endpoint.address, c.endpoint.task.clone(), c.withheld);
        pool.candidates.iter().map(one).collect::<Vec<_>>()
    };
    let one = |route: &ServiceRoute| {
        (route.apps.clone(), route.pool.id.shared.is_some(), tasks(&route.pool))
    };
    let listeners = table.listeners.iter().map(|(key, route)| (*key, one(route))).collect();
    let mut others: Vec<String> =
        table.pools.iter().map(|(id, p)| format!("{id:?} {:?}", tasks(p))).collect();
    let mut hosts: Vec<String> = table
        .hosts
        .iter()
        .map(|host| {
            format!(
                "{:?} {:?}",
                host.host,
                host.rules
                    .iter()
                    .map(|r| (
                        &r.path,
                        r.priority,
                        r.shares.iter().map(|s| tasks(&s.pool)).collect::<Vec<_>>(),
                        &r.shadowed
                    ))
                    .collect::<Vec<_>>()
            )
        })
        .collect();
    hosts.sort();
    others.extend(hosts);
    (listeners, others)
}

/// No pool that anything refers to is out of date.
fn is_consistent(table: &RouteTable) -> bool {
    let current = |pool: &Arc<Pool>| {
        !pool.is_retired() && table.pools.get(&pool.id).is_some_and(|p| Arc::ptr_eq(p, pool))
    };
    table.listeners.values().all(|route| current(&route.pool))
        && table.apps.values().all(current)
        && table.hosts.iter().all(|host| {
            host.rules.iter().flat_map(|rule| &rule.shares).all(|share| current(&share.pool))
                && host.passthrough.iter().all(current)
        })
}

#[test]
fn every_service_with_a_port_has_a_route() {
    let (mut writer, reader) = Writer::new(0);
    let services = vec![
        service(0, 10000, Protocol::Tcp),
        service(1, 10001, Protocol::Udp),
        service(2, 10002, Protocol::Both),
        service(3, 0, Protocol::Tcp),
    ];
    let tasks = vec![
        task("t1".into(), &[(0, 1), (1, 2), (2, 3)], Readiness::Ready),
        task("t2".into(), &[(0, 4)], Readiness::HealthUnknown),
    ];
    writer.publish([(app_id(1), Some(app(app_id(1), services, tasks)))]);
    let mut builder = builder();
    apply(&mut builder, &reader);
    let table = builder.table();
    assert_eq!(table.version, 1);
    let keys: Vec<_> = table.listeners.keys().map(|key| (key.port, key.udp)).collect();
    assert_eq!(keys, [(10000, false), (10001, true), (10002, false), (10002, true)]);
    let pool = pool(table, 10000);
    assert_eq!((pool.name.as_str(), ready(&pool)), ("g_a1_10000", vec![1]));
    assert_eq!(pool.candidates[1].withheld, Some(Reason::HealthUnknown));
    let udp = ListenKey { udp: true, ..tcp(10002) };
    assert!(Arc::ptr_eq(&table.listeners[&udp].pool, &table.listeners[&tcp(10002)].pool));
}

#[test]
fn apps_with_one_port_share_it_and_are_told_of_once() {
    let (mut writer, reader) = Writer::new(0);
    let on_one_port = |n: u8, tasks: &[u16]| {
        let tasks = tasks.iter().map(|p| task(format!("a{n}.{p}"), &[(0, *p)], Readiness::Ready));
        (app_id(n), Some(app(app_id(n), vec![service(0, 10000, Protocol::Tcp)], tasks.collect())))
    };
    let mut builder = builder();
    writer.publish([on_one_port(1, &[1])]);
    assert_eq!(apply(&mut builder, &reader), Notices::default());
    let alone = pool(builder.table(), 10000);
    writer.publish([on_one_port(2, &[2, 3])]);
    assert_eq!(apply(&mut builder, &reader).shared, [tcp(10000)]);
    let route = &builder.table().listeners[&tcp(10000)];
    assert_eq!(route.apps, [app_id(1), app_id(2)]);
    assert_eq!(ready(&route.pool), [1, 2, 3]);
    assert!(!alone.is_retired(), "the app's own pool is still the app's");
    writer.publish([on_one_port(2, &[2])]);
    assert_eq!(apply(&mut builder, &reader).shared, [] as [ListenKey; 0], "told already");
    let shared = pool(builder.table(), 10000);
    assert!(is_consistent(builder.table()));
    writer.publish([(app_id(1), None)]);
    apply(&mut builder, &reader);
    assert!(shared.is_retired() && alone.is_retired());
    let route = &builder.table().listeners[&tcp(10000)];
    assert_eq!((route.apps.clone(), ready(&route.pool)), (vec![app_id(2)], vec![2]));
    assert_eq!(builder.table().pools.len(), 1);
}

#[test]
fn an_endpoint_keeps_its_counts_while_its_readiness_changes() {
    let (mut writer, reader) = Writer::new(0);
    let mut builder = builder();
    let mut with = |readiness| {
        let tasks = vec![task("t".into(), &[(0, 1)], readiness)];
        let entry = app(app_id(1), vec![service(0, 10000, Protocol::Tcp)], tasks);
        writer.publish([(app_id(1), Some(entry))]);
        apply(&mut builder, &reader);
        pool(builder.table(), 10000)
    };
    let before = with(Readiness::Ready);
    let seat = before.candidates[0].endpoint.take_seat(None).unwrap();
    let draining = with(Readiness::Draining);
    assert!(before.is_retired() && !draining.is_retired());
    assert_eq!(draining.candidates[0].withheld, Some(Reason::Draining));
    assert_eq!(draining.candidates[0].endpoint.active(), 1);
    drop(seat);
    assert_eq!(with(Readiness::Ready).candidates[0].endpoint.active(), 0);
}

#[test]
fn a_task_on_the_service_port_itself_is_never_routed_to() {
    let (mut writer, reader) = Writer::new(0);
    let tasks = vec![task("t".into(), &[(0, 10000)], Readiness::Ready)];
    let entry = app(app_id(1), vec![service(0, 10000, Protocol::Tcp)], tasks);
    writer.publish([(app_id(1), Some(entry))]);
    let loops = |listen: [u8; 4], is_local: fn(IpAddr) -> bool| {
        let exposure = Exposure { listen: listen.into(), ..exposure() };
        let mut builder = TableBuilder::new(exposure, is_local, Arc::default());
        apply(&mut builder, &reader);
        pool(builder.table(), 10000).candidates[0].withheld == Some(Reason::Loop)
    };
    assert!(loops([10, 0, 0, 1], |_| false));
    assert!(loops([0, 0, 0, 0], |_| true));
    assert!(!loops([0, 0, 0, 0], |_| false), "another machine's");
    assert!(!loops([127, 0, 0, 1], |_| true), "another address of this machine");
}

#[test]
fn a_change_leaves_other_routes_as_they_are() {
    let (mut writer, reader) = Writer::new(0);
    let entry = |n: u8, target: u16| {
        let tasks = vec![task(format!("t{n}"), &[(0, target)], Readiness::Ready)];
        let port = 10000 + u16::from(n);
        (app_id(n), Some(app(app_id(n), vec![service(0, port, Protocol::Tcp)], tasks)))
    };
    writer.publish((0..50).map(|n| entry(n, 1)));
    let mut builder = builder();
    apply(&mut builder, &reader);
    let before = builder.table().clone();
    writer.publish([entry(7, 2), entry(8, 1)]);
    apply(&mut builder, &reader);
    let after = builder.table();
    let kept = |key: &ListenKey| Arc::ptr_eq(&before.listeners[key], &after.listeners[key]);
    let changed: Vec<_> = after.listeners.keys().copied().filter(|key| !kept(key)).collect();
    assert_eq!(changed, [tcp(10007)]);
}

#[derive(Clone, Debug)]
struct Shape {
    ports: Vec<(u16, Protocol)>,
    tasks: Vec<(u8, Readiness)>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Both)];
    let readiness = prop_oneof![
        3 => Just(Readiness::Ready),
        1 => Just(Readiness::Draining),
        1 => Just(Readiness::Unhealthy)
    ];
    let ports = prop::collection::vec((10000u16..10006, protocol), 0..3);
    let tasks = prop::collection::vec((0u8..4, readiness), 0..4);
    (ports, tasks).prop_map(|(ports, tasks)| Shape { ports, tasks })
}

fn entry_of(n: u8, shape: &Shape) -> AppEntry {
    let services = shape.ports.iter().enumerate().map(|(i, (port, p))| service(i, *port, *p));
    let tasks = shape.tasks.iter().map(|(id, readiness)| {
        let endpoints: Vec<_> =
            (0..shape.ports.len()).map(|i| (i, 1000 * u16::from(n) + i as u16)).collect();
        task(format!("a{n}.t{id}"), &endpoints, *readiness)
    });
    app(app_id(n), services.collect(), tasks.collect())
}

proptest! {
    /// Any sequence of changes, with versions skipped, gives the table that the last catalog alone
    /// gives; and no task that is gone is remembered.
    #[test]
    fn following_changes_equals_starting_anew(
        steps in prop::collection::vec(
            prop::collection::vec((0u8..5, prop::option::of(shape())), 1..4), 1..16),
        skip in 1usize..4,
    ) {
        let (mut writer, reader) = Writer::new(0);
        let usage = Arc::new(Usage::default());
        let mut following = TableBuilder::new(exposure(), |_| false, usage.clone());
        for (n, step) in steps.iter().enumerate() {
            writer.publish(step.iter().map(|(n, shape)| {
                (app_id(*n), shape.as_ref().map(|shape| entry_of(*n, shape)))
            }));
            if n % skip == 0 {
                apply(&mut following, &reader);
            }
        }
        apply(&mut following, &reader);
        let mut anew = builder();
        apply(&mut anew, &reader);
        prop_assert_eq!(said(following.table()), said(anew.table()));
        prop_assert!(is_consistent(following.table()));

        let everything: Vec<_> = (0..5).map(|n| (app_id(n), None)).collect();
        writer.publish(everything);
        apply(&mut following, &reader);
        let table = following.table();
        prop_assert!(table.listeners.is_empty() && table.pools.is_empty() && table.hosts.is_empty());
        prop_assert!(table.apps.is_empty());
        prop_assert_eq!(usage.len(), 0);
    }
}
