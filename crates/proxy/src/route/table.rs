//! What a version of the catalog means for traffic: one immutable table, shared by all workers.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use waymark_model::{AppId, Version};
use waymark_routing::{BindOptions, Mode, Quarantined, Unapplied};

use super::hosts::{HostTable, NameMap};
use super::pool::{Pool, PoolId};
use crate::port::Port;

/// Where a service port is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenKey {
    /// The port's number.
    pub port: u16,
    /// Whether it is for UDP; else TCP.
    pub udp: bool,
    /// The address, if not the configured one (`HAPROXY_n_BIND_ADDR`).
    pub ip: Option<IpAddr>,
}

/// Which services there are routes for, and what counts as ready.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// The groups that are exposed.
    pub groups: Groups,
    /// Whether only services with `HAPROXY_n_ENABLED=true` are.
    pub strict: bool,
    /// What a task counts as that was never checked.
    pub health: HealthPolicy,
    /// The address service ports are listened on.
    pub listen: IpAddr,
    /// The port that plain requests are sent to by `HAPROXY_n_REDIRECT_TO_HTTPS`.
    pub https_port: u16,
}

/// Groups of services (`HAPROXY_GROUP`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Every service, in a group or not.
    All,
    /// Those in one of these; of none named, those in no group.
    Named(Vec<String>),
}

/// What a task counts as that has a check and was never found healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthPolicy {
    /// Not ready.
    Strict,
    /// Ready: marathon-lb without `--health-check` does not look at Marathon's results.
    Lenient,
}

impl Groups {
    /// Whether a service of these groups is exposed (as in marathon-lb: with no group named, only
    /// services in no group are).
    pub fn expose(&self, groups: &[String]) -> bool {
        match self {
            Groups::All => true,
            Groups::Named(named) if named.is_empty() => groups.is_empty(),
            Groups::Named(named) if named.iter().any(|group| group == "*") => true,
            Groups::Named(named) => groups.iter().any(|group| named.contains(group)),
        }
    }
}

/// All routes, made from one version of the catalog.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// The catalog's version.
    pub version: Version,
    /// What is listened on for each service port.
    pub listeners: OrdMap<ListenKey, Arc<ServiceRoute>>,
    /// Every pool.
    pub pools: OrdMap<PoolId, Arc<Pool>>,
    /// Host names on the shared ports.
    pub hosts: HostTable,
    /// The pool that a request for an app (`X-Marathon-App-Id`) goes to: of its first port in mode
    /// http.
    pub(crate) apps: NameMap<Arc<Pool>>,
    /// Apps whose labels cannot be read, with the reason.
    pub quarantined: OrdMap<AppId, Arc<Quarantined>>,
    /// Labels with no effect here, of the apps that have any.
    pub unapplied: OrdMap<AppId, Arc<Vec<Unapplied>>>,
    /// Apps that have no routes because an app with the id of their deployment group exists.
    pub displaced: OrdMap<AppId, AppId>,
    /// The port that plain requests are redirected to.
    pub https_port: u16,
}

/// One service port: what is accepted there and where it goes.
#[derive(Debug)]
pub struct ServiceRoute {
    /// Where it is listened on.
    pub key: ListenKey,
    pub(crate) port: Arc<Port>,
    /// The apps that have it, in order of their ids.
    pub apps: Vec<AppId>,
    /// Its tasks. With several services on one port the tasks of all of them, under the rules of
    /// the first: connections are spread over all, as marathon-lb's doubled binds do.
    pub pool: Arc<Pool>,
}

impl ServiceRoute {
    /// What it carries; a UDP port carries datagrams whatever the mode.
    pub fn mode(&self) -> Mode {
        self.pool.rules.mode
    }

    /// Options of its listener.
    pub fn bind_options(&self) -> &BindOptions {
        &self.pool.rules.bind_options
    }

    /// Certificates of the port itself; empty = no TLS there.
    pub fn certificates(&self) -> &[std::path::PathBuf] {
        &self.pool.rules.certificates
    }
}

impl PartialEq for ServiceRoute {
    fn eq(&self, other: &ServiceRoute) -> bool {
        self.key == other.key
            && self.apps == other.apps
            && Arc::ptr_eq(&self.port, &other.port)
            && Arc::ptr_eq(&self.pool, &other.pool)
    }
}

impl RouteTable {
    /// The pool as this table has it: the very one, or what has taken its place; `None` when its
    /// service is gone. To be asked when a task is picked, for the table may have been replaced
    /// since the pool was found.
    pub fn present<'a>(&'a self, pool: &'a Arc<Pool>) -> Option<&'a Arc<Pool>> {
        if pool.is_retired() { self.pools.get(&pool.id) } else { Some(pool) }
    }

    /// The TCP service port of this number on the configured address.
    pub fn service(&self, port: u16) -> Option<&Arc<ServiceRoute>> {
        self.listeners.get(&ListenKey { port, udp: false, ip: None })
    }

    /// The pool that a TLS connection for this server name is passed through to, unopened; `None` =
    /// it is opened here. The most specific of all hosts decides, and where services of both modes
    /// have the very same host, the one passed through.
    pub fn passthrough(&self, server_name: &str) -> Option<Arc<Pool>> {
        self.hosts.passthrough(server_name)
    }

    /// The pool of an app's first port in mode http.
    pub fn app(&self, app: &str) -> Option<&Arc<Pool>> {
        // Ids are in lower case; marathon-lb compares them in any.
        match app.bytes().any(|b| b.is_ascii_uppercase()) {
            true => self.apps.get(app.to_ascii_lowercase().as_str()),
            false => self.apps.get(app),
        }
    }
}
