use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use waymark_model::Readiness;

use super::super::test_world::{World, app, task};
use super::*;

/// A service whose tasks are in these states, with these labels.
fn pool(tasks: &[Readiness], labels: &[(&str, &str)]) -> Arc<Pool> {
    let mut entry = app("/a", &[1], labels);
    let tasks = tasks.iter().enumerate();
    entry.tasks = tasks.map(|(n, ready)| task(&format!("t{n}"), n as u8 + 1, *ready)).collect();
    World::of([entry]).table().service(1).unwrap().pool.clone()
}

/// Who is picked: the position of the task, `full` or `nobody`.
fn picked(pool: &Pool, affinity: &Affinity<'_>, tried: &[Arc<Endpoint>], now: u64) -> Picked {
    let seed = Cell::new(now);
    let below = |n: u32| {
        seed.set(seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        ((seed.get() >> 33) as u32) % n.max(1)
    };
    let look = Look { affinity, tried, peek: false, now: &|| now, below: &below };
    match pool.pick(&look) {
        Pick::Seat(seat) => Picked::Task(position(pool, seat.endpoint()), seat),
        Pick::Full => Picked::Full,
        Pick::Nobody => Picked::Nobody,
    }
}

#[derive(Debug)]
enum Picked {
    Task(usize, #[allow(dead_code)] Seat), // Held as long as the outcome is.
    Full,
    Nobody,
}

impl Picked {
    fn task(&self) -> Option<usize> {
        match self {
            Picked::Task(task, _) => Some(*task),
            _ => None,
        }
    }
}

fn position(pool: &Pool, endpoint: &Arc<Endpoint>) -> usize {
    pool.candidates.iter().position(|c| Arc::ptr_eq(&c.endpoint, endpoint)).unwrap()
}

const ANYBODY: Affinity<'static> = Affinity { source: None, cookie: None, key: None };

use Readiness::{Draining, HealthUnknown, Ready, Unhealthy};

#[test]
fn the_unhealthy_get_something_only_when_nobody_is_ready() {
    let mixed = pool(&[Unhealthy, Ready, Draining, HealthUnknown], &[]);
    for _ in 0..8 {
        assert_eq!(picked(&mixed, &ANYBODY, &[], 1).task(), Some(1));
    }
    let tried = [mixed.candidates[1].endpoint.clone()];
    assert!(matches!(picked(&mixed, &ANYBODY, &tried, 1), Picked::Nobody));
    let ill = pool(&[Unhealthy, Draining, Unhealthy, HealthUnknown], &[]);
    let tasks: Vec<_> = (0..4).map(|_| picked(&ill, &ANYBODY, &[], 1).task()).collect();
    assert!(tasks.iter().all(|t| matches!(t, Some(0 | 2))), "{tasks:?}");
    let never = pool(&[Draining, HealthUnknown], &[]);
    assert!(matches!(picked(&never, &ANYBODY, &[], 1), Picked::Nobody));
}

#[test]
fn what_failed_is_tried_last_and_never_empties_a_pool() {
    let pool = pool(&[Ready, Ready, Ready], &[]);
    let fail = |task: usize| pool.candidates[task].endpoint.take_seat(None).unwrap();
    fail(0).connect_failed(1);
    pool.candidates[1].endpoint.set_check(CheckState::Failed);
    for _ in 0..6 {
        assert_eq!(picked(&pool, &ANYBODY, &[], 2).task(), Some(2));
    }
    let tried = [pool.candidates[2].endpoint.clone()];
    assert!(matches!(picked(&pool, &ANYBODY, &tried, 2).task(), Some(0 | 1)));
    fail(2).connect_failed(2);
    let all: std::collections::BTreeSet<_> =
        (0..6).map(|_| picked(&pool, &ANYBODY, &[], 3).task().unwrap()).collect();
    assert_eq!(all.len(), 3, "all of them are in doubt");
    let after = picked(&pool, &ANYBODY, &[], 1_001).task();
    assert_eq!(after, Some(0), "an ejection ends");
}

#[test]
fn nobody_gets_more_than_it_may() {
    let pool = pool(&[Ready, Ready], &[("WAYMARK_0_MAX_CONNECTIONS", "2")]);
    let seats: Vec<_> = (0..4).map(|_| picked(&pool, &ANYBODY, &[], 1)).collect();
    assert!(seats.iter().all(|s| s.task().is_some()), "{seats:?}");
    assert!(matches!(picked(&pool, &ANYBODY, &[], 1), Picked::Full));
    drop(seats);
    assert!(picked(&pool, &ANYBODY, &[], 1).task().is_some());
}

#[test]
fn a_cookie_leads_back_while_the_task_may_be_picked() {
    let pool = pool(&[Ready, Ready, Draining], &[("HAPROXY_0_STICKY", "true")]);
    for task in 0..3 {
        let cookie = pool.candidates[task].endpoint.sticky().to_owned();
        let affinity = Affinity { cookie: Some(cookie.as_bytes()), ..ANYBODY };
        for _ in 0..6 {
            let picked = picked(&pool, &affinity, &[], 1).task().unwrap();
            assert!(if task == 2 { picked != 2 } else { picked == task });
        }
        pool.candidates[task].endpoint.take_seat(None).unwrap().connect_failed(1);
        if task == 0 {
            assert_eq!(picked(&pool, &affinity, &[], 2).task(), Some(1), "it failed just now");
            pool.candidates[0].endpoint.take_seat(None).unwrap().succeeded();
        }
    }
}

#[test]
fn a_hash_keeps_a_client_at_its_task() {
    let pool = pool(&[Ready; 5], &[("WAYMARK_0_BALANCE", "hash source")]);
    let from = |n: u8| Affinity { source: Some(([10, 9, 8, n], u16::from(n)).into()), ..ANYBODY };
    let first: Vec<_> = (0..50).map(|n| picked(&pool, &from(n), &[], 1).task()).collect();
    let again: Vec<_> = (0..50).map(|n| picked(&pool, &from(n), &[], 2).task()).collect();
    assert_eq!(first, again);
    pool.candidates[3].endpoint.take_seat(None).unwrap().connect_failed(3);
    for (n, task) in first.iter().enumerate() {
        let now = picked(&pool, &from(n as u8), &[], 4).task();
        assert!(now == *task || *task == Some(3), "only the failed one's clients move");
    }
}

fn readiness() -> impl Strategy<Value = Readiness> {
    prop_oneof![3 => Just(Ready), 1 => Just(Unhealthy), 1 => Just(HealthUnknown), 1 => Just(Draining)]
}

proptest! {
    /// Whatever the balancer: a task that must get nothing gets nothing, and somebody is picked as
    /// long as anybody may be.
    #[test]
    fn every_balancer_keeps_the_rules(
        tasks in prop::collection::vec((readiness(), any::<bool>(), any::<bool>()), 0..7),
        balance in 0usize..6,
        now in 1u64..1_000,
    ) {
        let words = ["round-robin", "least-connections", "two-choices", "hash path", "random", "first"];
        let states: Vec<_> = tasks.iter().map(|(ready, ..)| *ready).collect();
        let pool = pool(&states, &[("WAYMARK_0_BALANCE", words[balance])]);
        let mut tried = Vec::new();
        for (candidate, (_, failed, was_tried)) in pool.candidates.iter().zip(&tasks) {
            if *failed {
                candidate.endpoint.take_seat(None).unwrap().connect_failed(now);
            }
            if *was_tried {
                tried.push(candidate.endpoint.clone());
            }
        }
        let any_ready = states.contains(&Ready);
        let may = |n: usize| {
            let (ready, _, was_tried) = tasks[n];
            !was_tried && (ready == Ready || (ready == Unhealthy && !any_ready))
        };
        let good = |n: usize| may(n) && (tasks[n].0 == Unhealthy || !tasks[n].1);
        let affinity = Affinity { key: Some(b"k"), ..ANYBODY };
        let mut times = BTreeMap::new();
        for _ in 0..12 {
            match picked(&pool, &affinity, &tried, now) {
                Picked::Task(task, _) => *times.entry(task).or_insert(0) += 1,
                other => {
                    prop_assert!(matches!(other, Picked::Nobody));
                    prop_assert!(!(0..tasks.len()).any(may));
                }
            }
        }
        for task in times.keys() {
            prop_assert!(may(*task));
            prop_assert!(good(*task) || !(0..tasks.len()).any(good));
        }
    }
}
