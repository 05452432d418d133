//! From the catalog's entries to services: one port of one app, with the servers behind it.

pub(crate) mod check;
pub(crate) mod merge;
pub(crate) mod names;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use waymark_model::{AppEntry, Readiness, TaskEntry};

use crate::Settings;
use crate::labels::{LabelError, Rules, groups};
use check::Check;
use merge::Merged;

/// One port of one app.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// The app's id, or the deployment group's, with its leading slash.
    pub app: Arc<str>,
    /// The index in its labels' names.
    pub index: usize,
    /// The number in effect.
    pub port: u16,
    /// The name of its frontend and backend.
    pub backend: String,
    pub rules: Rules,
    pub mode: String,
    pub check: Option<Check>,
    /// Never empty; by host, then port.
    pub servers: Vec<Place>,
    /// Whether it is written; else it only counts among the app's ports.
    pub shown: bool,
}

/// Where a task answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    pub draining: bool,
}

impl Service {
    /// The app's id without its leading slash and with `_` for `/`.
    pub fn flat_app(&self) -> String {
        flat(&self.app)
    }
}

fn flat(app: &str) -> String {
    app.strip_prefix('/').unwrap_or(app).replace('/', "_")
}

/// The services of an app that have servers, in the order of their numbers.
///
/// # Errors
/// The first label that makes no sense.
pub(crate) fn services(app: &Merged, settings: &Settings) -> Result<Vec<Service>, LabelError> {
    let entry = &*app.definition;
    let own_groups = entry.labels.get("HAPROXY_GROUP").map(|value| groups(value));
    let own_groups = own_groups.unwrap_or_default();
    let mut services = Vec::new();
    for (n, places) in numbered(entry).iter().enumerate() {
        let Some(first) = places.first().and_then(|at| entry.services.get(*at)) else { continue };
        // Of several positions with one number the last one's labels count.
        let rules = Rules::read(&entry.labels, n)?;
        let servers = servers(app, places, settings);
        if servers.is_empty() {
            continue;
        }
        let groups = rules.groups.as_ref().unwrap_or(&own_groups);
        let shown = rules.enabled.unwrap_or(!settings.strict)
            && settings.takes(groups.iter().map(String::as_str));
        let port = rules.port.unwrap_or(first.port);
        let check = Check::of(&entry.health_checks, n, rules.check_index);
        let mode = check::mode(check.as_ref(), &rules);
        let backend = format!("{}_{port}", flat(&app.id));
        if shown && !is_section_name(&backend) {
            let reason = format!("{backend:?} cannot be the name of a backend");
            return Err(LabelError { label: String::from("HAPROXY_DEPLOYMENT_GROUP"), reason });
        }
        let (app, index) = (app.id.clone(), n);
        services.push(Service { app, index, port, backend, rules, mode, check, servers, shown });
    }
    services.sort_by_key(|service| service.port);
    Ok(services)
}

/// For each index of labels the positions in the app's list of ports: ports without number have no
/// index. A number that a tcp port and a udp port share is the tcp port's.
fn numbered(entry: &AppEntry) -> Vec<Vec<usize>> {
    let mut by_number: BTreeMap<u16, (usize, bool)> = BTreeMap::new();
    let mut all: Vec<Vec<usize>> = Vec::new();
    for (at, service) in entry.services.iter().enumerate().filter(|(_, s)| s.port != 0) {
        let n = all.len();
        all.push(vec![at]);
        let Some((before, had_tcp)) = by_number.get(&service.port).copied() else {
            by_number.insert(service.port, (n, service.protocol.has_tcp()));
            continue;
        };
        let (keep, drop) =
            if had_tcp && !service.protocol.has_tcp() { (before, n) } else { (n, before) };
        let dropped = all.get_mut(drop).map(std::mem::take).unwrap_or_default();
        let both_tcp = had_tcp == service.protocol.has_tcp();
        if let Some(kept) = all.get_mut(keep).filter(|_| both_tcp) {
            kept.extend(dropped);
        }
        by_number.insert(service.port, (keep, had_tcp || service.protocol.has_tcp()));
    }
    all
}

/// The tasks behind a service, each place once, by host and port.
fn servers(app: &Merged, positions: &[usize], settings: &Settings) -> Vec<Place> {
    let mut servers: Vec<Place> = Vec::new();
    for (task, drained) in &app.tasks {
        let leaving = task.readiness == Readiness::Draining;
        if task.agent.hostname.is_empty() || (leaving && !settings.keep_draining) {
            continue;
        }
        let checked = settings.health_check && !app.definition.health_checks.is_empty();
        if checked && !leaving && !is_passing(task) {
            continue;
        }
        let ends = task.endpoints.iter().filter(|end| positions.contains(&end.service));
        servers.extend(ends.map(|end| Place {
            host: task.agent.hostname.clone(),
            address: end.address.ip(),
            port: end.address.port(),
            draining: *drained || leaving,
        }));
    }
    let key = |place: &Place| (place.port, place.address);
    servers.sort_by(|a, b| a.host.cmp(&b.host).then(key(a).cmp(&key(b))));
    // A lost task and the one in its place: the one that is used counts.
    servers.dedup_by(|next, kept| {
        let same = next.host == kept.host && key(next) == key(kept);
        if same {
            kept.draining &= next.draining;
        }
        same
    });
    servers
}

/// Whether one of the app's checks last passed for the task: one is enough.
pub(crate) fn is_passing(task: &TaskEntry) -> bool {
    task.readiness == Readiness::Ready
}

/// Whether a name can be that of a section.
fn is_section_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}
