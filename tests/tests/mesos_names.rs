//! `waymark mesos-dns` gives names to what runs on a real Mesos.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};
use waymark_stories::{
    Behaviour, MASTER_PORT, MasterProxy, Mesos, MesosDns, MesosTask, eventually,
};

fn ip(text: impl ToString) -> IpAddr {
    text.to_string().parse().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What the plain names of running tasks must be by the state document: those under the framework,
/// with the tasks' own addresses or else the agents', and those under `slave`.
fn names_by(state: &Value) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let agents: BTreeMap<&str, IpAddr> = list(&state["slaves"])
        .iter()
        .map(|a| {
            let pid = a["pid"].as_str().unwrap();
            let host = pid.split('@').nth(1).unwrap().rsplit_once(':').unwrap().0;
            (a["id"].as_str().unwrap(), ip(host))
        })
        .collect();
    let mut names: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for framework in list(&state["frameworks"]) {
        let under = framework["name"].as_str().unwrap();
        for task in list(&framework["tasks"]) {
            let Some(agent) = agents.get(task["slave_id"].as_str().unwrap()) else { continue };
            if task["state"] != "TASK_RUNNING" {
                continue;
            }
            let mut latest_first = list(&task["statuses"]).iter().rev();
            let latest = latest_first.find(|s| s["state"] == "TASK_RUNNING").unwrap();
            let mut own: Vec<IpAddr> = list(&latest["container_status"]["network_infos"])
                .iter()
                .flat_map(|n| list(&n["ip_addresses"]))
                .map(|a| ip(a["ip_address"].as_str().unwrap()))
                .collect();
            if own.is_empty() {
                own.push(*agent);
            }
            let name = task["discovery"]["name"].as_str().or(task["name"].as_str()).unwrap();
            names.entry(format!("{name}.{under}.mesos")).or_default().extend(own);
            names.entry(format!("{name}.{under}.slave.mesos")).or_default().insert(*agent);
        }
    }
    names
}

fn assert_names(dns: &MesosDns, state: &Value) {
    let names = names_by(state);
    assert!(!names.is_empty());
    for (name, addresses) in names {
        for (kind, v6) in [("A", false), ("AAAA", true)] {
            let wanted: Vec<IpAddr> =
                addresses.iter().filter(|a| a.is_ipv6() == v6).copied().collect();
            let answer = dns.dig(&name, kind);
            assert_eq!(answer.rcode, "NOERROR", "{name} {kind}");
            assert_eq!(answer.addresses, wanted, "{name} {kind}");
        }
    }
}

/// A task with a discovery name and two named ports.
fn site() -> MesosTask {
    let ports = json!({"ports": [
        {"number": 31000, "name": "http", "protocol": "tcp"},
        {"number": 31001, "name": "stats", "protocol": "udp"},
    ]});
    MesosTask::new("web")
        .port(31000)
        .port(31001)
        .discovery(json!({"visibility": "EXTERNAL", "name": "site.shop", "ports": ports}))
}

#[test]
fn tasks_frameworks_agents_and_masters_have_their_names() {
    let mut mesos = Mesos::start(2);
    let marathon = mesos.framework("marathon");
    let chronos = mesos.framework("chronos.prod");
    marathon.run(site().on(0));
    let dns = MesosDns::start(&mesos, json!({}));
    let second = marathon.run(site().on(1));
    marathon.run(MesosTask::new("net").networks(&["10.1.2.3", "10.1.2.4", "fd00::7"]).on(0));
    marathon.run(MesosTask::new("pod").pod().on(1));
    chronos.run(MesosTask::new("job").port(31500).on(1));
    let last = chronos.run(MesosTask::new("last").on(0));

    let (agent0, agent1) = (ip(mesos.agent_address(0)), ip(mesos.agent_address(1)));
    dns.wait_for("last.chronos.prod.mesos", &[agent0]);
    assert_names(&dns, &mesos.state_json());
    dns.wait_for("site.shop.marathon.mesos", &[agent0, agent1]);
    dns.wait_for("net.marathon.mesos", &[ip("fd00::7")]);

    let ports = |name: &str| -> Vec<u16> {
        dns.dig(name, "SRV").services.iter().map(|(_, port)| *port).collect()
    };
    assert_eq!(ports("_http._site-shop._tcp.marathon.mesos"), [31000, 31000]);
    assert_eq!(ports("_stats._site-shop._udp.marathon.mesos"), [31001, 31001]);
    assert_eq!(ports("_site-shop._tcp.marathon.slave.mesos").len(), 4);
    assert_eq!(ports("_job._tcp.chronos.prod.mesos"), [31500]);
    for (target, _) in dns.dig("_http._site-shop._tcp.marathon.mesos", "SRV").services {
        assert_eq!(dns.dig(&target, "A").addresses.len(), 1, "{target}");
    }

    dns.wait_for("marathon.mesos", &[ip("127.0.0.1")]);
    dns.wait_for("slave.mesos", &[agent0, agent1]);
    dns.wait_for("master.mesos", &[ip(mesos.master_address(0))]);
    assert_eq!(ports("_leader._tcp.mesos"), [MASTER_PORT]);

    marathon.kill(&second);
    dns.wait_for("site.shop.marathon.mesos", &[agent0]);
    chronos.kill(&last);
    dns.wait_for("last.chronos.prod.mesos", &[]);
    marathon.wait_for(&second, "TASK_KILLED");
    chronos.wait_for(&last, "TASK_KILLED");
    assert_names(&dns, &mesos.state_json());
}

