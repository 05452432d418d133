//! Single names: `/v1/hosts/{host}` and `/v1/services/{service}`.

use std::net::IpAddr;

use http::StatusCode;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::Serialize;

use super::answer::{self, Answer};
use crate::output::Dns;
use crate::zone::Lookup;

#[derive(Default, Serialize)]
struct HostRecord {
    host: String,
    ip: String,
}

#[derive(Default, Serialize)]
struct ServiceRecord {
    service: String,
    host: String,
    ip: String,
    port: String,
}

/// The name that is looked up: without `.*`, in lower case, with a final dot, as Mesos-DNS does.
fn cleaned(name: &str) -> String {
    let mut name = name.replace(".*", "").to_lowercase();
    if !name.ends_with('.') {
        name.push('.');
    }
    name
}

/// The addresses under a name: IPv4 before IPv6, each in random order.
pub fn host(dns: &Dns, asked: &str) -> Answer {
    let name = cleaned(asked);
    let addresses = match dns.lookup(&name) {
        Lookup::NotReady => return answer::not_ready(),
        Lookup::Found { addresses, .. } => addresses,
        Lookup::Outside | Lookup::Missing => Vec::new(),
    };
    let (mut v4, mut v6): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.into_iter().partition(IpAddr::is_ipv4);
    v4.shuffle(&mut rand::rng());
    v6.shuffle(&mut rand::rng());
    let mut records: Vec<HostRecord> = v4
        .iter()
        .chain(&v6)
        .map(|ip| HostRecord { host: name.clone(), ip: ip.to_string() })
        .collect();
    if records.is_empty() {
        // "Nothing found" is one entry of empty texts.
        records.push(HostRecord::default());
    }
    answer::json(&records)
}

/// `/v1/hosts/{host}/ports`, which Mesos-DNS never had.
pub fn ports() -> Answer {
    answer::text(StatusCode::NOT_IMPLEMENTED, "To be implemented...")
}

/// The services under a name, in random order: for each one a random IPv4 address of its target and
/// one IPv6 address, as far as it has them.
pub fn service(dns: &Dns, asked: &str) -> Answer {
    let mut services = match dns.lookup(&cleaned(asked)) {
        Lookup::NotReady => return answer::not_ready(),
        Lookup::Found { services, .. } => services,
        Lookup::Outside | Lookup::Missing => Vec::new(),
    };
    services.shuffle(&mut rand::rng());
    let mut records = Vec::new();
    for (target, port) in services {
        let Lookup::Found { addresses, .. } = dns.lookup(&target) else { continue };
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
        for ip in [v4.choose(&mut rand::rng()), v6.choose(&mut rand::rng())].into_iter().flatten() {
            records.push(ServiceRecord {
                service: asked.to_owned(),
                host: format!("{}.", target.trim_end_matches('.')),
                ip: ip.to_string(),
                port: port.to_string(),
            });
        }
    }
    if records.is_empty() {
        records.push(ServiceRecord::default());
    }
    answer::json(&records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (asked, want) in [
            ("Web.Marathon.mesos", "web.marathon.mesos."),
            ("web.*.marathon.mesos.", "web.marathon.mesos."),
            (".*", "."),
            ("", "."),
        ] {
            assert_eq!(cleaned(asked), want);
        }
    }
}
