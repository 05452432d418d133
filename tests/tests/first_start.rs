//! Someone new starts the examples and sees their apps running, named and load-balanced.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::net::IpAddr;

use serde_json::json;
use waymark_stories::{Waymark, eventually, get, repository};

fn example(name: &str) -> String {
    repository().join("examples").join(name).display().to_string()
}

#[test]
fn the_shop_runs_is_named_and_balanced() {
    let mut waymark = Waymark::start(&[&example("shop.json")]);
    waymark.wait_for_app("/shop/web", 3);
    waymark.wait_for_app("/shop/api", 2);
    waymark.wait_for_app("/shop/worker", 1);

    // Each instance answers through the service port.
    let port = waymark.service_port("/shop/web");
    let mut seen = std::collections::BTreeSet::new();
    eventually("every instance of web has answered", || {
        let reply = get(&format!("http://127.0.0.1:{port}/?json")).ok()?;
        seen.insert(reply.json()["taskId"].as_str()?.to_owned());
        (seen.len() == 3).then_some(())
    });
    let mut ids = waymark.task_ids("/shop/web");
    ids.sort();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ids);

    // Names as Mesos-DNS gives them.
    let loopback: IpAddr = [127, 0, 0, 1].into();
    for name in ["web-shop.marathon.mesos", "web.shop.marathon.mesos", "WEB-shop.Marathon.mesos"] {
        let answer = waymark.dig(name, "A");
        assert_eq!(
            (answer.rcode.as_str(), answer.addresses),
            ("NOERROR", vec![loopback]),
            "{name}"
        );
    }
    let tasks = waymark.api("/v2/apps/shop/web/tasks");
    let mut host_ports: Vec<u64> = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["ports"][0].as_u64().unwrap())
        .collect();
    host_ports.sort_unstable();
    let answer = waymark.dig("_web-shop._tcp.marathon.mesos", "SRV");
    let mut ports: Vec<u64> = answer.services.iter().map(|(_, p)| u64::from(*p)).collect();
    ports.sort_unstable();
    assert_eq!(ports, host_ports);
    for (target, _) in answer.services {
        assert_eq!(waymark.dig(&target, "A").addresses, [loopback], "{target}");
    }
    assert_eq!(waymark.dig("nothing.marathon.mesos", "A").rcode, "NXDOMAIN");
    let nodata = waymark.dig("web-shop.marathon.mesos", "AAAA");
    assert_eq!((nodata.rcode.as_str(), nodata.addresses.len()), ("NOERROR", 0));
    let version = waymark.api("/v1/status")["catalogVersion"].as_u64().unwrap();
    assert!(u64::from(nodata.serial.unwrap()) <= version, "the serial is a catalog version");

    // The table says where to look.
    let output = eventually("the table is printed", || {
        let output = waymark.output();
        output.contains("web-shop.marathon.mesos").then_some(output)
    });
    for text in ["/shop/web", "3/3", "/shop/api", "2/2", "/shop/worker", &port.to_string()] {
        assert!(output.contains(text), "{text} is missing in\n{output}");
    }

    // Ending it ends the tasks, and leaves nothing behind.
    assert!(!waymark.task_processes().is_empty());
    let status = waymark.stop();
    assert!(status.success(), "{status}\n{}", waymark.errors());
    assert_eq!(waymark.task_processes(), Vec::<i32>::new());
    assert!(waymark.endpoint("api").is_none(), "endpoints.json is gone");
}

#[test]
fn the_same_file_twice_changes_nothing() {
    let hello = example("hello.json");
    let mut waymark = Waymark::start(&[&hello, "--keep-tasks"]);
    waymark.wait_for_app("/hello", 1);
    let (app, tasks) = (waymark.app("/hello"), waymark.task_ids("/hello"));
    assert!(waymark.stop().success());
    assert!(!waymark.task_processes().is_empty(), "--keep-tasks keeps them");

    waymark.start_again(&[&hello]);
    waymark.wait_for_app("/hello", 1);
    assert_eq!(waymark.task_ids("/hello"), tasks);
    assert_eq!(waymark.app("/hello")["version"], app["version"]);
    assert_eq!(waymark.app("/hello")["versionInfo"], app["versionInfo"]);
}

#[test]
fn python_serves_its_folder() {
    let waymark = Waymark::start(&[&example("python.json")]);
    waymark.wait_for_app("/python", 2);
    let port = waymark.service_port("/python");
    eventually("python answers through the service port", || {
        get(&format!("http://127.0.0.1:{port}/")).ok().filter(|r| r.status == 200)
    });
}

#[test]
fn a_folder_of_apps_is_applied_and_zeros_keep_their_ports() {
    let folder = tempfile::tempdir().unwrap();
    let app = |id: &str| {
        json!({"id": id, "cmd": "sleep 1000", "cpus": 0.01, "mem": 16,
               "portDefinitions": [{"port": 0, "name": "a"}, {"port": 0, "name": "b"}]})
    };
    std::fs::write(folder.path().join("1.json"), app("/one").to_string()).unwrap();
    std::fs::write(folder.path().join("2.json"), json!([app("/two"), app("/three")]).to_string())
        .unwrap();
    let waymark = Waymark::start(&[&folder.path().display().to_string()]);
    for id in ["/one", "/two", "/three"] {
        waymark.wait_for_app(id, 1);
    }
    let before = waymark.app("/two");
    let reply = waymark.send("PUT", "/v2/apps/two", &app("/two"));
    assert_eq!(reply.status, 200, "{}", reply.body);
    waymark.wait_until_deployed();
    assert_eq!(waymark.app("/two")["version"], before["version"]);

    // Three apps, two ports each: all different, the lowest six of the range.
    let mut ports: Vec<u64> = waymark.api("/v2/apps")["apps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|a| a["portDefinitions"].as_array().unwrap().clone())
        .map(|p| p["port"].as_u64().unwrap())
        .collect();
    ports.sort_unstable();
    let first = u64::from(waymark.ports.service_min);
    assert_eq!(ports, (first..first + 6).collect::<Vec<_>>());
}
