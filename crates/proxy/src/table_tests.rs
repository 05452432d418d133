use std::collections::BTreeMap;

use proptest::prelude::*;
use waymark_catalog::Writer;
use waymark_model::{Agent, Endpoint as TaskEndpoint, PathId, Protocol, TaskEntry};

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

fn builder() -> TableBuilder {
    TableBuilder::new([127, 0, 0, 1].into(), |_| false, Arc::default())
}

/// A route as data: apps, ready addresses, withheld addresses with their reasons.
type Said = (Vec<AppId>, Vec<SocketAddr>, Vec<(SocketAddr, String)>);

fn said(table: &RouteTable) -> BTreeMap<u16, Said> {
    let one = |route: &Route| {
        let withheld =
            route.withheld.iter().map(|w| (w.endpoint.address, format!("{:?}", w.reason)));
        let ready = route.ready.iter().map(|e| e.address);
        (route.apps.clone(), ready.collect(), withheld.collect())
    };
    table.routes.iter().map(|(port, route)| (*port, one(route))).collect()
}

#[test]
fn only_tcp_services_with_a_port_have_a_route() {
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
    builder.apply(reader.latest());
    let table = builder.table();
    assert_eq!(table.version, 1);
    assert_eq!(table.routes.keys().copied().collect::<Vec<_>>(), [10000, 10002]);
    let route = &table.routes[&10000];
    assert_eq!(route.ready.iter().map(|e| e.address.port()).collect::<Vec<_>>(), [1]);
    assert_eq!(route.withheld[0].endpoint.address.port(), 4);
    assert_eq!(route.withheld[0].reason, Reason::HealthUnknown);
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
    assert_eq!(builder.apply(reader.latest()), [0u16; 0]);
    writer.publish([on_one_port(2, &[2, 3])]);
    assert_eq!(builder.apply(reader.latest()), [10000]);
    let route = &builder.table().routes[&10000];
    assert_eq!(route.apps, [app_id(1), app_id(2)]);
    assert_eq!(route.ready.len(), 3);
    writer.publish([on_one_port(2, &[2])]);
    assert_eq!(builder.apply(reader.latest()), [0u16; 0], "told already");
    writer.publish([(app_id(1), None)]);
    builder.apply(reader.latest());
    let route = &builder.table().routes[&10000];
    assert_eq!((route.apps.clone(), route.ready.len()), (vec![app_id(2)], 1));
}

#[test]
fn an_endpoint_keeps_its_counts_while_its_readiness_changes() {
    let (mut writer, reader) = Writer::new(0);
    let mut builder = builder();
    let mut with = |readiness| {
        let tasks = vec![task("t".into(), &[(0, 1)], readiness)];
        let entry = app(app_id(1), vec![service(0, 10000, Protocol::Tcp)], tasks);
        writer.publish([(app_id(1), Some(entry))]);
        builder.apply(reader.latest());
        builder.table().routes[&10000].clone()
    };
    let seat = with(Readiness::Ready).ready[0].take_seat();
    let draining = with(Readiness::Draining);
    assert!(draining.ready.is_empty());
    assert_eq!(draining.withheld[0].endpoint.active(), 1);
    drop(seat);
    assert_eq!(with(Readiness::Ready).ready[0].active(), 0);
}

#[test]
fn a_task_on_the_service_port_itself_is_never_routed_to() {
    let (mut writer, reader) = Writer::new(0);
    let tasks = vec![task("t".into(), &[(0, 10000)], Readiness::Ready)];
    let entry = app(app_id(1), vec![service(0, 10000, Protocol::Tcp)], tasks);
    writer.publish([(app_id(1), Some(entry))]);
    let loops = |listen: [u8; 4], is_local: fn(IpAddr) -> bool| {
        let mut builder = TableBuilder::new(listen.into(), is_local, Arc::default());
        builder.apply(reader.latest());
        builder.table().routes[&10000].withheld.iter().any(|w| w.reason == Reason::Loop)
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
    builder.apply(reader.latest());
    let before = builder.table().clone();
    writer.publish([entry(7, 2), entry(8, 1)]);
    builder.apply(reader.latest());
    let after = builder.table();
    let kept = |port: &u16| Arc::ptr_eq(&before.routes[port], &after.routes[port]);
    let changed: Vec<u16> = after.routes.keys().copied().filter(|port| !kept(port)).collect();
    assert_eq!(changed, [10007]);
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
        let mut following = TableBuilder::new([127, 0, 0, 1].into(), |_| false, usage.clone());
        for (n, step) in steps.iter().enumerate() {
            writer.publish(step.iter().map(|(n, shape)| {
                (app_id(*n), shape.as_ref().map(|shape| entry_of(*n, shape)))
            }));
            if n % skip == 0 {
                following.apply(reader.latest());
            }
        }
        following.apply(reader.latest());
        let mut anew = builder();
        anew.apply(reader.latest());
        prop_assert_eq!(said(following.table()), said(anew.table()));

        let everything: Vec<_> = (0..5).map(|n| (app_id(n), None)).collect();
        writer.publish(everything);
        following.apply(reader.latest());
        prop_assert!(following.table().routes.is_empty());
        prop_assert_eq!(usage.len(), 0);
    }
}
