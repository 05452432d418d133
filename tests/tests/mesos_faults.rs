//! A master whose answers are broken, slow, endless or absurd never empties the zone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a story fails by panicking"
)]

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use waymark_stories::{
    Behaviour, Framework, MASTER_PORT, MasterProxy, Mesos, MesosDns, MesosTask, eventually,
};

fn ip(text: impl ToString) -> IpAddr {
    text.to_string().parse().unwrap()
}

struct Scene {
    _mesos: Mesos,
    marathon: Framework,
    proxy: MasterProxy,
    dns: MesosDns,
    agent: IpAddr,
}

fn scene(settings: Value) -> Scene {
    let mesos = Mesos::start(1);
    let master = format!("{}:{MASTER_PORT}", mesos.master_address(0)).parse().unwrap();
    let proxy = MasterProxy::start(master, Behaviour::Pass);
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web"));
    let mut all = json!({"masters": [proxy.address.to_string()], "refreshSeconds": 1,
                         "stateTimeoutSeconds": 2});
    settings.as_object().unwrap().iter().for_each(|(k, v)| all[k] = v.clone());
    let dns = MesosDns::start(&mesos, all);
    let agent = ip(mesos.agent_address(0));
    dns.wait_for("web.marathon.mesos", &[agent]);
    Scene { _mesos: mesos, marathon, proxy, dns, agent }
}

/// Every fault: the names that were there stay all the time, the age is told, and when the fault is
/// over what changed meanwhile is there.
fn assert_outlived(scene: &Scene, faults: Vec<Behaviour>) {
    let watch = scene.dns.watch("web.marathon.mesos", &[scene.agent]);
    for (n, fault) in faults.into_iter().enumerate() {
        let name = format!("during{n}");
        scene.proxy.behave(fault.clone());
        scene.marathon.run(MesosTask::new(&name).shared());
        if fault != Behaviour::Close {
            eventually("it asks again and again", || (scene.proxy.requests() > 1).then_some(()));
        }
        eventually(&format!("the age is told after {fault:?}"), || {
            let version = scene.dns.get("/v1/version").json();
            let told = version["Source"] == "stale" && version["SourceTrouble"] != "";
            told.then_some(())
        });
        scene.dns.wait_for(&format!("{name}.marathon.mesos"), &[]);
        scene.proxy.behave(Behaviour::Pass);
        scene.dns.wait_for(&format!("{name}.marathon.mesos"), &[scene.agent]);
    }
    watch.assert_flawless();
}

fn say(status: u16, body: &str) -> Behaviour {
    Behaviour::Say(status, body.to_owned())
}

#[test]
fn faults_in_the_stream_are_outlived() {
    let scene = scene(json!({}));
    let faults = vec![
        Behaviour::Close,
        Behaviour::Cut(20),
        Behaviour::Cut(700),
        Behaviour::Hang,
        Behaviour::Circle,
        say(401, ""),
        say(503, ""),
        say(200, "20\n{\"type\":\"HEARTBEAT\"}"),
        say(200, "99999999999999999999\n"),
    ];
    assert_outlived(&scene, faults);
    eventually("it streams again", || {
        (scene.dns.get("/v1/version").json()["SourceMode"] == "stream").then_some(())
    });
}

#[test]
fn faults_in_polled_answers_are_outlived() {
    let faults = vec![
        Behaviour::Cut(700),
        Behaviour::Slow(Duration::from_secs(3)),
        Behaviour::Hang,
        Behaviour::Circle,
        say(500, "{\"frameworks\":[],\"slaves\":[]}"),
        say(200, ""),
        say(200, "null"),
        say(200, "{}"),
        say(200, "{\"frameworks\":7,\"slaves\":[{}]}"),
        say(200, "<html>maintenance</html>"),
        say(200, "{\"leader\":\"master@127.0.0.1:5050\",\"frameworks\":[],\"slaves\":[]"),
        say(200, &"[".repeat(100_000)),
    ];
    assert_outlived(&scene(json!({"subscribe": false})), faults);
}
