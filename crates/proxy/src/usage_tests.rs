use std::net::Ipv4Addr;

use waymark_model::{Agent, Readiness};

use super::*;

fn task(host: &str) -> TaskEntry {
    TaskEntry {
        id: TaskId::from_text("t"),
        agent: Arc::new(Agent {
            id: "m-S0".into(),
            hostname: host.into(),
            address: Ipv4Addr::LOCALHOST.into(),
        }),
        addresses: Vec::new(),
        host_ports: Vec::new(),
        discovery: Vec::new(),
        endpoints: Vec::new(),
        readiness: Readiness::Ready,
    }
}

fn endpoint(usage: &Usage, address: &str) -> Arc<Endpoint> {
    usage.endpoint(&task("agent-a.example.com"), address.parse().unwrap(), &Arc::default())
}

#[test]
fn a_task_is_used_while_a_seat_exists() {
    let usage = Usage::default();
    let task = TaskId::from_text("t");
    let (first, second) = (endpoint(&usage, "127.0.0.1:1"), endpoint(&usage, "127.0.0.1:2"));
    let (a, b) = (first.take_seat(None).unwrap(), second.take_seat(None).unwrap());
    assert_eq!((usage.connections(&task), first.active(), second.active()), (2, 1, 1));
    drop(a);
    assert_eq!((usage.connections(&task), first.active()), (1, 0));

    let mut departed = HashSet::from([task.clone()]);
    drop((first, second));
    usage.forget(&mut departed);
    assert_eq!((departed.len(), usage.connections(&task)), (1, 1), "a seat keeps it");
    drop(b);
    usage.forget(&mut departed);
    assert_eq!((departed.len(), usage.len()), (0, 0));
}

#[test]
fn no_more_seats_than_may_be() {
    let endpoint = endpoint(&Usage::default(), "127.0.0.1:1");
    let first = endpoint.take_seat(Some(1));
    assert!(first.is_some() && endpoint.take_seat(Some(1)).is_none());
    drop(first);
    assert!(endpoint.take_seat(Some(1)).is_some());
}

#[test]
fn an_ejection_grows_with_failures_in_a_row_and_ends_with_a_success() {
    let pool = Arc::<PoolState>::default();
    let usage = Usage::default();
    let endpoint = usage.endpoint(&task("a"), "127.0.0.1:1".parse().unwrap(), &pool);
    let seat = endpoint.take_seat(None).unwrap();
    assert!(!endpoint.is_ejected(|| 0));
    let mut now = 1;
    let mut lengths = Vec::new();
    for _ in 0..7 {
        seat.connect_failed(now);
        seat.connect_failed(now);
        let end = (now..).find(|now| !endpoint.is_ejected(|| *now)).unwrap();
        lengths.push(end - now);
        now = end;
    }
    assert_eq!(lengths, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    assert_eq!(endpoint.counters.ejections.load(Relaxed), 7);
    seat.connect_failed(now);
    seat.succeeded();
    assert!(!endpoint.is_ejected(|| now));
    seat.connect_failed(now);
    assert!(endpoint.is_ejected(|| now + 999) && !endpoint.is_ejected(|| now + 1_000));
    drop((seat, endpoint));
    assert_eq!(pool.counters.ejections.load(Relaxed), 9, "they are counted when it has gone, too");
}

#[test]
fn latency_rises_at_once_and_falls_slowly() {
    let endpoint = endpoint(&Usage::default(), "127.0.0.1:1");
    let micros = Duration::from_micros;
    endpoint.record_latency(micros(1_000), 1_000);
    assert_eq!(endpoint.latency(1_000).round(), 1_000.0);
    endpoint.record_latency(micros(9_000), 1_001);
    assert_eq!(endpoint.latency(1_001).round(), 9_000.0, "a peak counts at once");
    for n in 0..20 {
        endpoint.record_latency(micros(1_000), 1_002 + n * 100);
    }
    let falling = endpoint.latency(2_902);
    assert!((7_000.0..9_000.0).contains(&falling), "{falling}");
    for n in 0..1_000 {
        endpoint.record_latency(micros(1_000), 3_000 + n * 100);
    }
    let settled = endpoint.latency(102_900);
    assert!((950.0..1_100.0).contains(&settled), "{settled}");
    assert!(endpoint.latency(202_900) < 1.0, "what was seen long ago is forgotten");
}

#[test]
fn servers_are_named_as_by_marathon_lb() {
    let name = |host: &str, address: &str| {
        let endpoint =
            Usage::default().endpoint(&task(host), address.parse().unwrap(), &Arc::default());
        (endpoint.server.clone(), endpoint.sticky().to_owned())
    };
    let (server, sticky) = name("10.20.0.11", "10.20.0.11:31001");
    assert_eq!(server, "10_20_0_11_31001");
    assert_eq!(sticky, "1a4e69a7d8");
    let (server, _) = name("agent-a.example.com", "192.168.5.7:9000");
    assert_eq!(server, "agent-a_example_com_192_168_5_7_9000");
}
