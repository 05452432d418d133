//! Masters, ZooKeeper and everything else go away; the names stay.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use waymark_stories::{Mesos, MesosDns, MesosTask, eventually};

fn ip(text: impl ToString) -> IpAddr {
    text.to_string().parse().unwrap()
}

#[test]
fn names_outlive_the_leading_master() {
    let mut mesos = Mesos::elected(3, 2);
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web").on(0));
    marathon.run(MesosTask::new("net").networks(&["10.1.2.3"]).on(1));
    let by_zookeeper = MesosDns::start(&mesos, json!({"zk": mesos.zookeeper_url()}));
    let by_list = MesosDns::start(&mesos, json!({}));
    let (agent0, agent1) = (ip(mesos.agent_address(0)), ip(mesos.agent_address(1)));
    let both = [&by_zookeeper, &by_list];
    let mut watches = Vec::new();
    for dns in both {
        dns.wait_for("web.marathon.mesos", &[agent0]);
        dns.wait_for("net.marathon.mesos", &[ip("10.1.2.3")]);
        dns.wait_for("slave.mesos", &[agent0, agent1]);
        watches.push(dns.watch("web.marathon.mesos", &[agent0]));
        watches.push(dns.watch("net.marathon.mesos", &[ip("10.1.2.3")]));
    }
    let old = mesos.kill_leader();
    let new = eventually("another master leads", || mesos.leader().filter(|n| *n != old));
    for dns in both {
        dns.wait_for("leader.mesos", &[ip(mesos.master_address(new))]);
    }
    mesos.wait_for_agents(2);
    let later = marathon.run(MesosTask::new("later").on(0));
    for dns in both {
        dns.wait_for("later.marathon.mesos", &[agent0]);
        dns.wait_for("slave.mesos", &[agent0, agent1]);
    }
    marathon.kill(&later);
    for dns in both {
        dns.wait_for("later.marathon.mesos", &[]);
    }
    watches.into_iter().for_each(waymark_stories::NameWatch::assert_flawless);
}

#[test]
fn names_outlive_zookeeper() {
    let mut mesos = Mesos::elected(1, 1);
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web"));
    let dns =
        MesosDns::start(&mesos, json!({"zk": mesos.zookeeper_url(), "zkDetectionTimeout": 1}));
    let agent = ip(mesos.agent_address(0));
    dns.wait_for("web.marathon.mesos", &[agent]);
    let watch = dns.watch("web.marathon.mesos", &[agent]);
    mesos.kill_zookeeper();
    // The masters' sessions end after two seconds; the one that leads then ends itself.
    let stopped = Instant::now();
    eventually("the master gave up", || (!mesos.master_runs(0)).then_some(()));
    while stopped.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(dns.dig("web.marathon.mesos", "A").addresses, [agent]);
    mesos.start_zookeeper();
    mesos.start_master(0);
    mesos.wait_for_agents(1);
    let later = marathon.run(MesosTask::new("later"));
    dns.wait_for("later.marathon.mesos", &[agent]);
    marathon.kill(&later);
    dns.wait_for("later.marathon.mesos", &[]);
    watch.assert_flawless();
}

#[test]
fn the_last_names_are_served_when_everything_is_down() {
    let mut mesos = Mesos::start(1);
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web"));
    let mut dns = MesosDns::start(&mesos, json!({}));
    let agent = ip(mesos.agent_address(0));
    dns.wait_for("web.marathon.mesos", &[agent]);
    dns.wait_until_kept("web");
    let serial = dns.dig("nothing.mesos", "A").serial.unwrap();
    let address = ip(mesos.master_address(0));
    for kill in [true, false] {
        if kill {
            dns.kill_9()
        } else {
            dns.stop()
        }
        if kill {
            mesos.kill_agent(0);
            mesos.kill_master(0);
        }
        dns.start_again();
        dns.wait_for("web.marathon.mesos", &[agent]);
        dns.wait_for("leader.mesos", &[address]);
        dns.wait_for("nothing.marathon.mesos", &[]);
        let now = dns.dig("nothing.mesos", "A").serial.unwrap();
        assert!(now >= serial, "the serial went back from {serial} to {now}");
        let version = dns.get("/v1/version").json();
        assert_eq!(version["Source"], "stale", "{version}");
        assert_ne!(version["SourceTrouble"], "");
        let told = dns.dig("version.mesos", "TXT").texts;
        assert!(told[0].contains("source=stale"), "{told:?}");
        let server = format!("@{}", dns.dns().ip());
        // The answering threads look at the source's age once a second.
        eventually("answers say that they are stale", || {
            let dig = Command::new("dig").args([&server, "web.marathon.mesos"]).output().unwrap();
            let dig = String::from_utf8_lossy(&dig.stdout);
            dig.contains("EDE: 3 (Stale Answer)").then_some(())
        });
    }
    // What comes back is taken over at once, and what is gone goes.
    mesos.start_master(0);
    mesos.start_agent(0);
    mesos.wait_for_agents(1);
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("new"));
    dns.wait_for("new.marathon.mesos", &[agent]);
    dns.wait_for("web.marathon.mesos", &[]);
    assert_eq!(dns.get("/v1/version").json()["Source"], "fresh");
}
