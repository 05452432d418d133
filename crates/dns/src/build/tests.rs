//! The names of a Mesos cluster by Mesos-DNS's rules, and that following changes gives what
//! building anew gives.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use waymark_model::{ClusterTask, Framework, Master, Masters, Readiness, TaskId};

use super::*;
use crate::config::IpSource;
use crate::fixtures::*;
use crate::naming::LabelRule;
use crate::zone::{Data, Lookup, Record, TaskRecords};

fn zone_with(config: DnsConfig, cluster: Cluster) -> Zone {
    let mut builder = Builder::new(&config).unwrap();
    let catalog = Catalog { version: 1, cluster, ..Catalog::default() };
    builder.advance(&Catalog::default(), &catalog, &leases());
    builder.zone().clone()
}

/// No control plane of its own, as beside Mesos's masters.
fn mesos_only() -> DnsConfig {
    DnsConfig { framework: String::new(), ..config() }
}

fn zone(cluster: Cluster) -> Zone {
    zone_with(mesos_only(), cluster)
}

/// What is under a name, as text: addresses, then services.
fn get(zone: &Zone, name: &str) -> Vec<String> {
    match zone.lookup(&format!("{name}.mesos")) {
        Lookup::Found { addresses, services } => {
            let services = services
                .into_iter()
                .map(|(target, port)| format!("{}:{port}", target.strip_suffix(".mesos").unwrap()));
            addresses.iter().map(ToString::to_string).chain(services).collect()
        }
        Lookup::Missing => vec!["missing".to_owned()],
        other => panic!("{name}: {other:?}"),
    }
}

fn web() -> ClusterTask {
    let mut task = cluster_task("web.1", "web.shop", 4);
    task.agent =
        Arc::new(waymark_model::ClusterAgent { id: Arc::from("0b8e-S3"), ..(*agent(4)).clone() });
    task.addresses.netinfo = vec![ip("9.0.0.7"), ip("fd00::7")];
    task.host_ports = vec![31005];
    task.ports = vec![cluster_port(8080, "http", "tcp"), cluster_port(53, "", "")];
    task
}

#[test]
fn tasks_with_discovery() {
    let mut cluster = Cluster::default();
    add_group(&mut cluster, "Prod.Marathon", "Web.shop", true, [web()]);
    let zone = zone(cluster);
    for form in ["web.shop", "web-shop"] {
        let fw = "prod.marathon";
        for name in [form.to_owned(), format!("{form}-e844k-s3")] {
            assert_eq!(get(&zone, &format!("{name}.{fw}")), ["9.0.0.7", "fd00::7"]);
            assert_eq!(get(&zone, &format!("{name}.{fw}.slave")), ["10.0.0.4"]);
        }
        let own = |port: u16| format!("{form}-e844k-s3.{fw}:{port}");
        assert_eq!(get(&zone, &format!("_{form}._tcp.{fw}")), [own(53), own(8080)]);
        assert_eq!(get(&zone, &format!("_{form}._udp.{fw}")), [own(53)]);
        assert_eq!(get(&zone, &format!("_http._{form}._tcp.{fw}")), [own(8080)]);
        for protocol in ["tcp", "udp"] {
            let name = format!("_{form}._{protocol}.{fw}.slave");
            assert_eq!(get(&zone, &name), [format!("{form}-e844k-s3.{fw}.slave:31005")]);
        }
    }
    let all = zone.names();
    // Per form: two names each here and under `slave`, three and two services; `slave` with its
    // service, `ns1`.
    assert_eq!(all.len(), 2 * (2 + 2 + 3 + 2) + 2 + 1, "{all:?}");
}

