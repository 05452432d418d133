//! Scenario files: the state of a cluster in, names and answers out, as data. Everything from the
//! state document to the packet runs as in the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod file;
mod server;
mod wire;

use std::path::Path;

use serde_json::Value;
use waymark_dns::naming::LabelRule;
use waymark_dns::{Data, Dns, DnsConfig, IpSource, Policy};

use file::Scenario;
use server::Waymark;

/// Where Mesos-DNS listened when the files were recorded.
const LISTENER: &str = "10.1.0.53";

#[test]
fn every_scenario() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let write = std::env::var("SCENARIOS").is_ok_and(|value| value == "write");
    let mut scenarios = Scenario::all(&folder);
    assert!(scenarios.len() > 50, "only {} scenarios were found", scenarios.len());
    let mut wrong = String::new();
    for scenario in &mut scenarios {
        let config = scenario.json("config");
        let waymark = Waymark::start(
            dns_config(&config),
            &texts(&config["masters"]),
            &scenario.json("state"),
        );
        for at in 0..scenario.blocks.len() {
            let heading = scenario.blocks[at].heading.clone();
            let Some(said) = said(&waymark, &heading) else { continue };
            if write {
                scenario.blocks[at].mark(&said);
            } else if let Err(error) = scenario.check(at, &said) {
                wrong += &format!("\n{}: {heading}\n{error}", scenario.name());
            }
        }
        if write {
            scenario.write();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What Waymark says to a heading; `None` where the heading asks nothing.
fn said(waymark: &Waymark, heading: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = heading.split(' ').collect();
    let packet = match words[0] {
        "records" => return Some(records(&waymark.dns)),
        "ask" => wire::query(&words[1..]),
        "send" => wire::bytes(&words[1..]),
        _ => return None,
    };
    Some(match waymark.ask(&packet, words.contains(&"tcp")) {
        Some(reply) => wire::describe(&packet, &reply, &words),
        None => vec!["no reply".to_owned()],
    })
}

/// The members of Mesos-DNS's configuration file that concern answers, with its defaults.
fn dns_config(config: &Value) -> DnsConfig {
    let text = |key: &str, default: &str| config[key].as_str().unwrap_or(default).to_owned();
    let name = |key: &str, default: &str| text(key, default).trim_end_matches('.').to_owned();
    let number = |key: &str, default: u32| match config[key].as_u64() {
        Some(number) => u32::try_from(number).unwrap(),
        None => default,
    };
    let source = |name: &String| match &**name {
        "host" => IpSource::Host,
        "netinfo" => IpSource::Netinfo,
        "docker" => IpSource::Docker,
        "mesos" => IpSource::Mesos,
        _ => panic!("IPSources: {name}"),
    };
    let sources = texts(&config["IPSources"]);
    let defaults = DnsConfig::default();
    DnsConfig {
        domain: text("domain", "mesos").to_lowercase(),
        ttl: number("ttl", 60),
        framework: String::new(),
        host_addresses: vec![text("listener", LISTENER).parse().unwrap()],
        soa_mname: Some(name("SOAMname", "ns1.mesos")),
        soa_rname: Some(name("SOARname", "root.ns1.mesos")),
        soa_refresh: number("SOARefresh", 60),
        soa_retry: number("SOARetry", 600),
        soa_expire: number("SOAExpire", 86_400),
        srv_weight: u16::try_from(number("srvRecordDefaultWeight", 1)).unwrap(),
        label_rule: match config["EnforceRFC952"] {
            Value::Bool(true) => LabelRule::Rfc952,
            _ => LabelRule::Rfc1123,
        },
        ip_sources: match &*sources {
            [] => defaults.ip_sources.clone(),
            sources => sources.iter().map(source).collect(),
        },
        policy: Policy {
            recursion_available: config["recurseon"] != Value::Bool(false),
            set_truncate_bit: config["SetTruncateBit"] != Value::Bool(false),
            ..Policy::open()
        },
        ..defaults
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// All records but SOA and NS, one a line.
fn records(dns: &Dns) -> Vec<String> {
    let zone = dns.snapshot();
    let text = |relative: &[u8]| wire::name_of([relative, zone.domain()].concat());
    let mut records = Vec::new();
    for set in zone.rrsets() {
        let owner = text(set.owner);
        records.extend(set.data.iter().map(|data| match data {
            Data::A(address) => format!("{owner} A {address}"),
            Data::Aaaa(address) => format!("{owner} AAAA {address}"),
            Data::Srv { port, target } => format!("{owner} SRV {port} {}", text(target)),
        }));
    }
    records.sort();
    records
}
