use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{PathId, PortDefinition};

const TCP: Protocol = Protocol::Tcp;

fn task(n: usize) -> TaskId {
    TaskId::from_text(&format!("t{n}"))
}

fn tcp(ports: &[Option<u16>]) -> Vec<PortDemand> {
    ports.iter().map(|port| PortDemand { port: *port, protocol: TCP }).collect()
}

/// Takes with a fixed random number, on a machine where everything can be bound.
fn take(
    ports: &mut HostPorts,
    n: usize,
    demand: &[PortDemand],
    random: u64,
    now: u64,
) -> Result<Vec<Option<u16>>, PortShortage> {
    ports.take(&task(n), demand, Timestamp(now), &mut || random, &mut |_| true)
}

#[test]
fn takes_by_position_from_a_random_start_with_wrap_around() {
    // (random number, demand, ports taken) of a pool 31000-31009.
    type Row<'a> = (u64, &'a [Option<u16>], &'a [Option<u16>]);
    let table: &[Row] = &[
        (0, &[Some(0)], &[Some(31000)]),
        (13, &[Some(0), Some(0)], &[Some(31003), Some(31004)]),
        (9, &[Some(0), Some(0)], &[Some(31009), Some(31000)]),
        (0, &[None, Some(0), None], &[None, Some(31000), None]),
        // Own explicit numbers are not chosen; outside the pool they are fine as well.
        (0, &[Some(0), Some(31000)], &[Some(31001), Some(31000)]),
        (0, &[Some(8080), Some(0)], &[Some(8080), Some(31000)]),
        (u64::MAX, &[], &[]),
    ];
    for (random, demand, want) in table {
        let mut ports = HostPorts::new(&[31000..=31009]);
        assert_eq!(take(&mut ports, 1, &tcp(demand), *random, 0).as_deref(), Ok(*want));
        assert_eq!(ports.of(&task(1)).len(), want.iter().flatten().count());
    }
}

#[test]
fn several_ranges_are_one_pool() {
    let nothing = std::ops::RangeInclusive::new(40, 30);
    let ports = HostPorts::new(&[50..=51, 10..=12, 12..=13, nothing, 0..=1]);
    assert_eq!(ports.ports_from(0).collect::<Vec<_>>(), [1, 10, 11, 12, 13, 50, 51]);
    assert_eq!(ports.ports_from(5).collect::<Vec<_>>(), [50, 51, 1, 10, 11, 12, 13]);
    assert_eq!((ports.pool_size(), ports.pool_text().as_str()), (7, "1-1,10-13,50-51"));
}

#[test]
fn shortages_say_why_and_take_nothing() {
    let mut ports = HostPorts::new(&[31000..=31001]);
    take(&mut ports, 1, &tcp(&[Some(8080), Some(0)]), 0, 0).unwrap();
    // (demand, reason)
    let table: &[(&[Option<u16>], &str)] = &[
        (&[Some(8080)], "host port 8080 is used by task t1"),
        (&[Some(22)], "host port 22 is in use by another program on this machine"),
        (&[Some(81), Some(81)], "host port 81 is demanded twice by the same app"),
        (&[Some(81), Some(0), Some(0)], "2 host ports are needed and 1 are free in 31000-31001"),
    ];
    for (demand, reason) in table {
        let error = ports
            .take(&task(2), &tcp(demand), Timestamp(0), &mut || 0, &mut |p| p != 22)
            .unwrap_err();
        assert_eq!(error.to_string(), *reason);
        assert_eq!((ports.held_count(), ports.of(&task(2))), (2, &[][..]));
    }
    let error = take(&mut HostPorts::new(&[]), 1, &tcp(&[Some(0)]), 7, 0).unwrap_err();
    assert_eq!(error.to_string(), "1 host ports are needed and 0 are free in an empty pool");
}

#[test]
fn numbers_that_cannot_be_bound_are_passed_over() {
    let mut ports = HostPorts::new(&[31000..=31003]);
    let taken =
        ports.take(&task(1), &tcp(&[Some(0), Some(0)]), Timestamp(0), &mut || 0, &mut |p| {
            p != 31000 && p != 31002
        });
    assert_eq!(taken, Ok(vec![Some(31001), Some(31003)]));
}

#[test]
fn one_number_may_serve_tcp_and_udp() {
    let demand = |port, protocol| PortDemand { port: Some(port), protocol };
    let mut ports = HostPorts::new(&[31000..=31001]);
    let own = [demand(53, Protocol::Tcp), demand(53, Protocol::Udp)];
    assert_eq!(take(&mut ports, 1, &own, 0, 0), Ok(vec![Some(53), Some(53)]));
    take(&mut ports, 2, &[demand(54, Protocol::Tcp)], 0, 0).unwrap();
    take(&mut ports, 3, &[demand(54, Protocol::Udp)], 0, 0).unwrap();
    let held = |port, n| Err(PortShortage::Held { port, holder: task(n) });
    assert_eq!(take(&mut ports, 4, &[demand(53, Protocol::Both)], 0, 0), held(53, 1));
    assert_eq!(take(&mut ports, 4, &[demand(54, Protocol::Udp)], 0, 0), held(54, 3));
    ports.release(&task(3), Timestamp(0));
    take(&mut ports, 4, &[demand(54, Protocol::Udp)], 0, 0).unwrap();
}

