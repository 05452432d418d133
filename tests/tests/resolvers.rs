//! The resolvers that programs really use, as clients: dig, unbound in front of us, the C libraries
//! glibc and musl. Each must find what is there, whatever else it asks on its way. Needs root, for
//! networks of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story fails by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use waymark_stories::{Namespace, binary, eventually};

/// Where Waymark answers in each network.
const WAYMARK: &str = "127.0.0.1";
/// Where unbound does.
const UNBOUND: &str = "127.0.0.2";
/// More addresses than any UDP message may carry.
const MANY: usize = 200;

/// A network with a master that tells of tasks, and Waymark that names them.
fn cluster() -> Namespace {
    let mut network = Namespace::new();
    let folder = network.folder().to_owned();
    fs::create_dir(folder.join("master")).unwrap();
    fs::write(folder.join("master/state"), state().to_string()).unwrap();
    let mut master = network.command("python3");
    master.args(["-m", "http.server", "5050", "--bind", "127.0.0.1"]);
    network.start("master", master);
    let config = json!({
        "masters": ["127.0.0.1:5050"], "refreshSeconds": 1, "listener": WAYMARK,
        "httplistener": WAYMARK, "externalon": false, "SOAMname": "ns1.mesos",
        "dataDir": folder.join("data"),
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut waymark = network.command(binary());
    waymark.args(["mesos-dns", "-config", "config.json"]);
    network.start("waymark", waymark);
    eventually("Waymark names the tasks", || {
        let (_, answer) =
            network.run("dig", &[&at(WAYMARK), "+short", "+tries=1", "web.marathon.mesos"]);
        (answer == "9.0.0.1\n").then_some(())
    });
    network
}

fn state() -> Value {
    let task = |name: &str, n: usize, addresses: &[String]| {
        let addresses: Vec<Value> =
            addresses.iter().map(|address| json!({"ip_address": address})).collect();
        json!({
            "id": format!("{name}.{n}"), "name": name, "framework_id": "f1", "slave_id": "a-S1",
            "state": "TASK_RUNNING",
            "resources": {"ports": format!("[{}-{}]", 31000 + n, 31000 + n)},
            "discovery": {
                "visibility": "FRAMEWORK", "name": name,
                "ports": {"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]},
            },
            "statuses": [{
                "state": "TASK_RUNNING", "timestamp": 1.0,
                "container_status": {"network_infos": [{"ip_addresses": addresses}]},
            }],
        })
    };
    let text = |address: &str| address.to_owned();
    let mut tasks = vec![
        task("web", 1, &[text("9.0.0.1")]),
        task("six", 2, &[text("fd01::2")]),
        task("dual", 3, &[text("9.0.0.3"), text("fd01::3")]),
    ];
    tasks.extend((0..MANY).map(|n| task("many", n, &[format!("9.1.0.{n}")])));
    json!({
        "leader": "master@127.0.0.1:5050", "pid": "master@127.0.0.1:5050",
        "slaves": [{"id": "a-S1", "hostname": "agent1", "pid": "slave(1)@10.0.0.1:5051"}],
        "frameworks": [{
            "id": "f1", "name": "marathon", "pid": "scheduler@10.0.0.2:1234", "tasks": tasks,
        }],
    })
}

fn at(server: &str) -> String {
    format!("@{server}")
}

/// Asks with dig; gives the status and the answer section's data, sorted.
fn dig(network: &Namespace, server: &str, args: &[&str]) -> (String, Vec<String>) {
    let server = at(server);
    let args: Vec<&str> = [&server, "+noall", "+comments", "+answer", "+tries=2"]
        .iter()
        .copied()
        .chain(args.iter().copied())
        .collect();
    let (succeeded, text) = network.run("dig", &args);
    assert!(succeeded, "dig {args:?}: {text}");
    let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
    let records = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';'));
    let data = records.map(|line| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" "));
    let mut data: Vec<String> = data.collect();
    data.sort();
    (status.unwrap_or_else(|| panic!("dig {args:?}: {text}")).to_owned(), data)
}

fn assert_dig(network: &Namespace, server: &str, args: &[&str], status: &str, data: &[&str]) {
    let (got, answer) = dig(network, server, args);
    assert_eq!(
        (got.as_str(), answer),
        (status, data.iter().map(|d| (*d).to_owned()).collect()),
        "{args:?}"
    );
}

