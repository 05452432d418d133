//! The load balancer as the catalog sees it: how far it has got, and whether a task is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use waymark_catalog::{InUse, Output};
use waymark_model::{TaskId, Version};

use crate::usage::Usage;

/// How far each worker has got, and the connections of each task.
///
/// Why a drain can trust it. A worker picks an endpoint and takes its seat in one stretch of code
/// without an `await`, on the only thread that also replaces the worker's table; a pool that was
/// found earlier is looked up again in that table first, if a newer table has another in its place
/// (which its mark says from before that table is published; [`RouteTable::present`]). So every seat
/// is taken either before the worker adopts version *v*, or by a table that is *v* or newer, in
/// which a task that drains is no candidate. A worker stores *v* (release) after it has adopted it; who
/// reads *v* from all workers (acquire) therefore sees every seat ever taken by an older table, and
/// no new one can follow. From there on a draining task's count only falls, and a seat is dropped
/// after its socket, so 0 means that no connection is left.
#[derive(Debug)]
pub(crate) struct ProxyOutput {
    applied: Vec<AtomicU64>,
    usage: Arc<Usage>,
}

impl ProxyOutput {
    pub(crate) fn new(workers: usize, usage: Arc<Usage>) -> ProxyOutput {
        ProxyOutput { applied: (0..workers).map(|_| AtomicU64::new(0)).collect(), usage }
    }

    /// The worker has adopted the version and its listeners stand.
    pub(crate) fn set_applied(&self, worker: usize, version: Version) {
        if let Some(applied) = self.applied.get(worker) {
            applied.store(version, Ordering::Release);
        }
    }
}

impl Output for ProxyOutput {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn applied(&self) -> Version {
        self.applied.iter().map(|v| v.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    fn in_use(&self, task: &TaskId) -> InUse {
        InUse { connections: self.usage.connections(task), lease_until: None }
    }
}
