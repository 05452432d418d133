//! What stands on HAProxy's `bind` line: address, certificates, options.

use std::net::IpAddr;
use std::path::PathBuf;

use super::words::words;
use crate::draft::Draft;

/// `HAPROXY_n_BIND_ADDR`; `None` = as configured.
pub(crate) fn address(text: &str) -> Result<Option<IpAddr>, String> {
    let text = text.trim();
    if text.is_empty() || text == "*" {
        return Ok(None);
    }
    let bare = text.strip_prefix("ipv4@").or_else(|| text.strip_prefix("ipv6@")).unwrap_or(text);
    let bare = bare.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(bare);
    bare.parse().map(Some).map_err(|_| format!("{text:?} is no IP address"))
}

/// `HAPROXY_n_SSL_CERT`: a path, and what follows `crt` on a bind line.
pub(crate) fn certificates(draft: &mut Draft, text: &str) -> Result<(), String> {
    let words = words(text)?;
    let Some((first, rest)) = words.split_first() else { return Ok(()) };
    draft.rules.certificates.insert(0, PathBuf::from(first));
    read(draft, rest)
}

/// `HAPROXY_n_BIND_OPTIONS`
pub(crate) fn options(draft: &mut Draft, text: &str) -> Result<(), String> {
    read(draft, &words(text)?)
}

/// HAProxy's options that take a value, and have no meaning here.
const WITH_VALUE: &[&str] = &[
    "accept-netscaler-cip",
    "backlog",
    "ca-ignore-err",
    "ca-sign-file",
    "ca-sign-pass",
    "ca-verify-file",
    "ca-file",
    "ciphers",
    "ciphersuites",
    "client-sigalgs",
    "crl-file",
    "crt-ignore-err",
    "crt-list",
    "curves",
    "default-crt",
    "ecdhe",
    "expose-fd",
    "gid",
    "group",
    "id",
    "interface",
    "level",
    "maxconn",
    "mode",
    "mss",
    "name",
    "namespace",
    "nice",
    "npn",
    "process",
    "proto",
    "severity-output",
    "shards",
    "sigalgs",
    "ssl-max-ver",
    "tcp-ut",
    "thread",
    "tls-ticket-keys",
    "uid",
    "user",
];

fn read(draft: &mut Draft, words: &[String]) -> Result<(), String> {
    let mut unread = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("the option {word} lacks its value"));
        let options = &mut draft.rules.bind_options;
        match word {
            "accept-proxy" => options.accept_proxy = true,
            "alpn" => options.alpn = protocols(value()?)?,
            "no-alpn" => options.alpn = vec![String::from("http/1.1")],
            "ssl-min-ver" => match value()? {
                "TLSv1.3" => options.tls13_only = true,
                "SSLv3" | "TLSv1.0" | "TLSv1.1" | "TLSv1.2" => {}
                other => return Err(format!("{other:?} is no version of TLS")),
            },
            "no-tlsv12" | "force-tlsv13" => options.tls13_only = true,
            "crt" => {
                let path = PathBuf::from(value()?);
                draft.rules.certificates.push(path);
            }
            // So it is anyway.
            "ssl" | "no-sslv3" | "no-tlsv10" | "no-tlsv11" | "prefer-client-ciphers" => {}
            "verify" => match value()? {
                "none" => {}
                "required" => {
                    return Err(String::from("client certificates cannot be required here"));
                }
                other => unread.push(format!("verify {other}")),
            },
            other if WITH_VALUE.contains(&other) => unread.push(format!("{other} {}", value()?)),
            other => unread.push(other.to_owned()),
        }
    }
    if !unread.is_empty() {
        draft.notes.push(format!("these options have no effect here: {}", unread.join(", ")));
    }
    Ok(())
}

fn protocols(list: &str) -> Result<Vec<String>, String> {
    let known = |name: &&str| matches!(*name, "h2" | "http/1.1");
    let protocols: Vec<String> =
        list.split(',').map(str::trim).filter(known).map(String::from).collect();
    match protocols.is_empty() {
        true => Err(format!("alpn {list:?} offers nothing that is spoken here: h2, http/1.1")),
        false => Ok(protocols),
    }
}
