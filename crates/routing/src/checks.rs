//! Which of an app's health checks tells of a port, by marathon-lb's rules.

use waymark_model::{CheckProtocol, HealthCheck, PortReference};

use crate::Check;

/// The check of the port at position `n`, and whether it was borrowed from another. `numbers` are
/// the ports' effective numbers, by position; `index` is `HAPROXY_n_BACKEND_HEALTHCHECK_PORT_INDEX`.
pub(crate) fn check_of(
    checks: &[HealthCheck],
    numbers: &[u16],
    n: usize,
    index: Option<i64>,
) -> (Option<Check>, bool) {
    let own = own_check(checks, n);
    let service = index.and_then(|index| by_number(numbers, index)).unwrap_or(n);
    let borrowed = match (own, index.and_then(|i| usize::try_from(i).ok())) {
        (None, Some(index)) => own_check(checks, index),
        _ => None,
    };
    let check = own.or(borrowed).map(|check| Check { check, service });
    (check, borrowed.is_some())
}

/// Whether a check makes its port's mode http. Of own checks only HTTP itself does in marathon-lb.
pub(crate) fn makes_http(protocol: CheckProtocol, borrowed: bool) -> bool {
    use CheckProtocol::{Http, Https, MesosHttp, MesosHttps};
    protocol == Http || (borrowed && matches!(protocol, Https | MesosHttp | MesosHttps))
}

/// The first check with a literal port, which serves every port, or with this one's index.
fn own_check(checks: &[HealthCheck], n: usize) -> Option<usize> {
    checks.iter().position(|check| match check.port {
        Some(PortReference::Number(_)) => true,
        Some(PortReference::Index(index)) => index == n,
        None => n == 0 && check.protocol != CheckProtocol::Command,
    })
}

/// The port at this place in the order of numbers; a negative one counts from the end.
fn by_number(numbers: &[u16], index: i64) -> Option<usize> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by_key(|n| (numbers.get(*n).copied(), *n));
    let count = i64::try_from(order.len()).ok()?;
    let place = if index < 0 { count + index } else { index };
    order.get(usize::try_from(place).ok()?).copied()
}
