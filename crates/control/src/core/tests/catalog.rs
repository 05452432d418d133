use super::*;

use waymark_model::{Container, ContainerKind, Network, NetworkMode, Opaque, PortMapping, Task};

use super::super::entry::pair;

/// `"http:80 :0 admin:0"`: names and numbers of mappings.
fn mapped(text: &str) -> App {
    let mapping = |word: &str| {
        let (name, number) = word.split_once(':').unwrap();
        PortMapping {
            container_port: number.parse().unwrap(),
            host_port: Some(0),
            name: (!name.is_empty()).then(|| name.to_owned()),
            ..PortMapping::default()
        }
    };
    let mut app = App::new(id("/a"));
    app.networks =
        vec![Network { mode: NetworkMode::Bridge, name: None, labels: Default::default() }];
    app.container = Some(Container {
        kind: ContainerKind::Mesos,
        docker: None,
        volumes: Vec::new(),
        port_mappings: text.split_whitespace().map(mapping).collect(),
        opaque: Opaque::new(),
    });
    app
}

#[test]
fn ports_are_paired_by_what_they_are() {
    for (task, app, want) in [
        ("a:1 b:2", "a:1 b:2", "0-0 1-1"),
        ("a:1 b:2", "new:9 a:1 b:2", "0-1 1-2"),
        ("a:1 b:2", "b:2 a:1", "1-0 0-1"),
        ("a:1 b:2", "b:2", "1-0"),
        (":80 :81", ":81 :80", "1-0 0-1"),
        (":80 :81", ":70 :80 :81", "0-1 1-2"),
        // Renamed, renumbered: the same place in an equally long list.
        ("a:1 b:2", "a:1 c:2", "0-0 1-1"),
        ("a:1 b:2", "a:7 b:8", "0-0 1-1"),
        (":0 :0", ":0 :0", "0-0 1-1"),
        (":0", "a:0", "0-0"),
        // Nobody can tell.
        (":0 :0", ":0 :0 :0", ""),
        ("a:1", "b:1 c:1", ""),
        ("", "a:1", ""),
    ] {
        let (task_app, app_app) = (mapped(task), mapped(app));
        let pairs: Vec<String> = pair(&task_app.ports(), &app_app.ports())
            .into_iter()
            .map(|(t, a)| format!("{t}-{a}"))
            .collect();
        assert_eq!(pairs.join(" "), want, "{task:?} {app:?}");
    }
}

fn named(app: App, names: &[&str]) -> App {
    let mut app = app;
    for (port, name) in app.port_definitions.iter_mut().zip(names) {
        port.name = Some((*name).to_owned());
    }
    app
}

#[test]
fn an_inserted_port_moves_nobody_elses_traffic() {
    let mut bench = Bench::new();
    bench.put(named(app("/a", 1, &[0, 0]), &["http", "admin"]));
    let old = bench.run_all("/a").remove(0);
    let ports = bench.core.state().task(&old).unwrap().host_ports.clone();
    bench.put(named(app("/a", 1, &[0, 0, 0]), &["new", "http", "admin"]));
    let entry = entry(bench.core.state(), &id("/a")).unwrap();
    let names: Vec<_> = entry.services.iter().map(|s| s.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["new", "http", "admin"]);
    let task = &entry.tasks[0];
    let at: Vec<_> = task.endpoints.iter().map(|e| (e.service, Some(e.address.port()))).collect();
    assert_eq!(at, [(1, ports[0]), (2, ports[1])]);
}

#[test]
fn entries() {
    let mut bench = Bench::new();
    let both = waymark_model::Protocol::Both;
    let mut web = named(app("/shop/web", 2, &[0]), &["http"]);
    web.port_definitions[0].protocol = both;
    web.labels.insert("k".to_owned(), "v".to_owned());
    bench.put(web);
    let tasks = bench.tasks("/shop/web");
    let empty = entry(bench.core.state(), &id("/shop/web")).unwrap();
    assert!(empty.tasks.is_empty(), "nothing runs yet");
    assert_eq!(empty.services[0].port, 10_000);
    bench.status(&tasks[0], TaskState::Running);
    let one = entry(bench.core.state(), &id("/shop/web")).unwrap();
    assert_eq!((&*one.framework, &one.labels["k"][..]), ("marathon", "v"));
    let task = &one.tasks[0];
    assert_eq!((&task.id, task.readiness), (&tasks[0], Readiness::Ready));
    let discovery: Vec<_> =
        task.discovery.iter().map(|d| (d.number, d.name.as_deref(), d.protocol)).collect();
    let port = task.host_ports[0];
    assert_eq!(discovery, [(port, Some("http"), "udp"), (port, Some("http"), "tcp")]);

    // Draining tasks stay until they are gone, also those of an app that is gone.
    let change = Change { apps: [(id("/shop/web"), None)].into(), ..Change::default() };
    bench.change(change, true).unwrap();
    let last = entry(bench.core.state(), &id("/shop/web")).unwrap();
    assert!(last.services.is_empty() && last.tasks[0].endpoints.is_empty());
    assert_eq!(last.tasks[0].readiness, Readiness::Draining);
    bench.handle(Input::Drained(tasks[0].clone()));
    let killed = entry(bench.core.state(), &id("/shop/web")).unwrap();
    assert_eq!(killed.tasks[0].readiness, Readiness::Draining);
    bench.status(&tasks[0], TaskState::Killed);
    assert_eq!(entry(bench.core.state(), &id("/shop/web")), None);
}

#[test]
fn a_task_without_host_port_answers_at_its_own_address() {
    let mut bench = Bench::new();
    let mut web = mapped("http:8080");
    web.networks[0].mode = NetworkMode::Container;
    web.container.as_mut().unwrap().port_mappings[0].host_port = None;
    bench.put(web);
    let task = bench.run_all("/a").remove(0);
    let known = entry(bench.core.state(), &id("/a")).unwrap();
    assert!(known.tasks[0].endpoints.is_empty(), "no address is known");
    assert_eq!(known.tasks[0].discovery[0].number, 8080);
    let old = bench.core.state().task(&task).unwrap();
    let addressed = Task { addresses: vec![[10, 0, 0, 7].into()], ..Task::clone(old) };
    let tasks = bench.core.state.tasks.get_mut(&id("/a")).unwrap();
    tasks.insert(task, Arc::new(addressed));
    let known = entry(bench.core.state(), &id("/a")).unwrap();
    assert_eq!(known.tasks[0].endpoints[0].address.to_string(), "10.0.0.7:8080");
}
