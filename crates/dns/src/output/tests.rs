//! The promise that drains rely on, with real threads.

use waymark_catalog::Writer;
use waymark_model::{AppEntry, AppId};

use super::*;
use crate::answer::{Answerer, Transport};
use crate::fixtures::*;

/// A query for the A records of `web-shop.marathon.mesos`.
const QUERY: &[u8] = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x08web-shop\x08marathon\x05mesos\0\0\x01\0\x01";

fn shop(tasks: &[&str]) -> (AppId, Option<AppEntry>) {
    let entry = app("/shop/web", tasks.iter().map(|id| task(id, "10.0.0.4")));
    (entry.id.clone(), Some(entry))
}

/// Waits on a thread of its own for `dns` to follow a writer.
fn following(dns: &Arc<Dns>, reader: Reader) -> std::thread::JoinHandle<()> {
    let dns = dns.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || runtime.block_on(dns.follow(reader)))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn follows_the_catalog() {
    let (mut writer, reader) = Writer::new(41);
    let dns = Arc::new(Dns::new(config()).unwrap());
    let name = "web-shop.marathon.mesos";
    assert_eq!((dns.applied(), dns.lookup(name)), (0, Lookup::NotReady));
    let follower = following(&dns, reader);
    assert_eq!(writer.publish([shop(&["a"])]), 42);
    wait_until("42", || dns.applied() == 42);
    assert!(matches!(dns.lookup(name), Lookup::Found { .. }));
    writer.publish([(id("/shop/web"), None)]);
    wait_until("43", || dns.applied() == 43);
    assert_eq!(dns.lookup(name), Lookup::Missing);
    // Nothing published is nothing changed: the names stay when the writer goes.
    writer.publish([shop(&["a"])]);
    drop(writer);
    follower.join().unwrap();
    assert_eq!(dns.applied(), 44);
    assert!(matches!(dns.lookup(name), Lookup::Found { .. }));
}

/// Tasks that are there at the start may have been told by a process before; later ones not.
#[test]
fn the_first_tasks_may_be_leased() {
    let (mut writer, reader) = Writer::new(0);
    let started = Instant::now();
    let dns = Arc::new(Dns::new(DnsConfig { leased_at_start: true, ..config() }).unwrap());
    let follower = following(&dns, reader);
    let mut first = app("/shop/web", ["a", "sick"].map(|id| task(id, "10.0.0.4")));
    let sick = Arc::make_mut(&mut first.tasks[1]);
    sick.readiness = waymark_model::Readiness::HealthUnknown;
    let sick = sick.id.clone();
    writer.publish([(first.id.clone(), Some(first))]);
    wait_until("1", || dns.applied() == 1);
    assert!(dns.in_use(&sick).lease_until.unwrap() >= started + Duration::from_secs(5));
    let until = dns.in_use(&TaskId::from_text("a")).lease_until.unwrap();
    assert!(until >= started + Duration::from_secs(5));
    writer.publish([shop(&["a", "b"])]);
    wait_until("2", || dns.applied() == 2);
    assert_eq!(dns.in_use(&TaskId::from_text("b")), InUse::default());
    assert_eq!(dns.in_use(&TaskId::from_text("a")).lease_until, Some(until));
    drop(writer);
    follower.join().unwrap();
}

/// A worker that holds the zone holds up what counts as applied, however long it takes.
#[test]
fn applied_waits_for_answers_in_the_making() {
    let (mut writer, reader) = Writer::new(0);
    let dns = Arc::new(Dns::new(config()).unwrap());
    let follower = following(&dns, reader);
    writer.publish([shop(&["a"])]);
    wait_until("1", || dns.applied() == 1);

    let zone = dns.zone();
    assert_eq!(zone.version(), 1);
    writer.publish([shop(&["b"])]);
    wait_until("2 is published", || dns.zone().version() == 2);
    // The answer is made late, from the old zone, and its lease is still seen in time.
    assert_eq!(dns.applied(), 1);
    let mut out = Vec::new();
    let now = dns.moment(Instant::now());
    Answerer::new(1).answer(&zone, QUERY, Transport::Udp, HOST, now, &mut out).unwrap();
    assert_eq!(dns.applied(), 1);
    drop(zone);
    wait_until("2", || dns.applied() == 2);
    assert!(dns.in_use(&TaskId::from_text("a")).lease_until.unwrap() > Instant::now());
    assert_eq!(dns.in_use(&TaskId::from_text("b")), InUse::default());
    drop(writer);
    follower.join().unwrap();
}

