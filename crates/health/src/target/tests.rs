use std::collections::BTreeMap;
use std::sync::Arc;

use waymark_model::{
    Agent, App, Container, ContainerKind, HealthResult, Network, Opaque, PathId, PortDefinition,
    PortMapping, TaskState, Timestamp,
};

use super::*;

fn check(protocol: CheckProtocol, port: Option<PortReference>) -> HealthCheck {
    HealthCheck { protocol, port, command: Some("true".to_owned()), ..HealthCheck::default() }
}

fn app(checks: Vec<HealthCheck>) -> App {
    App { health_checks: checks, ..App::new(PathId::parse("/a").unwrap()) }
}

fn in_network(mode: NetworkMode, mappings: Vec<PortMapping>, app: App) -> App {
    App {
        networks: vec![Network { mode, name: None, labels: BTreeMap::new() }],
        container: Some(Container {
            kind: ContainerKind::Mesos,
            docker: None,
            volumes: Vec::new(),
            port_mappings: mappings,
            opaque: Opaque::new(),
        }),
        ..app
    }
}

fn task(app: App, host_ports: &[Option<u16>], addresses: &[&str]) -> Task {
    Task {
        id: TaskId::from_text("a.instance-1._app.1"),
        health: vec![None; app.health_checks.len()],
        ready: app.readiness_checks.is_empty(),
        app: Arc::new(app),
        agent: Arc::new(Agent {
            id: "x-S0".to_owned(),
            hostname: "box".to_owned(),
            address: "192.0.2.7".parse().unwrap(),
        }),
        state: TaskState::Running,
        host_ports: host_ports.to_vec(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        staged_at: Timestamp(1),
        started_at: Some(Timestamp(2)),
        draining_since: None,
    }
}

/// The probe's kind as one short text.
fn shown(kind: &ProbeKind) -> String {
    match kind {
        ProbeKind::Http { addr, path, host } => format!("http {addr} {host} {path}"),
        ProbeKind::Https { addr, path, host } => format!("https {addr} {host} {path}"),
        ProbeKind::Tcp { addr } => format!("tcp {addr}"),
        ProbeKind::Command { command } => format!("sh {command}"),
        ProbeKind::Unresolved { cause } => cause.clone(),
    }
}

fn kind(task: &Task) -> String {
    shown(&target(task).probes[0].kind)
}

#[test]
fn host_mode() {
    use CheckProtocol::*;
    use PortReference::*;
    for (protocol, port, want) in [
        (Http, None, "http 192.0.2.7:31000 box:31000 /"),
        (Https, Some(Index(1)), "https 192.0.2.7:31001 box:31001 /"),
        (Tcp, Some(Index(1)), "tcp 192.0.2.7:31001"),
        (Tcp, Some(Number(22)), "tcp 192.0.2.7:22"),
        (MesosTcp, Some(Index(0)), "tcp 192.0.2.7:31000"),
        (MesosHttp, Some(Number(81)), "http 192.0.2.7:81 box:81 /"),
        (MesosHttps, None, "https 192.0.2.7:31000 box:31000 /"),
        (Command, None, "sh true"),
        (Http, Some(Index(2)), "the app has no port 2"),
    ] {
        let mut app = app(vec![check(protocol, port)]);
        app.port_definitions = vec![PortDefinition::default(); 2];
        let task = task(app, &[Some(31000), Some(31001)], &[]);
        assert_eq!(kind(&task), want);
    }
}

#[test]
fn container_networks() {
    use CheckProtocol::*;
    use PortReference::*;
    let mapping = |container_port| PortMapping { container_port, ..PortMapping::default() };
    // (network, check, host port, addresses, probe), with container ports 80 and 0.
    type Row<'a> = (NetworkMode, HealthCheck, Option<u16>, &'a [&'a str], &'a str);
    let (bridge, own) = (NetworkMode::Bridge, NetworkMode::Container);
    let ips: &[&str] = &["fd00::2", "10.1.0.2"];
    let table: &[Row] = &[
        (bridge, check(Tcp, None), Some(31000), ips, "tcp 192.0.2.7:31000"),
        (bridge, check(Tcp, Some(Number(80))), Some(31000), ips, "tcp 192.0.2.7:80"),
        (bridge, check(MesosTcp, Some(Number(80))), Some(31000), ips, "tcp 192.0.2.7:31000"),
        (bridge, check(MesosTcp, Some(Number(81))), Some(31000), ips, "tcp 10.1.0.2:81"),
        (own, check(Tcp, None), Some(31000), ips, "tcp 192.0.2.7:31000"),
        (own, check(Http, None), None, ips, "http 10.1.0.2:80 10.1.0.2:80 /"),
        (own, check(Tcp, Some(Number(9))), None, ips, "tcp 10.1.0.2:9"),
        (own, check(Tcp, Some(Number(9))), None, &[], "tcp 192.0.2.7:9"),
        (own, check(Tcp, None), None, &["fd00::2"], "tcp [fd00::2]:80"),
        (own, check(Tcp, None), None, &[], "the task has no address of its own"),
        (own, check(Tcp, Some(Index(1))), None, ips, "port 1 of the task has no number"),
    ];
    for (mode, check, host_port, addresses, want) in table {
        let app = in_network(*mode, vec![mapping(80), mapping(0)], app(vec![check.clone()]));
        let task = task(app, &[*host_port, None], addresses);
        assert_eq!(kind(&task), *want, "{mode:?} {check:?}");
    }
    let six = HealthCheck { ipv6: true, ..check(MesosTcp, None) };
    let app = in_network(own, vec![mapping(80)], app(vec![six]));
    assert_eq!(kind(&task(app, &[None], ips)), "tcp [fd00::2]:80");
}

#[test]
fn oddities() {
    assert_eq!(kind(&task(app(vec![HealthCheck::default()]), &[], &[])), "the app has no port 0");
    let silent = HealthCheck { command: None, ..check(CheckProtocol::Command, None) };
    assert_eq!(kind(&task(app(vec![silent]), &[], &[])), "the check has no command");
    let path = HealthCheck { path: Some("up?x=1".to_owned()), ..HealthCheck::default() };
    let mut app = app(vec![path]);
    app.port_definitions = vec![PortDefinition::default()];
    assert_eq!(kind(&task(app, &[Some(5)], &[])), "http 192.0.2.7:5 box:5 /up?x=1");
}

#[test]
fn what_is_known_already() {
    let mut app = app(vec![check(CheckProtocol::Command, None); 3]);
    app.port_definitions =
        vec![PortDefinition { name: Some("http-api".to_owned()), ..PortDefinition::default() }];
    let readiness = |port_name: &str| ReadinessCheck {
        name: "readinessCheck".to_owned(),
        https: true,
        path: "/ready".to_owned(),
        port_name: port_name.to_owned(),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        ready_codes: vec![200, 204],
        preserve_last_response: false,
    };
    app.readiness_checks = vec![readiness("http-api"), readiness("admin")];
    let mut task = task(app, &[Some(5)], &[]);
    task.health[1] = Some(HealthResult::default());
    task.health[2] =
        Some(HealthResult { first_success: Some(Timestamp(5)), ..HealthResult::default() });
    let Target { probes, .. } = target(&task);
    assert_eq!(
        probes.iter().map(|p| p.succeeded).collect::<Vec<_>>(),
        [false, false, true, false, false]
    );
    assert_eq!(probes[3].check, CheckId::Readiness(0));
    assert_eq!(probes[3].expect, Expectation::Codes(vec![200, 204]));
    assert_eq!(shown(&probes[3].kind), "https 192.0.2.7:5 box:5 /ready");
    assert_eq!(shown(&probes[4].kind), "the app has no port named admin");
    task.ready = true;
    assert_eq!(target(&task).probes.len(), 3);
}