/// What every client finds, asked by dig of Waymark itself or of a resolver before it.
fn assert_names(network: &Namespace, server: &str) {
    let ask = |args: &[&str], status: &str, data: &[&str]| {
        assert_dig(network, server, args, status, data);
    };
    // First what is between: were it missing, nothing below it would be looked for.
    ask(&["_tcp.marathon.mesos", "A"], "NOERROR", &[]);
    ask(&["marathon.slave.mesos", "A"], "NOERROR", &[]);
    ask(&["mesos", "A"], "NOERROR", &[]);
    ask(&["web.marathon.mesos", "AAAA"], "NOERROR", &[]);
    ask(&["web.marathon.mesos", "A"], "NOERROR", &["9.0.0.1"]);
    ask(&["six.marathon.mesos", "A"], "NOERROR", &[]);
    ask(&["six.marathon.mesos", "AAAA"], "NOERROR", &["fd01::2"]);
    ask(&["dual.marathon.mesos", "A"], "NOERROR", &["9.0.0.3"]);
    ask(&["dual.marathon.mesos", "AAAA"], "NOERROR", &["fd01::3"]);
    ask(&["web.marathon.slave.mesos", "A"], "NOERROR", &["10.0.0.1"]);
    let service = &["0 1 80 web-e844k-s1.marathon.mesos."];
    ask(&["_http._web._tcp.marathon.mesos", "SRV"], "NOERROR", service);
    ask(&["_WEB._Tcp.Marathon.Mesos", "SRV"], "NOERROR", service);
    ask(&["nope.marathon.mesos", "A"], "NXDOMAIN", &[]);
    ask(&["_nope._tcp.marathon.mesos", "SRV"], "NXDOMAIN", &[]);
    let (status, addresses) = dig(network, server, &["many.marathon.mesos", "A"]);
    assert_eq!((status.as_str(), addresses.len()), ("NOERROR", MANY), "by TCP after a cut answer");
}

#[test]
fn dig_finds_everything() {
    let network = cluster();
    assert_names(&network, WAYMARK);
    for option in [
        "+tcp",
        "+noedns",
        "+bufsize=4096",
        "+nocookie",
        "+subnet=192.0.2.0/24",
        "+nsid",
        "+dnssec",
        "+cdflag",
        "+norecurse",
        "+ednsopt=65001:00ff",
        "+padding=64",
        "+qid=0",
    ] {
        assert_dig(
            &network,
            WAYMARK,
            &[option, "web.marathon.mesos", "A"],
            "NOERROR",
            &["9.0.0.1"],
        );
    }
    let many = ["+tcp", "+keepopen", "web.marathon.mesos", "A", "dual.marathon.mesos", "A"];
    assert_dig(&network, WAYMARK, &many, "NOERROR", &["9.0.0.1", "9.0.0.3"]);
    let (status, cut) = dig(&network, WAYMARK, &["+ignore", "many.marathon.mesos", "A"]);
    assert!(status == "NOERROR" && !cut.is_empty() && cut.len() < MANY, "{cut:?}");
    let (_, soa) = dig(&network, WAYMARK, &["mesos", "SOA"]);
    assert!(soa.iter().any(|soa| soa.starts_with("ns1.mesos. root.ns1.mesos. ")), "{soa:?}");
    assert_dig(&network, WAYMARK, &["mesos", "NS"], "NOERROR", &["ns1.mesos."]);
    assert_dig(&network, WAYMARK, &["example.org", "A"], "REFUSED", &[]);
}

/// Starts unbound, which asks Waymark for names in `mesos`.
fn start_unbound(network: &mut Namespace, zone: &str) {
    let folder = network.folder().display().to_string();
    let config = format!(
        "server:\n interface: {UNBOUND}\n port: 53\n directory: \"{folder}\"\n chroot: \"\"\n \
         username: \"\"\n pidfile: \"\"\n use-syslog: no\n logfile: \"\"\n verbosity: 1\n \
         do-not-query-localhost: no\n module-config: \"iterator\"\n do-ip6: no\n \
         num-threads: 1\n qname-minimisation: yes\n qname-minimisation-strict: yes\n \
         harden-below-nxdomain: yes\n harden-referral-path: yes\n harden-large-queries: yes\n \
         use-caps-for-id: yes\n minimal-responses: yes\n\
         remote-control:\n control-enable: no\n{zone}"
    );
    fs::write(network.folder().join("unbound.conf"), config).unwrap();
    let mut unbound = network.command("unbound");
    unbound.args(["-d", "-c", "unbound.conf"]);
    network.start("unbound", unbound);
    eventually("unbound answers", || {
        let server = at(UNBOUND);
        let (succeeded, _) =
            network.run("dig", &[&server, "+tries=1", "+time=1", "version.bind", "CH", "TXT"]);
        succeeded.then_some(())
    });
}

