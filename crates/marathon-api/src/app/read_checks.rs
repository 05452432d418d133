//! JSON → health and readiness checks, with Marathon's defaults.

use waymark_model::{CheckProtocol, HealthCheck, PortReference, ReadinessCheck};

use super::names;
use super::read::{at_least, seconds};
use super::read_container::is_port_name;
use crate::reader::{
    Fields, boolean, count, filled, integer, list, literal, object, pattern, port, string,
};

pub(crate) fn health_check(f: &mut Fields<'_, '_>) -> HealthCheck {
    let usual = HealthCheck::default();
    let protocol = f.read("protocol", literal(|t| names::CHECK_PROTOCOL.value(t)));
    let protocol = protocol.unwrap_or_default();
    let index = f.read("portIndex", at_least::<usize>(0)).map(PortReference::Index);
    let number = f.read("port", port).map(PortReference::Number);
    let ipv6 = literal(|t| match t {
        "IPv4" => Some(false),
        "IPv6" => Some(true),
        _ => None,
    });
    // A check without a port means the first one.
    let first = (protocol != CheckProtocol::Command).then_some(PortReference::Index(0));
    HealthCheck {
        protocol,
        path: f.read("path", string),
        port: number.or(index).or(first),
        command: f.read("command", object(|f| f.need("value", filled))),
        grace_period: f.read("gracePeriodSeconds", seconds).unwrap_or(usual.grace_period),
        interval: f.read("intervalSeconds", seconds).unwrap_or(usual.interval),
        timeout: f.read("timeoutSeconds", seconds).unwrap_or(usual.timeout),
        max_consecutive_failures: f
            .read("maxConsecutiveFailures", count)
            .unwrap_or(usual.max_consecutive_failures),
        delay: f.read("delaySeconds", seconds).unwrap_or(usual.delay),
        ipv6: f.read("ipProtocol", ipv6).unwrap_or(usual.ipv6),
        ignore_http_1xx: f.read("ignoreHttp1xx", boolean).unwrap_or(usual.ignore_http_1xx),
    }
}

pub(super) fn readiness_check(f: &mut Fields<'_, '_>) -> ReadinessCheck {
    let https = literal(|t| match t {
        "HTTP" => Some(false),
        "HTTPS" => Some(true),
        _ => None,
    });
    let seconds_or = |f: &mut Fields<'_, '_>, name, usual| {
        let time = f.read(name, at_least::<u32>(1)).unwrap_or(usual);
        std::time::Duration::from_secs(time.into())
    };
    ReadinessCheck {
        name: f.read("name", filled).unwrap_or_else(|| "readinessCheck".to_owned()),
        https: f.read("protocol", https).unwrap_or(false),
        path: f.read("path", string).unwrap_or_else(|| "/".to_owned()),
        port_name: f
            .read("portName", pattern(is_port_name))
            .unwrap_or_else(|| "http-api".to_owned()),
        interval: seconds_or(f, "intervalSeconds", 30),
        timeout: seconds_or(f, "timeoutSeconds", 10),
        ready_codes: f
            .read("httpStatusCodesForReady", list(integer(100..=599)))
            .unwrap_or_else(|| vec![200]),
        preserve_last_response: f.read("preserveLastResponse", boolean).unwrap_or(false),
    }
}
