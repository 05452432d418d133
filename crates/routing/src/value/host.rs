//! Host names.

use crate::HostPattern;

/// A comma list of host names; empty entries are passed over.
pub(crate) fn list(text: &str) -> Result<Vec<HostPattern>, String> {
    let mut hosts = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let host = pattern(name)?;
        // `a.test,a.test:8080` covers marathon-lb's literal comparison; ports do not matter here.
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

fn pattern(text: &str) -> Result<HostPattern, String> {
    let name = without_port(text).to_ascii_lowercase();
    if name == "*" {
        return Ok(HostPattern::Any);
    }
    match name.strip_prefix("*.") {
        Some(parent) => name_of(parent, text).map(HostPattern::Under),
        None => name_of(&name, text).map(HostPattern::Exact),
    }
}

/// A name as it is compared: without its last dot.
fn name_of(name: &str, text: &str) -> Result<String, String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    check(name).map_err(|reason| format!("{text:?} is no host name: {reason}"))?;
    Ok(name.to_owned())
}

fn check(name: &str) -> Result<(), &'static str> {
    if let Some(address) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("what is in brackets is no IPv6 address"),
        };
    }
    if name.contains("//") || name.contains('/') {
        return Err("it stands without scheme and path");
    }
    if name.contains('*') {
        return Err("a wildcard is the whole first part, as in *.example.com");
    }
    if !name.is_ascii() {
        return Err("letters beyond ASCII are written in punycode");
    }
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let part = |part: &str| !part.is_empty() && part.len() <= 63 && part.bytes().all(letter);
    match name.len() <= 253 && name.split('.').all(part) {
        true => Ok(()),
        false => Err("its parts are 1 to 63 letters, digits, - and _, all together at most 253"),
    }
}

fn without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((name, port))
            if port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => text,
    }
}