#[test]
fn tasks_without_discovery() {
    let mut task = web();
    task.ports.clear();
    let mut cluster = Cluster::default();
    add_group(&mut cluster, "chronos", "ct:14:0:Weekly Report", false, [task]);
    let zone = zone(cluster);
    let name = "ct140weeklyreport";
    assert_eq!(get(&zone, &format!("{name}.chronos")), ["9.0.0.7", "fd00::7"]);
    for tail in ["chronos", "chronos.slave"] {
        for protocol in ["tcp", "udp"] {
            let found = get(&zone, &format!("_{name}._{protocol}.{tail}"));
            assert_eq!(found, [format!("{name}-e844k-s3.chronos.slave:31005")]);
        }
    }
    assert_eq!(get(&zone, &format!("{name}-e844k-s3.chronos")), ["9.0.0.7", "fd00::7"]);
}

/// What has no address is no name, though services may lead there.
#[test]
fn addresses_come_from_the_first_source_that_has_any() {
    use IpSource::*;
    let mut task = web();
    task.addresses.docker = vec![ip("172.17.0.2")];
    let mut cluster = Cluster::default();
    add_group(&mut cluster, "f", "web", true, [task]);
    let with = |sources: &[IpSource]| {
        let config = DnsConfig { ip_sources: sources.to_vec(), ..mesos_only() };
        let zone = zone_with(config, cluster.clone());
        let found = [get(&zone, "web.f"), get(&zone, "web-e844k-s3.f")];
        assert_eq!(found[0], found[1]);
        assert_eq!(get(&zone, "web.f.slave"), ["10.0.0.4"]);
        assert_eq!(get(&zone, "_http._web._tcp.f"), ["web-e844k-s3.f:8080"]);
        found[0].join(" ")
    };
    assert_eq!(with(&[Mesos, Docker, Netinfo]), "172.17.0.2");
    assert_eq!(with(&[Netinfo, Host]), "9.0.0.7 fd00::7");
    assert_eq!(with(&[Mesos, Host]), "10.0.0.4");
    assert_eq!(with(&[Mesos]), "missing");
}