#[test]
fn a_freed_number_rests_unless_nothing_else_is_left() {
    let mut ports = HostPorts::new(&[31000..=31001]);
    let one = tcp(&[Some(0)]);
    assert_eq!(take(&mut ports, 1, &one, 0, 0), Ok(vec![Some(31000)]));
    ports.release(&task(1), Timestamp(1000));
    assert_eq!(take(&mut ports, 2, &one, 0, 1001), Ok(vec![Some(31001)]));
    assert_eq!(take(&mut ports, 3, &one, 0, 1002), Ok(vec![Some(31000)]));
    ports.release(&task(2), Timestamp(2000));
    ports.release(&task(3), Timestamp(2000));
    let rested = Timestamp(2000) + COOL_DOWN;
    assert_eq!(take(&mut ports, 4, &one, 0, rested.0), Ok(vec![Some(31000)]));
    // Explicit numbers do not wait.
    assert_eq!(take(&mut ports, 5, &tcp(&[Some(31001)]), 0, 2001), Ok(vec![Some(31001)]));
}

#[test]
fn adopted_tasks_keep_their_numbers() {
    let mut ports = HostPorts::new(&[31000..=31001]);
    ports.hold(&task(1), &[(31000, TCP), (8080, TCP)]);
    assert_eq!(take(&mut ports, 2, &tcp(&[Some(0)]), 0, 0), Ok(vec![Some(31001)]));
    assert!(take(&mut ports, 3, &tcp(&[Some(8080)]), 0, 0).is_err());
    // A number held twice, however that came about, is free when both are gone.
    ports.hold(&task(4), &[(8080, TCP)]);
    ports.release(&task(1), Timestamp(0));
    assert!(take(&mut ports, 3, &tcp(&[Some(8080)]), 0, 0).is_err());
    ports.release(&task(4), Timestamp(0));
    ports.release(&task(4), Timestamp(0));
    assert!(take(&mut ports, 3, &tcp(&[Some(8080)]), 0, 0).is_ok());
}

#[test]
fn demand_of_apps() {
    let definition = |port| PortDefinition { port, ..PortDefinition::default() };
    let mut app = App::new(PathId::parse("/a").unwrap());
    app.port_definitions = vec![definition(8080), definition(10000)];
    let ports =
        |app: &App| demand(app, &(10000..=20000)).iter().map(|d| d.port).collect::<Vec<_>>();
    assert_eq!(ports(&app), [Some(0), Some(0)]);
    app.require_ports = true;
    assert_eq!(ports(&app), [Some(8080), Some(0)]);
    let mapping = |host_port| crate::PortMapping { host_port, ..crate::PortMapping::default() };
    app.container = Some(crate::Container {
        kind: crate::ContainerKind::Mesos,
        docker: None,
        volumes: Vec::new(),
        port_mappings: vec![mapping(None), mapping(Some(0)), mapping(Some(10000))],
        opaque: crate::Opaque::new(),
    });
    assert_eq!(ports(&app), [None, Some(0), Some(10000)]);
}

proptest! {
    /// Random takes and releases beside a map of what each task holds.
    #[test]
    fn no_number_has_two_holders_and_nothing_leaks(
        steps in prop::collection::vec(
            (0usize..12, prop::collection::vec(prop_oneof![
                3 => Just(Some(0u16)), 1 => Just(None), 1 => (15u16..35).prop_map(Some),
            ], 0..4), any::<u64>(), any::<bool>()),
            1..80,
        ),
        busy in prop::collection::btree_set(15u16..35, 0..5),
    ) {
        let mut ports = HostPorts::new(&[20..=24, 26..=30]);
        let mut model: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
        for (at, (n, wanted, random, release)) in steps.into_iter().enumerate() {
            let now = Timestamp(at as u64 * 5000);
            if release || model.contains_key(&n) {
                ports.release(&task(n), now);
                model.remove(&n);
                continue;
            }
            let demand = tcp(&wanted);
            let result =
                ports.take(&task(n), &demand, now, &mut || random, &mut |p| !busy.contains(&p));
            let held: BTreeSet<u16> = model.values().flatten().copied().collect();
            let explicit: Vec<u16> = wanted.iter().flatten().copied().filter(|p| *p != 0).collect();
            let distinct: BTreeSet<u16> = explicit.iter().copied().collect();
            let dynamic = wanted.iter().filter(|p| **p == Some(0)).count();
            let usable = |p: &u16| !held.contains(p) && !busy.contains(p);
            let pool = (20u16..=24).chain(26..=30);
            let free = pool.clone().filter(|p| usable(p) && !distinct.contains(p)).count();
            let possible = distinct.len() == explicit.len()
                && explicit.iter().all(usable) && free >= dynamic;
            prop_assert_eq!(result.is_ok(), possible, "{:?} {:?}", wanted, result);
            let Ok(taken) = result else { continue };
            for (want, got) in wanted.iter().zip(&taken) {
                match want {
                    Some(0) => prop_assert!(pool.clone().any(|p| Some(p) == *got)),
                    _ => prop_assert_eq!(want, got),
                }
            }
            let taken: Vec<u16> = taken.into_iter().flatten().collect();
            let set: BTreeSet<u16> = taken.iter().copied().collect();
            prop_assert_eq!(set.len(), taken.len());
            prop_assert!(set.iter().all(usable));
            model.insert(n, set);
            prop_assert_eq!(ports.held_count(), model.values().map(BTreeSet::len).sum::<usize>());
        }
        for n in 0..12 {
            ports.release(&task(n), Timestamp(0));
        }
        prop_assert!(ports.held.is_empty() && ports.by_task.is_empty());
    }
}