/// Secondaries may have handed out what nobody asked us for.
#[test]
fn what_secondaries_have_is_leased_when_it_goes() {
    for secondaries in [false, true] {
        let mut config = config();
        if secondaries {
            config.transfer.allow = crate::access::AccessList::everybody();
        }
        let (mut writer, reader) = Writer::new(0);
        let dns = Arc::new(Dns::new(config).unwrap());
        let follower = following(&dns, reader);
        writer.publish([shop(&["a"])]);
        wait_until("named", || dns.applied() == 1);
        let start = Instant::now();
        writer.publish([shop(&[])]);
        wait_until("gone", || dns.applied() == 2);
        let lease = dns.in_use(&TaskId::from_text("a")).lease_until;
        let ttl = Duration::from_secs(5 + u64::from(transfer::LAG));
        assert_eq!(lease.is_some_and(|until| until > start + ttl), secondaries);
        assert_eq!(lease.is_some(), secondaries);
        drop(writer);
        follower.join().unwrap();
    }
}

/// While threads answer all the time: no answer from a zone older than what is applied, and no
/// lease that grows after its task is gone.
#[test]
fn no_answer_is_older_than_what_is_applied() {
    let (mut writer, reader) = Writer::new(0);
    let dns = Arc::new(Dns::new(config()).unwrap());
    let follower = following(&dns, reader);
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..2)
        .map(|seed| {
            let (dns, stop, answers) = (dns.clone(), stop.clone(), answers.clone());
            std::thread::spawn(move || {
                let (mut answerer, mut out) = (Answerer::new(seed), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..16 {
                        let zone = dns.zone();
                        let now = dns.moment(Instant::now());
                        answerer.answer(&zone, QUERY, Transport::Udp, HOST, now, &mut out);
                        assert!(dns.applied() <= zone.version());
                    }
                    answers.fetch_add(16, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    for round in 0..500 {
        let name = format!("t{round}");
        let named = writer.publish([shop(&[&name])]);
        wait_until("named", || dns.applied() >= named);
        let task = TaskId::from_text(&name);
        wait_until("leased", || dns.in_use(&task).lease_until.is_some());
        let gone = writer.publish([shop(&[])]);
        wait_until("gone", || dns.applied() >= gone);
        let lease = dns.in_use(&task).lease_until;
        assert!(lease.is_some());
        // Long enough for what was under way to show.
        let made = answers.load(Ordering::Relaxed);
        wait_until("more answers", || answers.load(Ordering::Relaxed) > made + 64);
        assert_eq!(dns.in_use(&task).lease_until, lease);
    }
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    drop(writer);
    follower.join().unwrap();
}

#[test]
fn staleness_shows_within_a_moment() {
    let freshness = waymark_catalog::Freshness::default();
    let config = DnsConfig { freshness: Some(freshness.clone()), ..config() };
    let dns = Dns::new(config).unwrap();
    let is_stale = || dns.here(&dns.zone()).is_stale;
    assert!(!is_stale(), "silent is not stale");
    freshness.heard(Instant::now());
    freshness.lost("gone");
    wait_until("stale", is_stale);
    freshness.heard(Instant::now());
    wait_until("fresh", || !is_stale());
    assert!(!Dns::new(crate::fixtures::config()).unwrap().here(&dns.zone()).is_stale);
}
