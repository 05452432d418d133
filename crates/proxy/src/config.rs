//! What can be set about the load balancer, and what is fixed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The settings of the load balancer.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The address every service port is listened on.
    pub listen: IpAddr,
    /// Threads that relay; 0 = one for every core.
    pub workers: usize,
    /// How long a client may wait, from being accepted, until a task has taken its connection.
    pub connect_timeout: Duration,
    /// How long one task may take to accept while another one is left to be tried.
    pub try_timeout: Duration,
    /// How long a connection may live without a byte in either direction. It ends between this and
    /// a quarter more. The default of one hour is Envoy's for TCP: long enough for pools of
    /// database connections, short enough to forget clients that vanished.
    pub idle_timeout: Duration,
    /// How long a client is held, rather than reset, while its service has no task that accepts.
    /// This bridges the moment between a task's end and its replacement. Zero turns it off.
    pub hold: Duration,
    /// How many clients may be held at once; one more is reset at once.
    pub max_held: usize,
    /// How many clients may be connected at once. At the limit every listener keeps at most one
    /// more client waiting and accepts no further; the kernel's backlog holds the rest. Less when
    /// the limit of open files is too low for it: seven eighths of that limit are for the balancer.
    pub max_connections: usize,
    /// Ports of [`ProxyConfig::listen`] that Waymark itself listens on; a service port among them
    /// is refused, with its reason in the statistics.
    pub reserved_ports: BTreeSet<u16>,
}

impl Default for ProxyConfig {
    fn default() -> ProxyConfig {
        ProxyConfig {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            workers: 0,
            connect_timeout: Duration::from_secs(5),
            try_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(3600),
            hold: Duration::from_secs(1),
            max_held: 1024,
            max_connections: 100_000,
            reserved_ports: BTreeSet::new(),
        }
    }
}

/// Connections that the kernel completes before they are accepted, for each service port; more are
/// left to the client's own retransmission. The kernel's `somaxconn` may cut it.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// The most read at once, and so the most that waits in memory for a slow receiver, in bytes a
/// direction. Each worker has one such buffer for all of its connections.
pub(crate) const BUFFER_LEN: usize = 32 * 1024;

/// Accepted connections on their way to another worker; when full they stay where they are.
pub(crate) const HANDOVER_QUEUE: usize = 256;

/// How long a task that refused a connection is tried last.
pub(crate) const DOWN_FOR: Duration = Duration::from_secs(1);

/// How often a held client's service is tried again while its tasks refuse.
pub(crate) const HOLD_RETRY: Duration = Duration::from_millis(50);

/// The first and the longest wait before a port that could not be bound is tried again.
pub(crate) const REBIND: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long a listener rests when the system has no file descriptor or memory left.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a connection that could not be accepted for a reason of its own.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(1);

/// The shortest time between two equal warnings about a system limit.
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(10);
