//! What the load balancer tells about itself, for metrics, status and API.

use std::sync::atomic::Ordering::Relaxed;

use std::net::{IpAddr, SocketAddr};

use waymark_model::{AppId, TaskId};

use crate::port::Port;
use crate::route::{Front, Reason, RouteTable, ServiceRoute};

/// Whether a service port is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerState {
    /// Its worker has not come to it yet.
    Pending,
    /// It accepts connections.
    Listening,
    /// It cannot be bound, for this reason; it is tried again until it can.
    Failed(String),
    /// Waymark itself needs the port; it is not tried.
    Reserved,
}

/// One service port. Counters start at 0 when the port appears.
#[derive(Clone, Debug)]
pub struct PortStats {
    /// The service port.
    pub port: u16,
    /// The address it is listened on, if not the configured one: one number can have several.
    pub address: Option<IpAddr>,
    /// Whether it is for UDP; its connections are sessions then.
    pub udp: bool,
    /// The apps that have it, in order of their ids.
    pub apps: Vec<AppId>,
    /// Whether it is listened on.
    pub listener: ListenerState,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections of clients that are open now.
    pub active: usize,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Attempts to connect to a task that failed.
    pub connect_errors: u64,
    /// Attempts on another task, or again later, after one failed.
    pub retries: u64,
    /// Clients reset because no task was ready.
    pub no_endpoint: u64,
    /// Clients reset because no ready task accepted.
    pub failed: u64,
    /// Relayed connections that one of the two sides reset.
    pub resets: u64,
    /// Relayed connections closed by the idle time-out.
    pub idle_closed: u64,
    /// Clients that were held until a task accepted or the hold was over.
    pub held: u64,
    /// Clients closed because of where they came from.
    pub denied: u64,
    /// Clients closed because they sent no PROXY header where one must be, or not in time.
    pub bad_proxy_headers: u64,
    /// Clients closed because the first message of TLS did not come in time.
    pub hello_timeouts: u64,
    /// Datagrams dropped: no task, no room among the sessions, or none in the kernel.
    pub udp_dropped: u64,
    /// UDP sessions ended before their time to make room for others.
    pub udp_evicted: u64,
    /// Each task of the port.
    pub tasks: Vec<TaskStats>,
}

/// One task at one service port.
#[derive(Clone, Debug)]
pub struct TaskStats {
    /// The task.
    pub task: TaskId,
    /// Where it answers.
    pub address: SocketAddr,
    /// Why it gets no new connections; `None` when it does.
    pub withheld: Option<Reason>,
    /// Connections to it, through this port, that are open or being opened.
    pub active: u32,
}

/// The load balancer as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients connected now, those on removed ports included.
    pub connections: usize,
    /// The most that may be, by setting and by the limit of open files.
    pub max_connections: usize,
    /// Times a listener had to wait at that limit.
    pub limit_hits: u64,
    /// Times a listener rested because the system had no descriptor or memory left.
    pub accept_pauses: u64,
    /// Connections handed from one worker to another.
    pub handed_over: u64,
    /// Connections reset because their source had its most.
    pub source_refusals: u64,
    /// UDP sessions now.
    pub udp_sessions: usize,
    /// The most that may be, by setting and by the limit of open files.
    pub max_udp_sessions: usize,
    /// The most of one service.
    pub max_udp_service_sessions: usize,
}

pub(crate) fn port_stats(table: &RouteTable) -> Vec<PortStats> {
    table.listeners.values().filter(|r| !r.key.udp).map(|route| one_port(route)).collect()
}

/// The service ports of UDP, in order.
pub(crate) fn udp_stats(table: &RouteTable) -> Vec<PortStats> {
    table.listeners.values().filter(|r| r.key.udp).map(|route| one_port(route)).collect()
}

/// A listener alone, without apps and tasks.
pub(crate) fn listener_stats(port: &Port) -> PortStats {
    let counters = &port.counters;
    PortStats {
        port: port.number,
        address: match port.front {
            Front::Service(key) => key.ip,
            _ => None,
        },
        udp: matches!(port.front, Front::Service(key) if key.udp),
        apps: Vec::new(),
        listener: port.listener(),
        accepted: counters.accepted.load(Relaxed),
        active: counters.active.load(Relaxed),
        bytes_in: counters.bytes_in.load(Relaxed),
        bytes_out: counters.bytes_out.load(Relaxed),
        connect_errors: counters.connect_errors.load(Relaxed),
        retries: counters.retries.load(Relaxed),
        no_endpoint: counters.no_endpoint.load(Relaxed),
        failed: counters.failed.load(Relaxed),
        resets: counters.resets.load(Relaxed),
        idle_closed: counters.idle_closed.load(Relaxed),
        held: 0,
        denied: counters.denied.load(Relaxed),
        bad_proxy_headers: counters.bad_proxy_headers.load(Relaxed),
        hello_timeouts: counters.hello_timeouts.load(Relaxed),
        udp_dropped: counters.udp_dropped.load(Relaxed),
        udp_evicted: counters.udp_evicted.load(Relaxed),
        tasks: Vec::new(),
    }
}

fn one_port(route: &ServiceRoute) -> PortStats {
    PortStats {
        apps: route.apps.clone(),
        held: route.pool.counters.held.load(Relaxed),
        tasks: route
            .pool
            .candidates
            .iter()
            .map(|candidate| TaskStats {
                task: candidate.endpoint.task.clone(),
                address: candidate.endpoint.address,
                withheld: candidate.withheld,
                active: candidate.endpoint.active(),
            })
            .collect(),
        ..listener_stats(&route.port)
    }
}
