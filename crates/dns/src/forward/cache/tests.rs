use std::collections::HashMap;

use proptest::prelude::*;

use super::super::fixtures::{Reply, key, query};
use super::*;
use crate::message::qtype;

const SECOND: Duration = Duration::from_secs(1);
const BOUNDS: Bounds = Bounds { entries: 100, bytes: 1 << 20, stale: Duration::from_secs(60) };

fn response(ttl: u32, addresses: u8) -> Arc<Response> {
    let reply = Reply::to(&query(1, "a.example", qtype::A)).addresses(addresses, ttl);
    Arc::new(reply.read().unwrap())
}

fn servfail() -> Arc<Response> {
    Arc::new(Reply::to(&query(1, "a.example", qtype::A)).rcode(2).read().unwrap())
}

/// What is found, as a word.
fn word(cache: &mut Cache, now: Instant) -> &'static str {
    match cache.get(&key(1), now) {
        None => "none",
        Some(Found::Fresh(response, _)) if response.is_final() => "fresh",
        Some(Found::Fresh(..)) => "failure",
        Some(Found::Stale { is_last_word: false, .. }) => "stale",
        Some(Found::Stale { is_last_word: true, .. }) => "last word",
    }
}

#[test]
fn fresh_then_stale_then_gone() {
    let start = Instant::now();
    let mut cache = Cache::new(BOUNDS);
    assert_eq!(word(&mut cache, start), "none");
    cache.put(key(1), response(5, 1), start);
    assert_eq!(word(&mut cache, start + SECOND * 5 - Duration::from_nanos(1)), "fresh");
    assert_eq!(word(&mut cache, start + SECOND * 5), "stale");
    cache.put_failure(key(1), Some(servfail()), start + SECOND * 10);
    assert_eq!(word(&mut cache, start + SECOND * 10), "last word");
    assert_eq!(word(&mut cache, start + SECOND * 12), "stale");
    assert_eq!(word(&mut cache, start + SECOND * 65), "none");
    // A new answer is fresh again; one that may not be kept ends what was known.
    cache.put(key(1), response(5, 1), start + SECOND * 65);
    assert_eq!(word(&mut cache, start + SECOND * 66), "fresh");
    cache.put(key(1), response(0, 1), start + SECOND * 66);
    assert_eq!(word(&mut cache, start + SECOND * 66), "none");
}

#[test]
fn failures_are_kept_shortly_and_never_stale() {
    let start = Instant::now();
    let mut cache = Cache::new(BOUNDS);
    cache.put_failure(key(1), None, start);
    assert_eq!(word(&mut cache, start), "none");
    cache.put_failure(key(1), Some(servfail()), start);
    assert_eq!(word(&mut cache, start + SECOND), "failure");
    assert_eq!(word(&mut cache, start + SECOND * FAILURE_TTL as u32), "none");
}

#[test]
fn keeps_nothing_without_room() {
    let now = Instant::now();
    for bounds in [Bounds { entries: 0, ..BOUNDS }, Bounds { bytes: 100, ..BOUNDS }] {
        let mut cache = Cache::new(bounds);
        cache.put(key(1), response(5, 1), now);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }
}

#[test]
fn the_unasked_leave_first() {
    let now = Instant::now();
    let mut cache = Cache::new(Bounds { entries: 4, ..BOUNDS });
    for n in 0..4 {
        cache.put(key(n), response(50, 1), now);
    }
    for n in [0, 2] {
        assert!(cache.get(&key(n), now).is_some());
    }
    for n in 4..6 {
        cache.put(key(n), response(50, 1), now);
    }
    let kept: Vec<u16> = (0..6).filter(|n| cache.get(&key(*n), now).is_some()).collect();
    assert_eq!(kept, [0, 2, 4, 5]);
}

/// An eviction looks at a few entries, also when all were asked for.
#[test]
fn looks_are_bounded() {
    let now = Instant::now();
    let mut cache = Cache::new(Bounds { entries: 1000, ..BOUNDS });
    for n in 0..1000 {
        cache.put(key(n), response(50, 1), now);
    }
    for n in 0..1000 {
        cache.get(&key(n), now);
    }
    cache.put(key(2000), response(50, 1), now);
    let still_wanted = cache.entries.values().filter(|entry| entry.wanted).count();
    assert_eq!(still_wanted, 1000 - CHANCES - 1);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u16, u32, u8),
    Fail(u16),
    Get(u16),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..12u16;
    let step = prop_oneof![
        (key.clone(), 0..40u32, 1..30u8).prop_map(|(k, ttl, n)| Step::Put(k, ttl, n)),
        key.clone().prop_map(Step::Fail),
        key.prop_map(Step::Get),
        (0..20_000u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Never beyond the bounds; never anything but the last answer; fresh only within its time;
    /// stale only after it, and not for longer than allowed; nothing is forgotten while there is
    /// room.
    #[test]
    fn a_cache_is_a_map_that_forgets(
        steps in steps(),
        entries in 1..14usize,
        bytes in 1_000..20_000usize,
        stale in 0..30u64,
    ) {
        let bounds = Bounds { entries, bytes, stale: Duration::from_secs(stale) };
        let mut cache = Cache::new(bounds);
        let mut now = Instant::now();
        let mut known: HashMap<u16, (Instant, Arc<Response>)> = HashMap::new();
        let mut full = false;
        for step in steps {
            match step {
                Step::Put(k, ttl, n) => {
                    let response = response(ttl, n);
                    full |= cache.len() >= entries || cache.bytes() + 4_000 > bytes;
                    cache.put(key(k), response.clone(), now);
                    known.insert(k, (now, response));
                }
                Step::Fail(k) => {
                    full |= cache.len() >= entries || cache.bytes() + 4_000 > bytes;
                    cache.put_failure(key(k), Some(servfail()), now);
                }
                Step::Pass(millis) => now += Duration::from_millis(millis),
                Step::Get(k) => {
                    let found = cache.get(&key(k), now);
                    let truth = known.get(&k).map(|(since, r)| (now - *since, r));
                    let lives = |age: Duration, r: &Response, more: u64| {
                        r.ttl > 0 && age < Duration::from_secs(u64::from(r.ttl) + more)
                    };
                    match (found, truth) {
                        (Some(Found::Fresh(r, age)), truth) if !r.is_final() => {
                            prop_assert!(age < Duration::from_secs(FAILURE_TTL));
                            prop_assert!(full || !truth.is_some_and(|(a, r)| lives(a, r, 0)));
                        }
                        (Some(Found::Fresh(r, age)), Some((true_age, last))) => {
                            prop_assert!(Arc::ptr_eq(&r, last) && age == true_age);
                            prop_assert!(lives(age, &r, 0));
                        }
                        (Some(Found::Stale { response: r, .. }), Some((age, last))) => {
                            prop_assert!(Arc::ptr_eq(&r, last));
                            prop_assert!(!lives(age, &r, 0) && lives(age, &r, stale));
                        }
                        (None, Some((age, last))) => prop_assert!(full || !lives(age, last, stale)),
                        (Some(_), None) => prop_assert!(false, "made up"),
                        (None, None) => {}
                    }
                }
            }
            prop_assert!(cache.len() <= entries && cache.bytes() <= bytes);
            prop_assert_eq!(cache.queue.len(), cache.len());
            let sum: usize = cache.entries.iter().map(|(k, e)| cost(k, &e.response)).sum();
            prop_assert_eq!(sum, cache.bytes());
        }
    }
}