#[test]
fn names_go_with_their_agent() {
    let mut mesos = Mesos::start(2);
    let marathon = mesos.framework("marathon");
    let lost = marathon.run(MesosTask::new("lost").on(1));
    let kept = marathon.run(MesosTask::new("kept").on(0));
    let dns = MesosDns::start(&mesos, json!({}));
    let (agent0, agent1) = (ip(mesos.agent_address(0)), ip(mesos.agent_address(1)));
    dns.wait_for("lost.marathon.mesos", &[agent1]);
    dns.wait_for("slave.mesos", &[agent0, agent1]);
    let watch = dns.watch("kept.marathon.mesos", &[agent0]);
    mesos.kill_agent(1);
    dns.wait_for("lost.marathon.mesos", &[]);
    dns.wait_for("slave.mesos", &[agent0]);
    marathon.wait_for(&lost, "TASK_UNREACHABLE");
    mesos.start_agent(1);
    dns.wait_for("slave.mesos", &[agent0, agent1]);
    marathon.run(MesosTask::new("lost").on(1));
    dns.wait_for("lost.marathon.mesos", &[agent1]);
    watch.assert_flawless();
    marathon.kill(&kept);
    dns.wait_for("kept.marathon.mesos", &[]);
}

/// All names and records that the HTTP API lists.
fn enumerate(dns: &MesosDns) -> Value {
    let mut axfr = dns.get("/v1/axfr").json();
    // The serial, and the name server's own address, are each server's own.
    axfr.as_object_mut().unwrap().remove("Serial");
    let records = axfr["Records"].as_object_mut().unwrap();
    for of_kind in records.values_mut() {
        of_kind.as_object_mut().unwrap().retain(|name, _| !name.starts_with("ns1."));
        for values in of_kind.as_object_mut().unwrap().values_mut() {
            let mut sorted = list(values).to_vec();
            sorted.sort_by_key(Value::to_string);
            *values = Value::Array(sorted);
        }
    }
    axfr["Records"].clone()
}

#[test]
fn pushed_and_polled_names_are_the_same() {
    let mesos = Mesos::start(2);
    let master = format!("{}:{MASTER_PORT}", mesos.master_address(0)).parse().unwrap();
    let proxy = MasterProxy::start(master, Behaviour::RefuseStream);
    let pushed = MesosDns::start(&mesos, json!({"refreshSeconds": 3600}));
    let polled = MesosDns::start(
        &mesos,
        json!({"masters": [proxy.address.to_string()], "refreshSeconds": 1}),
    );
    let marathon = mesos.framework("marathon");
    let killed = marathon.run(site().on(0));
    marathon.run(site().on(1).port(31002));
    marathon.run(MesosTask::new("net").networks(&["10.1.2.3", "fd00::7"]));
    marathon.run(MesosTask::new("pod").pod());
    let many: Vec<_> =
        (0..30).map(|n| marathon.launch(MesosTask::new(&format!("m{}", n % 7)).shared())).collect();
    many.iter().for_each(|id| drop(marathon.wait_for(id, "TASK_RUNNING")));
    for gone in [&killed, &many[0], &many[1], &many[2]] {
        marathon.kill(gone);
        marathon.wait_for(gone, "TASK_KILLED");
    }
    let other = mesos.framework("other");
    other.run(MesosTask::new("end").shared());
    for dns in [&pushed, &polled] {
        eventually("the last task is known", || {
            (dns.dig("end.other.mesos", "A").rcode == "NOERROR").then_some(())
        });
    }
    assert_eq!(enumerate(&pushed), enumerate(&polled));
    assert!(proxy.requests() > 2, "it polled through the proxy");
    for (dns, mode) in [(&pushed, "stream"), (&polled, "poll")] {
        let version = dns.get("/v1/version").json();
        assert_eq!((&version["Source"], &version["SourceMode"]), (&json!("fresh"), &json!(mode)));
    }
}

#[test]
fn ill_tasks_have_no_names_where_that_is_wanted() {
    let mesos = Mesos::start(1);
    let marathon = mesos.framework("marathon");
    let dns = MesosDns::start(&mesos, json!({"healthAware": true}));
    let sign = mesos.folder().join("well");
    let check = json!({
        "type": "COMMAND", "command": {"value": format!("test -e {}", sign.display())},
        "delay_seconds": 0, "grace_period_seconds": 0, "interval_seconds": 0.2,
        "consecutive_failures": 0,
    });
    let agent = ip(mesos.agent_address(0));
    marathon.run(MesosTask::new("web").member("health_check", check));
    marathon.run(MesosTask::new("plain"));
    dns.wait_for("plain.marathon.mesos", &[agent]);
    assert_eq!(dns.dig("web.marathon.mesos", "A").addresses, Vec::<IpAddr>::new());
    std::fs::write(&sign, "").unwrap();
    dns.wait_for("web.marathon.mesos", &[agent]);
    std::fs::remove_file(&sign).unwrap();
    eventually("the ill task has no address", || {
        dns.dig("web.marathon.mesos", "A").addresses.is_empty().then_some(())
    });
}