#[test]
fn unbound_forwards_to_us() {
    let mut network = cluster();
    start_unbound(
        &mut network,
        &format!("forward-zone:\n name: \"mesos\"\n forward-addr: {WAYMARK}\n"),
    );
    assert_names(&network, UNBOUND);
    // Once more from its cache.
    assert_names(&network, UNBOUND);
}

#[test]
fn unbound_asks_us_as_the_zone_s_server() {
    let mut network = cluster();
    start_unbound(&mut network, &format!("stub-zone:\n name: \"mesos\"\n stub-addr: {WAYMARK}\n"));
    assert_names(&network, UNBOUND);
    assert_names(&network, UNBOUND);
}

/// What a C library finds: names and the addresses that `getaddrinfo` gives for them.
const LOOKUPS: &[(&str, &[&str])] = &[
    ("web.marathon.mesos", &["9.0.0.1"]),
    ("six.marathon.mesos", &["fd01::2"]),
    ("dual.marathon.mesos", &["9.0.0.3", "fd01::3"]),
    ("web.marathon.slave.mesos", &["10.0.0.1"]),
    ("WEB.Marathon.mesos.", &["9.0.0.1"]),
    ("nope.marathon.mesos", &[]),
    ("marathon.slave.mesos", &[]),
    // By the search list.
    ("web", &["9.0.0.1"]),
    ("dual.marathon", &["9.0.0.3", "fd01::3"]),
];

fn assert_lookups(look_up: impl Fn(&str) -> Vec<String>, how: &str) {
    for (name, addresses) in LOOKUPS {
        assert_eq!(look_up(name), *addresses, "{name}, {how}");
    }
    let many = look_up("many.marathon.mesos");
    assert_eq!(many.len(), MANY, "an answer that does not fit into UDP, {how}");
}

fn resolv_conf(options: &str) -> String {
    format!("nameserver {WAYMARK}\nsearch marathon.mesos mesos\noptions timeout:2 {options}\n")
}

#[test]
fn glibc_finds_names() {
    let network = cluster();
    let look_up = |name: &str| {
        let (_, text) = network.run("getent", &["ahosts", name]);
        let mut addresses: Vec<String> = text
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        addresses.sort();
        addresses.dedup();
        addresses
    };
    for options in [
        "",
        "edns0",
        "use-vc",
        "single-request",
        "single-request-reopen",
        "edns0 trust-ad",
        "no-aaaa",
    ] {
        network.set_resolv_conf(&resolv_conf(options));
        if options == "no-aaaa" {
            assert_eq!(look_up("dual.marathon.mesos"), ["9.0.0.3"]);
            continue;
        }
        assert_lookups(look_up, options);
    }
}

/// Prints every address of a name.
const CLIENT: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all, *one;
    char text[INET6_ADDRSTRLEN];
    if (argc != 2 || getaddrinfo(argv[1], 0, &hints, &all)) return 1;
    for (one = all; one; one = one->ai_next) {
        void *address = one->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
        puts(inet_ntop(one->ai_family, address, text, sizeof text));
    }
    return 0;
}
"#;

fn compile_for_musl(network: &Namespace) -> PathBuf {
    let (source, program) = (network.folder().join("client.c"), network.folder().join("client"));
    fs::write(&source, CLIENT).unwrap();
    let compiled =
        Command::new("musl-gcc").arg("-static").arg("-o").args([&program, &source]).status();
    assert!(compiled.is_ok_and(|status| status.success()), "musl-gcc compiles the client");
    program
}

#[test]
fn musl_finds_names() {
    let network = cluster();
    let client = compile_for_musl(&network);
    // Unlike glibc, musl does not search for names with as many dots.
    network.set_resolv_conf(&resolv_conf("ndots:2"));
    let look_up = |name: &str| {
        let (_, text) = network.run(&client, &[name]);
        let mut addresses: Vec<String> = text.lines().map(str::to_owned).collect();
        addresses.sort();
        addresses
    };
    for (name, addresses) in LOOKUPS {
        assert_eq!(look_up(name), *addresses, "{name}");
    }
    // musl gives at most 48 addresses, and does not ask by TCP before 1.2.4.
    let many = look_up("many.marathon.mesos").len();
    assert!(many > 0 && many <= 48, "{many}");
}