#[test]
fn which_tasks_are_named() {
    let mut cluster = Cluster::default();
    let all = [
        ("a", Readiness::Ready),
        ("b", Readiness::HealthUnknown),
        ("c", Readiness::Unhealthy),
        ("d", Readiness::Draining),
    ];
    let tasks = all
        .into_iter()
        .zip(1..)
        .map(|((id, readiness), n)| ClusterTask { readiness, ..cluster_task(id, "t", n) });
    add_group(&mut cluster, "f", "t", false, tasks);
    let of = |health_aware| {
        get(&zone_with(DnsConfig { health_aware, ..mesos_only() }, cluster.clone()), "t.f")
    };
    assert_eq!(of(false), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(of(true), ["10.0.0.1"]);
}

#[test]
fn the_stricter_labels() {
    let mut cluster = Cluster::default();
    let long = "9abcdefghij-klmnopqrstuvwxyz";
    add_group(&mut cluster, "f", long, true, [cluster_task("web.1", "x", 3)]);
    let zone =
        zone_with(DnsConfig { label_rule: LabelRule::Rfc952, ..mesos_only() }, cluster.clone());
    assert_eq!(get(&zone, "abcdefghij-klmnopqrstuvw.f"), ["10.0.0.3"]);
    assert_eq!(get(&zone, &format!("{long}.f")), ["10.0.0.3"]);
}

#[test]
fn frameworks_and_agents() {
    let mut cluster = Cluster::default();
    for (id, addresses, port) in [
        ("1", vec![ip("10.0.1.1")], Some(8080)),
        ("2", vec![ip("fd00::1")], None),
        ("3", vec![], Some(1)),
    ] {
        let framework = Framework {
            id: Arc::from(id),
            name: Arc::from(format!("My_Fw.{id}")),
            addresses,
            port,
        };
        cluster.frameworks.insert(framework.id.clone(), Arc::new(framework));
    }
    for n in 1..4 {
        let mut agent = (*agent(n)).clone();
        agent.port += u16::from(n) / 3;
        cluster.agents.insert(agent.id.clone(), Arc::new(agent));
    }
    let zone = zone(cluster);
    assert_eq!(get(&zone, "my-fw.1"), ["10.0.1.1"]);
    assert_eq!(get(&zone, "_framework._tcp.my-fw.1"), ["my-fw.1:8080"]);
    assert_eq!(get(&zone, "my-fw.2"), ["fd00::1"]);
    assert_eq!(get(&zone, "_framework._tcp.my-fw.2"), ["missing"]);
    // Only above its service.
    assert!(get(&zone, "my-fw.3").is_empty());
    assert_eq!(get(&zone, "_framework._tcp.my-fw.3"), ["my-fw.3:1"]);
    assert_eq!(get(&zone, "slave"), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(get(&zone, "_slave._tcp"), ["slave:5051", "slave:5052"]);
}

#[test]
fn masters_are_numbered() {
    let master = |n: u8, port| Master { addresses: vec![ip(&format!("10.0.0.{n}"))], port };
    let with = |leader: Option<Master>, all: &[Master]| {
        let masters = Some(Arc::new(Masters { leader, all: all.to_vec() }));
        let zone = zone_with(config(), Cluster { masters, ..Cluster::default() });
        let numbers = (0..5).map(|n| get(&zone, &format!("master{n}")).join("+"));
        let numbers: Vec<String> = numbers.take_while(|found| found != "missing").collect();
        (get(&zone, "leader").join(" "), get(&zone, "master").len(), numbers.join(" "))
    };
    let [a, b, c] = [1, 2, 3].map(|n| master(n, 5050));
    let text = |leader: &str, all, numbers: &str| (leader.to_owned(), all, numbers.to_owned());
    assert_eq!(
        with(Some(b.clone()), &[a.clone(), b.clone(), c.clone()]),
        text("10.0.0.2", 3, "10.0.0.1 10.0.0.2 10.0.0.3")
    );
    // A master on the leader's address takes no number, the leader twice in the list only one.
    assert_eq!(
        with(
            Some(b.clone()),
            &[a.clone(), master(2, 6060), b.clone(), b.clone(), a.clone(), c.clone()]
        ),
        text("10.0.0.2", 3, "10.0.0.1 10.0.0.2 10.0.0.3")
    );
    // A leader that is not in the list comes last.
    assert_eq!(with(Some(c), &[a.clone(), b]), text("10.0.0.3", 3, "10.0.0.1 10.0.0.2 10.0.0.3"));
    assert_eq!(with(None, std::slice::from_ref(&a)), text("missing", 1, "10.0.0.1"));

    let masters = Some(Arc::new(Masters { leader: Some(a.clone()), all: vec![a] }));
    let zone = zone_with(config(), Cluster { masters, ..Cluster::default() });
    assert_eq!(get(&zone, "_leader._tcp"), ["leader:5050"]);
    assert_eq!(get(&zone, "_leader._udp"), ["leader:5050"]);
    // This host is not among them, yet has its own names.
    assert_eq!(get(&zone, "ns1"), [HOST.to_string()]);
    assert_eq!(get(&zone, "marathon"), [HOST.to_string()]);
    assert_eq!(get(&zone_with(config(), Cluster::default()), "leader"), [HOST.to_string()]);
}

/// Texts that leave nothing of a label make Mesos-DNS's names as far as they can be asked for.
#[test]
fn empty_labels() {
    let mut cluster = Cluster::default();
    add_group(&mut cluster, "f", "日本", false, [web()]);
    add_group(&mut cluster, "...", "x", false, [web()]);
    let zone = zone(cluster);
    assert_eq!(get(&zone, "-e844k-s3.f"), ["9.0.0.7", "fd00::7"]);
    assert_eq!(get(&zone, "_._tcp.f.slave"), ["-e844k-s3.f.slave:31005"]);
    assert_eq!(get(&zone, "x"), ["missing"]);
}

/// A task's lease is one over chunks, apps and groups, and ends with the last that names it.
#[test]
fn leases_follow_the_task() {
    let leases = leases();
    let catalog = |version: u64, tasks: u8| {
        let mut cluster = Cluster::default();
        let task = |n: u8| cluster_task(&format!("t{n}"), "t", n);
        add_group(&mut cluster, "f", "t", false, (0..tasks).map(task));
        Catalog { version, cluster, ..Catalog::default() }
    };
    let mut builder = Builder::new(&mesos_only()).unwrap();
    let mut seen = Catalog::default();
    let noted = TaskId::from_text("t2");
    for (n, tasks) in [3, 40, 5, 3].into_iter().enumerate() {
        let next = catalog(n as u64 + 1, tasks);
        let gone = builder.advance(&seen, &next, &leases);
        leases.release(Instant::now(), &gone);
        if n == 0 {
            let until = leases.clock().moment(Instant::now()).lease_end(60);
            let lease = builder
                .zone()
                .slots
                .iter()
                .flat_map(|(_, r)| r.leases())
                .find(|l| *l.task() == noted);
            lease.unwrap().note(until);
        }
        assert_eq!(leases.len(), usize::from(tasks), "{tasks}");
        assert!(leases.until(&noted).unwrap() > Instant::now() + Duration::from_secs(59));
        seen = next;
    }
    let gone = builder.advance(&seen, &Catalog { version: 9, ..Catalog::default() }, &leases);
    leases.release(Instant::now(), &gone);
    assert!(leases.until(&noted).is_some());
    leases.release(Instant::now() + Duration::from_secs(99), &[]);
    assert!(leases.is_empty());
}

/// All records, each once.
fn records(zone: &Zone) -> BTreeSet<Record> {
    let mut all = BTreeSet::new();
    for set in zone.rrsets() {
        assert!(!set.data.is_empty() && set.data.is_sorted());
        for data in set.data {
            let data = match data {
                Data::A(address) => Data::A(address),
                Data::Aaaa(address) => Data::Aaaa(address),
                Data::Srv { port, target } => Data::Srv { port, target: Box::from(target) },
            };
            let record = Record { owner: Box::from(set.owner), ttl: set.ttl, data };
            assert!(all.insert(record));
        }
    }
    all
}

/// What the lists say is what answers say.
#[test]
fn lists() {
    let mut other = cluster_task("web.2", "web.shop", 4);
    other.host_ports = vec![31006];
    let mut cluster = Cluster::default();
    add_group(&mut cluster, "f", "a-b", false, [web(), other.clone()]);
    add_group(&mut cluster, "f", "a.b", true, [web()]);
    let zone = zone(cluster);
    let mut text: Vec<String> = Vec::new();
    for set in zone.rrsets() {
        let name = crate::wire::text(set.owner);
        let found = get(&zone, &name);
        for data in set.data {
            let value = match data {
                Data::A(address) => address.to_string(),
                Data::Aaaa(address) => address.to_string(),
                Data::Srv { port, target } => format!("{}:{port}", crate::wire::text(target)),
            };
            assert!(found.contains(&value), "{name} {value}");
            text.push(format!("{name} {} {value}", data.rtype()));
        }
    }
    let length = text.len();
    text.sort();
    text.dedup();
    assert_eq!(text.len(), length, "nothing twice");

    let tasks: Vec<TaskRecords<'_>> = zone.tasks().collect();
    let heads: Vec<_> = tasks.iter().map(|t| (t.framework, t.name, t.id.as_str())).collect();
    assert_eq!(
        heads,
        [("f", "web.shop", "web.1"), ("f", "web.shop", "web.2"), ("f", "web.shop", "web.1")]
    );
    let of = |n: usize, owner: &str| {
        let records = tasks[n].records.iter();
        records.filter(|(name, _)| crate::wire::text(name) == owner).count()
    };
    // Both are on one agent; the group `a.b` has records of its own only as it is written.
    assert_eq!((of(0, "a-b.f.slave"), of(1, "a-b.f.slave"), of(2, "a-b.f.slave")), (1, 0, 0));
    assert_eq!((of(0, "a-b.f"), of(1, "a-b.f"), of(2, "a-b.f")), (2, 1, 0));
    assert_eq!((of(2, "a.b.f.slave"), of(2, "_http._a-b._tcp.f")), (1, 1));
}

fn any_task() -> impl Strategy<Value = ClusterTask> {
    (0u8..40, 0u8..4, 0u8..8, 0u8..5).prop_map(|(n, agent, bits, readiness)| {
        let mut task = cluster_task(&format!("t{n}"), "x", agent);
        if bits & 1 != 0 {
            task.addresses.netinfo = vec![ip(&format!("9.0.0.{n}"))];
        }
        if bits & 2 != 0 {
            task.host_ports = vec![31000 + u16::from(n)];
        }
        if bits & 4 != 0 {
            task.ports = vec![cluster_port(80, "http", "tcp"), cluster_port(53, "", "")];
        }
        if bits == 5 {
            task.labels.insert(crate::tasks::TTL_LABEL.to_owned(), (n % 3).to_string());
        }
        if readiness == 0 {
            task.readiness = Readiness::Draining;
        }
        task
    })
}

/// A change to the cluster: a group with the tasks it has from now on, or tasks that change in it,
/// a framework's port, an agent, the leader.
#[derive(Clone, Debug)]
enum Step {
    Group(usize, Vec<ClusterTask>),
    Tasks(usize, Vec<(ClusterTask, bool)>),
    Framework(usize, Option<u16>),
    Agent(u8, bool),
    Leader(Option<u8>),
}

/// Groups whose names collide, and one whose framework is called `slave`.
const GROUPS: [(&str, &str, bool); 5] = [
    ("f", "a.b", true),
    ("f", "a-b", false),
    ("g", "b.a", true),
    ("slave", "f", false),
    ("f", "a.b", false),
];

fn any_step() -> impl Strategy<Value = Step> {
    let tasks = || prop::collection::vec(any_task(), 0..30);
    prop_oneof![
        2 => (0..GROUPS.len(), tasks()).prop_map(|(n, tasks)| Step::Group(n, tasks)),
        4 => (0..GROUPS.len(), prop::collection::vec((any_task(), any::<bool>()), 1..4))
            .prop_map(|(n, tasks)| Step::Tasks(n, tasks)),
        1 => (0..GROUPS.len(), prop::option::of(1u16..3)).prop_map(|(n, port)| Step::Framework(n, port)),
        1 => (0u8..6, any::<bool>()).prop_map(|(n, up)| Step::Agent(n, up)),
        1 => prop::option::of(0u8..3).prop_map(Step::Leader),
    ]
}

fn take_step(cluster: &mut Cluster, step: Step) {
    let put = |cluster: &mut Cluster, n: usize, tasks: BTreeMap<TaskId, Arc<ClusterTask>>| {
        let (framework, name, discovered) = GROUPS[n];
        let id = TaskGroupId { framework: Arc::from(framework), name: Arc::from(name), discovered };
        if tasks.is_empty() {
            cluster.groups.remove(&id);
            return;
        }
        let group = TaskGroup {
            framework: id.framework.clone(),
            id: id.clone(),
            tasks: tasks.into_values().collect(),
        };
        cluster.groups.insert(id, Arc::new(group));
    };
    match step {
        Step::Group(n, tasks) => {
            put(
                cluster,
                n,
                tasks.into_iter().map(|task| (task.id.clone(), Arc::new(task))).collect(),
            );
        }
        Step::Tasks(n, changes) => {
            let (framework, name, discovered) = GROUPS[n];
            let id =
                TaskGroupId { framework: Arc::from(framework), name: Arc::from(name), discovered };
            let group = cluster.groups.get(&id).cloned();
            let mut tasks: BTreeMap<TaskId, Arc<ClusterTask>> =
                group.iter().flat_map(|g| &g.tasks).map(|t| (t.id.clone(), t.clone())).collect();
            for (task, stays) in changes {
                match stays {
                    true => tasks.insert(task.id.clone(), Arc::new(task)),
                    false => tasks.remove(&task.id),
                };
            }
            put(cluster, n, tasks);
        }
        Step::Framework(n, port) => {
            let id: Arc<str> = Arc::from(GROUPS[n].0);
            let framework =
                Framework { id: id.clone(), name: id.clone(), addresses: vec![HOST], port };
            match port {
                Some(_) => cluster.frameworks.insert(id, Arc::new(framework)),
                None => cluster.frameworks.remove(&id),
            };
        }
        Step::Agent(n, up) => {
            let agent = agent(n);
            match up {
                true => cluster.agents.insert(agent.id.clone(), agent),
                false => cluster.agents.remove(&agent.id),
            };
        }
        Step::Leader(n) => {
            let master = |n| Master { addresses: vec![ip(&format!("10.0.0.{n}"))], port: 5050 };
            let masters = Masters { leader: n.map(master), all: vec![master(1), master(2)] };
            cluster.masters = Some(Arc::new(masters));
        }
    }
}

proptest! {
    #[test]
    fn following_is_rebuilding(steps in prop::collection::vec(prop::collection::vec(any_step(), 1..4), 1..12)) {
        let leases = leases();
        let mut builder = Builder::new(&config()).unwrap();
        let mut seen = Catalog::default();
        let mut ever = BTreeSet::new();
        for step in steps {
            let mut next = seen.clone();
            next.version += 1;
            step.into_iter().for_each(|step| take_step(&mut next.cluster, step));
            let before = builder.zone().clone();
            let had = records(&before);
            let gone = builder.advance(&seen, &next, &leases);
            leases.release(Instant::now(), &gone);
            let zone = builder.zone();
            let mut has = had.clone();
            let difference = zone.changes_since(&before, usize::MAX).unwrap();
            for record in &difference.removed {
                prop_assert!(has.remove(record), "{:?}", record);
            }
            for record in &difference.added {
                prop_assert!(has.insert(record.clone()), "{:?}", record);
            }
            prop_assert_eq!(&has, &records(zone));
            prop_assert!(records(&before) == had, "a copy stays as it was");
            let size = difference.removed.len() + difference.added.len();
            prop_assert_eq!(zone.changes_since(&before, size), Some(difference));
            prop_assert!(size == 0 || zone.changes_since(&before, size - 1).is_none());
            let fresh = zone_of(&next, &self::leases());
            ever.extend(fresh.names());
            let asked = ever.iter().flat_map(|name| {
                let above = name.match_indices('.').map(|(at, _)| name[at + 1..].to_owned());
                above.chain([name.clone(), format!("x.{name}")])
            });
            for name in asked {
                prop_assert_eq!(zone.lookup(&name), fresh.lookup(&name), "{}", name);
            }
            prop_assert_eq!(&has, &records(&fresh));
            let of_tasks: BTreeSet<_> = zone.tasks().flat_map(|task| task.records)
                .map(|(owner, data)| (owner.to_vec(), format!("{data:?}"))).collect();
            prop_assert_eq!(zone.tasks().map(|task| task.records.len()).sum::<usize>(), of_tasks.len());
            prop_assert_eq!(zone.names(), fresh.names());
            let named: BTreeSet<TaskId> = next.cluster.groups.values().flat_map(|g| &g.tasks)
                .filter(|t| t.readiness != Readiness::Draining).map(|t| t.id.clone()).collect();
            prop_assert_eq!(leases.len(), named.len());
            seen = next;
        }
        let gone = builder.advance(&seen, &Catalog { version: 99, ..Catalog::default() }, &leases);
        leases.release(Instant::now(), &gone);
        prop_assert!(leases.is_empty());
        let empty = zone_of(&Catalog { version: 99, ..Catalog::default() }, &leases);
        prop_assert_eq!(builder.zone().names(), empty.names());
        prop_assert_eq!(builder.zone().len(), empty.len());
    }
}
