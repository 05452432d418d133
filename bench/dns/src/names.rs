//! The names that everybody serves: `count` apps with one task each on 100 agents, as Waymark's
//! catalog, as a zone file, as a Mesos master's state, and as queries.

use std::fmt::{Result, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use waymark_model::{
    Agent, AppEntry, AppId, DiscoveryPort, PathId, PathIdError, Readiness, TaskEntry, TaskId,
};

const AGENTS: usize = 100;
const FRAMEWORK: &str = "0b8e71c4-67a1-11f0-9d2c-0242ac110002-0000";

/// The name of app `n` as labels under the framework.
fn name(n: usize) -> String {
    format!("service-{n}-group-{}", n / 100)
}

/// A name as the canonical one of its task: as long as the real one, with another hash.
fn canonical(n: usize) -> String {
    format!("{}-x{:04x}-s{}", name(n), n & 0xffff, n % AGENTS)
}

fn port(n: usize) -> u16 {
    10_000 + (n % 50_000) as u16
}

fn agent_address(agent: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, agent as u8)
}

fn task_id(n: usize, round: usize) -> String {
    format!("group-{}_service-{n}.0b8e71c4-67a1-11f0-9d2c-{round:04x}{n:08x}", n / 100)
}

/// The id of app `n`.
pub fn app_id(n: usize) -> std::result::Result<AppId, PathIdError> {
    PathId::parse(&format!("/group-{}/service-{n}", n / 100))
}

/// App `n` in the catalog; `round` changes its task.
pub fn app(n: usize, round: usize) -> std::result::Result<AppEntry, PathIdError> {
    let agent = (n + round) % AGENTS;
    let task = TaskEntry {
        id: TaskId::from_text(&task_id(n, round)),
        agent: Arc::new(Agent {
            id: format!("0b8e71c4-67a1-11f0-9d2c-S{agent}"),
            hostname: agent_address(agent).to_string(),
            address: IpAddr::V4(agent_address(agent)),
        }),
        addresses: Vec::new(),
        host_ports: vec![port(n)],
        discovery: vec![DiscoveryPort {
            number: port(n),
            name: Some("http".to_owned()),
            protocol: "tcp",
        }],
        endpoints: Vec::new(),
        readiness: Readiness::Ready,
    };
    Ok(AppEntry { tasks: vec![Arc::new(task)], ..AppEntry::new(app_id(n)?, "marathon") })
}

/// The zone `mesos` with these names, for servers that read zone files.
pub fn zone_file(count: usize) -> std::result::Result<String, std::fmt::Error> {
    let mut out = String::from(
        "$ORIGIN mesos.\n$TTL 5\n@ SOA ns1 root.ns1 1 60 600 86400 5\n@ NS ns1\nns1 A 127.0.0.1\n",
    );
    for n in 0..count {
        let (name, canonical, address) = (name(n), canonical(n), agent_address(n % AGENTS));
        for suffix in ["marathon", "marathon.slave"] {
            writeln!(out, "{name}.{suffix} A {address}\n{canonical}.{suffix} A {address}")?;
        }
        let value = format!("SRV 0 1 {} {canonical}.marathon", port(n));
        writeln!(out, "_{name}._tcp.marathon {value}\n_http._{name}._tcp.marathon {value}")?;
        for protocol in ["tcp", "udp"] {
            writeln!(out, "_{name}._{protocol}.marathon.slave {value}.slave")?;
        }
    }
    Ok(out)
}

/// `/state` of a Mesos master with these tasks.
pub fn mesos_state(count: usize) -> std::result::Result<String, std::fmt::Error> {
    let mut out = String::from(r#"{"leader":"master@127.0.0.1:5050","slaves":["#);
    for n in 0..AGENTS {
        let address = agent_address(n);
        let comma = if n > 0 { "," } else { "" };
        write!(
            out,
            r#"{comma}{{"id":"0b8e71c4-67a1-11f0-9d2c-S{n}","pid":"slave(1)@{address}:5051","hostname":"{address}"}}"#
        )?;
    }
    write!(
        out,
        r#"],"frameworks":[{{"id":"{FRAMEWORK}","name":"marathon","hostname":"127.0.0.1","pid":"scheduler@127.0.0.1:1","active":true,"tasks":["#
    )?;
    for n in 0..count {
        mesos_task(&mut out, n)?;
    }
    out += "]}]}";
    Ok(out)
}

fn mesos_task(out: &mut String, n: usize) -> Result {
    let comma = if n > 0 { "," } else { "" };
    let (id, port, group, agent) = (task_id(n, 0), port(n), n / 100, n % AGENTS);
    write!(
        out,
        r#"{comma}{{"id":"{id}","name":"service-{n}.group-{group}","framework_id":"{FRAMEWORK}","slave_id":"0b8e71c4-67a1-11f0-9d2c-S{agent}","state":"TASK_RUNNING","statuses":[{{"state":"TASK_RUNNING","timestamp":1.0}}],"resources":{{"ports":"[{port}-{port}]"}},"discovery":{{"visibility":"FRAMEWORK","name":"service-{n}.group-{group}","ports":{{"ports":[{{"number":{port},"name":"http","protocol":"tcp"}}]}}}}}}"#
    )
}

/// The name and type of query number `n` of `count` names: 70 % A and 30 % SRV, in an order in
/// which neighbours in memory are not neighbours in time.
pub fn query(n: usize, count: usize) -> (String, &'static str) {
    let name = name(n * 7919 % count);
    match n % 10 {
        0..7 => (format!("{name}.marathon.mesos"), "A"),
        _ => (format!("_http._{name}._tcp.marathon.mesos"), "SRV"),
    }
}
