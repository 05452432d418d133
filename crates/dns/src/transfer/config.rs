//! The settings of zone transfers.

use std::net::{IpAddr, SocketAddr};

use crate::access::AccessList;

/// What is told about secondaries. The default has none: nobody gets the zone.
#[derive(Clone, Debug)]
pub struct TransferConfig {
    /// Who may have the whole zone (AXFR, IXFR). Others get REFUSED.
    pub allow: AccessList,
    /// Who is told when the zone has changed (NOTIFY, RFC 1996); at most [`MAX_SECONDARIES`], the
    /// others are left out.
    pub notify: Vec<SocketAddr>,
    /// The address that NOTIFY is sent from: secondaries that know us by one address refuse it from
    /// others. `None` = as the system chooses.
    pub notify_from: Option<IpAddr>,
    /// Transfers at once; more get REFUSED, and secondaries try again.
    pub at_once: usize,
    /// Bytes of changes that are kept for IXFR; secondaries that are further behind get the whole
    /// zone.
    pub journal_bytes: usize,
}

/// Secondaries that can be notified.
pub const MAX_SECONDARIES: usize = 64;

impl TransferConfig {
    /// Whether anybody could get the zone or is told of its changes.
    pub(crate) fn is_used(&self) -> bool {
        !self.allow.is_empty() || !self.notify.is_empty()
    }
}

impl Default for TransferConfig {
    fn default() -> TransferConfig {
        TransferConfig {
            allow: AccessList::default(),
            notify: Vec::new(),
            notify_from: None,
            at_once: 8,
            journal_bytes: 8 << 20,
        }
    }
}
