use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{PathId, PortDefinition};

fn id(name: &str) -> AppId {
    PathId::parse(name).unwrap()
}

fn app(name: &str, ports: &[u16]) -> App {
    let definition = |port: &u16| PortDefinition { port: *port, ..PortDefinition::default() };
    App { port_definitions: ports.iter().map(definition).collect(), ..App::new(id(name)) }
}

/// A root of apps driven as the control plane does it: assign, then claim.
struct Cluster {
    ports: ServicePorts,
    apps: BTreeMap<AppId, App>,
}

impl Cluster {
    fn new(min: u16, max: u16) -> Cluster {
        Cluster { ports: ServicePorts::new(min, max), apps: BTreeMap::new() }
    }

    fn put(&mut self, name: &str, ports: &[u16]) -> Vec<u16> {
        self.update(&[(name, ports)], &[]).unwrap().remove(0)
    }

    /// One root update: apps put and apps removed.
    fn update(
        &mut self,
        put: &[(&str, &[u16])],
        remove: &[&str],
    ) -> Result<Vec<Vec<u16>>, Exhausted> {
        let mut new: Vec<App> = put.iter().map(|(name, ports)| app(name, ports)).collect();
        let mut updates: Vec<AppUpdate> =
            new.iter_mut().map(|new| (self.apps.get(&new.id), new)).collect();
        self.ports.assign(&mut updates)?;
        for name in remove {
            self.ports.release(&id(name));
            self.apps.remove(&id(name));
        }
        let numbers = new.iter().map(App::service_ports).collect();
        for app in new {
            self.ports.claim(&app.id, &app.service_ports());
            self.apps.insert(app.id.clone(), app);
        }
        Ok(numbers)
    }

    /// What the allocator must know, counted naively.
    fn check(&self) {
        let owned: BTreeSet<(u16, AppId)> = self
            .apps
            .values()
            .flat_map(|a| a.service_ports().into_iter().map(|p| (p, a.id.clone())))
            .collect();
        let used: BTreeSet<(u16, AppId)> =
            self.ports.used().map(|(p, app)| (p, app.clone())).collect();
        assert_eq!(used, owned, "owners");
        let taken: BTreeSet<u16> = owned.iter().map(|(port, _)| *port).collect();
        let free: Vec<u16> = self.ports.range().filter(|p| !taken.contains(p)).collect();
        assert_eq!(self.ports.free.iter().copied().collect::<Vec<_>>(), free, "free");
        assert_eq!(self.ports.free_count(), free.len());
        for app in self.apps.values() {
            let distinct: BTreeSet<u16> = app.service_ports().into_iter().collect();
            assert_eq!(self.ports.of(&app.id), distinct.into_iter().collect::<Vec<_>>());
        }
        assert_eq!(
            self.ports.by_app.len(),
            self.apps.values().filter(|a| !a.service_ports().is_empty()).count()
        );
    }
}

/// Marathon's algorithm as it is written there: over all apps of the old and the new root.
fn marathon(
    range: std::ops::RangeInclusive<u16>,
    old: &BTreeMap<AppId, App>,
    put: &[App],
) -> Option<Vec<Vec<u16>>> {
    let mut used: BTreeSet<u16> = old.values().flat_map(App::service_ports).collect();
    used.extend(put.iter().flat_map(App::service_ports));
    let mut free = range.clone().filter(|p| !used.contains(p)).collect::<Vec<_>>().into_iter();
    put.iter()
        .map(|app| {
            let new = app.service_ports();
            let before = old.get(&app.id).map(App::service_ports).unwrap_or_default();
            let mut reuse: Vec<u16> =
                before.into_iter().filter(|p| range.contains(p) && !new.contains(p)).collect();
            let mut next = || {
                if reuse.is_empty() { free.next() } else { Some(reuse.remove(0)) }
            };
            new.iter().map(|p| if *p == 0 { next() } else { Some(*p) }).collect()
        })
        .collect()
}

#[test]
fn examples_of_marathon() {
    // (range, old ports of the app, ports put, ports assigned)
    type Row<'a> = ((u16, u16), &'a [u16], &'a [u16], &'a [u16]);
    let table: &[Row] = &[
        ((10000, 20000), &[], &[0], &[10000]),
        ((10000, 20000), &[], &[0, 0], &[10000, 10001]),
        ((10000, 20000), &[10000], &[0], &[10000]),
        ((10000, 20000), &[10001, 10000], &[0, 0], &[10001, 10000]),
        ((10000, 20000), &[10000, 10001], &[0, 0, 0], &[10000, 10001, 10002]),
        ((10, 20), &[10, 11], &[10, 0, 11], &[10, 12, 11]),
        ((10000, 20000), &[], &[0, 10000], &[10001, 10000]),
        ((10000, 20000), &[10000, 10001], &[0], &[10000]),
        ((10000, 20000), &[], &[80, 0, 443], &[80, 10000, 443]),
        // An old number outside the range is not reused.
        ((10000, 20000), &[80], &[0], &[10000]),
        ((10000, 20000), &[10000, 10001], &[10001, 10000], &[10001, 10000]),
        ((10000, 20000), &[10000], &[], &[]),
        ((10000, 20000), &[], &[65535, 0, 1], &[65535, 10000, 1]),
    ];
    for ((min, max), old, put, want) in table {
        let mut cluster = Cluster::new(*min, *max);
        cluster.put("/app", old);
        assert_eq!(cluster.put("/app", put), *want, "{old:?} -> {put:?}");
        cluster.check();
    }
}

#[test]
fn all_kinds_of_port_lists_are_filled() {
    let json = [crate::PortMapping::default(), crate::PortMapping::default()];
    let mut new = App {
        container: Some(crate::Container {
            kind: crate::ContainerKind::Mesos,
            docker: None,
            volumes: Vec::new(),
            port_mappings: json.to_vec(),
            opaque: crate::Opaque::new(),
        }),
        ..App::new(id("/app"))
    };
    ServicePorts::new(10000, 20000).assign(&mut [(None, &mut new)]).unwrap();
    assert_eq!(new.service_ports(), [10000, 10001]);
}

#[test]
fn posting_zeros_again_is_no_change() {
    let mut cluster = Cluster::new(10000, 20000);
    cluster.put("/a", &[0, 0]);
    cluster.put("/b", &[0]);
    let before = cluster.apps.clone();
    cluster.put("/a", &[0, 0]);
    cluster.put("/b", &[0]);
    assert_eq!(cluster.apps, before);
}

#[test]
fn numbers_freed_by_an_update_are_handed_out_by_a_later_one() {
    let mut cluster = Cluster::new(10000, 20000);
    cluster.put("/a", &[0, 0]);
    let numbers = cluster.update(&[("/b", &[0])], &["/a"]).unwrap();
    assert_eq!(numbers, [[10002]]);
    assert_eq!(cluster.put("/c", &[0, 0, 0]), [10000, 10001, 10003]);
    // Shrinking frees the dropped number in the same way.
    assert_eq!(cluster.update(&[("/c", &[0]), ("/d", &[0])], &[]).unwrap(), [[10000], [10004]]);
    assert_eq!(cluster.put("/e", &[0]), [10001]);
    cluster.check();
}

#[test]
fn explicit_numbers_of_one_update_block_all_its_apps() {
    let mut cluster = Cluster::new(10000, 20000);
    let numbers = cluster.update(&[("/a", &[0]), ("/b", &[10000, 0])], &[]).unwrap();
    assert_eq!(numbers, [vec![10001], vec![10000, 10002]]);
}

#[test]
fn conflicts_are_told_and_resolved_by_release() {
    let mut cluster = Cluster::new(10000, 20000);
    cluster.put("/blue", &[10000, 80]);
    cluster.put("/green", &[10000, 81]);
    let conflict = |other| vec![Conflict { port: 10000, other: id(other) }];
    assert_eq!(cluster.ports.conflicts(&id("/green"), &[10000, 81, 0]), conflict("/blue"));
    assert_eq!(cluster.ports.conflicts(&id("/blue"), &[10000, 80]), conflict("/green"));
    assert_eq!(cluster.ports.owners(10000).count(), 2);
    // The number stays taken until both have let it go.
    cluster.update(&[], &["/blue"]).unwrap();
    assert_eq!(cluster.put("/c", &[0]), [10001]);
    assert_eq!(cluster.ports.conflicts(&id("/green"), &[10000]), []);
    cluster.update(&[], &["/green"]).unwrap();
    assert_eq!(cluster.put("/d", &[0]), [10000]);
    cluster.check();
}

#[test]
fn conflicts_are_limited() {
    let mut ports = ServicePorts::new(10000, 20000);
    for n in 0..2 * MAX_CONFLICTS {
        ports.claim(&id(&format!("/a{n}")), &[80]);
    }
    assert_eq!(ports.conflicts(&id("/x"), &[80]).len(), MAX_CONFLICTS);
}

#[test]
fn exhaustion_leaves_everything_untouched() {
    let mut cluster = Cluster::new(10000, 10002);
    cluster.put("/a", &[0, 0]);
    let mut b = app("/b", &[0]);
    let mut c = app("/c", &[0]);
    let error = cluster.ports.assign(&mut [(None, &mut b), (None, &mut c)]).unwrap_err();
    assert_eq!(error, Exhausted { min: 10000, max: 10002 });
    assert_eq!(error.to_string(), "All ports in the range [10000-10002) are already in use");
    assert_eq!((b, c), (app("/b", &[0]), app("/c", &[0])));
    cluster.check();
    // One of them fits, and the owner of the others can still be updated.
    assert_eq!(cluster.put("/b", &[0]), [10002]);
    assert_eq!(cluster.put("/a", &[0, 0]), [10000, 10001]);
    assert!(cluster.update(&[("/a", &[0, 0, 0])], &[]).is_err());
    cluster.check();
}

#[test]
fn odd_ranges() {
    assert_eq!(ServicePorts::new(20, 10).free_count(), 0);
    assert_eq!(ServicePorts::new(0, 2).free_count(), 2);
    assert_eq!(ServicePorts::new(65535, 65535).free_count(), 1);
    let mut all = Cluster::new(0, 65535);
    assert_eq!(all.put("/a", &[0]), [1]);
}

/// One random root update. Explicit numbers come from a small set inside and outside the range.
#[derive(Clone, Debug)]
struct Step {
    put: Vec<(u8, Vec<u16>)>,
    remove: Option<u8>,
}

fn steps(apps: u8, length: usize) -> impl Strategy<Value = Vec<Step>> {
    let port = prop_oneof![3 => Just(0u16), 1 => 5u16..40];
    let put = prop::collection::btree_map(0..apps, prop::collection::vec(port, 0..5), 0..4);
    let step = (put, prop::option::of(0..apps)).prop_map(|(put, remove)| Step {
        remove: remove.filter(|r| !put.contains_key(r)),
        put: put.into_iter().collect(),
    });
    prop::collection::vec(step, 1..length)
}

/// Runs one step beside Marathon's algorithm. `named` holds every (app, port) that the app wrote
/// itself; all others were chosen by the allocator.
fn run_step(cluster: &mut Cluster, named: &mut BTreeSet<(u16, AppId)>, step: &Step) {
    let names: Vec<(String, &Vec<u16>)> =
        step.put.iter().map(|(n, ports)| (format!("/app-{n}"), ports)).collect();
    let put: Vec<(&str, &[u16])> = names.iter().map(|(n, p)| (n.as_str(), p.as_slice())).collect();
    let remove: Vec<String> = step.remove.iter().map(|n| format!("/app-{n}")).collect();
    let remove: Vec<&str> = remove.iter().map(String::as_str).collect();

    let model: Vec<App> = put.iter().map(|(name, ports)| app(name, ports)).collect();
    let expected = marathon(cluster.ports.range(), &cluster.apps, &model);
    if expected.is_none() {
        let before = cluster.apps.clone();
        assert!(cluster.update(&put, &remove).is_err());
        assert_eq!(cluster.apps, before);
        return;
    }
    assert_eq!(cluster.update(&put, &remove).ok(), expected);
    for (name, ports) in &put {
        named.extend(ports.iter().filter(|p| **p != 0).map(|p| (*p, id(name))));
        // Posting the same list again yields the same numbers.
        let (current, mut again) = (&cluster.apps[&id(name)], app(name, ports));
        cluster.ports.assign(&mut [(Some(current), &mut again)]).unwrap();
        assert_eq!(&again, current);
    }
    named.retain(|(port, app)| cluster.ports.owners(*port).any(|o| o == app));
}

/// Of several owners of one port, at most one did not name it.
fn check_automatic(cluster: &Cluster, named: &BTreeSet<(u16, AppId)>) {
    let mut automatic = BTreeSet::new();
    for (port, app) in cluster.ports.used() {
        if !named.contains(&(port, app.clone())) {
            assert!(automatic.insert(port), "{port} was chosen for two apps");
        }
    }
}

proptest! {
    #[test]
    fn does_what_marathon_does(steps in steps(8, 40)) {
        let mut cluster = Cluster::new(10, 30);
        let mut named = BTreeSet::new();
        for step in &steps {
            run_step(&mut cluster, &mut named, step);
            cluster.check();
            check_automatic(&cluster, &named);
        }
        for n in 0..8 {
            cluster.update(&[], &[&format!("/app-{n}")]).unwrap();
        }
        cluster.check();
        prop_assert_eq!(cluster.ports.free_count(), 21);
    }
}

/// A generator that needs nothing but a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn step(&mut self) -> Step {
        let remove = (self.below(3) == 0).then(|| self.below(50) as u8);
        let put = (0..self.below(3)).map(|_| self.below(50) as u8).collect::<BTreeSet<_>>();
        let port = |r: &mut Random| if r.below(4) == 0 { 980 + r.below(100) as u16 } else { 0 };
        let mut list = || (0..self.below(5)).map(|_| port(self)).collect::<Vec<_>>();
        let put = put.into_iter().filter(|n| Some(*n) != remove).map(|n| (n, list())).collect();
        Step { put, remove }
    }
}

#[test]
fn nothing_leaks_over_100_000_random_updates() {
    let mut random = Random(20_261_123);
    let mut cluster = Cluster::new(1000, 1063);
    let mut named = BTreeSet::new();
    let mut exhausted = 0;
    for n in 0..100_000 {
        let step = random.step();
        let before = cluster.apps.len();
        run_step(&mut cluster, &mut named, &step);
        exhausted += u32::from(cluster.ports.free_count() == 0);
        assert!(cluster.apps.len() <= before + step.put.len());
        if n % 500 == 0 {
            cluster.check();
            check_automatic(&cluster, &named);
        }
    }
    assert!(exhausted > 100, "the range was never full: {exhausted}");
    let names: Vec<String> = cluster.apps.keys().map(ToString::to_string).collect();
    for name in &names {
        cluster.update(&[], &[name]).unwrap();
    }
    assert_eq!((cluster.ports.used().count(), cluster.ports.free_count()), (0, 64));
    assert!(cluster.ports.by_app.is_empty());
}
