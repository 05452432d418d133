//! What the stories share: the binary as a child process on ports of its own, HTTP and DNS clients,
//! steady load, and waiting by polling with a deadline.
//!
//! Every story starts its own Waymark in its own temporary data folder with port 0 everywhere, so
//! stories run side by side. The ports are read from `endpoints.json`, as users' scripts do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a story fails by panicking"
)]

mod dns;
mod http;
mod lb;
mod load;
mod marathon;
mod master_proxy;
mod mesos;
mod mesos_dns;
mod namespace;
mod steady;
mod successor;
mod waymark;

pub use dns::{Answer, resolve};
pub use http::{Reply, get, raw_exchange, request};
pub use lb::Lb;
pub use load::{Load, LoadKind, Outcome};
pub use marathon::{FakeMarathon, MarathonFault, app as fake_app, task as fake_task};
pub use master_proxy::{Behaviour, MasterProxy};
pub use mesos::{
    Framework, Identity, MASTER_PORT, Mesos, MesosOptions, MesosTask, MesosTls, Network,
};
pub use mesos_dns::{MesosDns, NameWatch};
pub use namespace::Namespace;
pub use steady::Steady;
pub use successor::Successor;
pub use waymark::{Waymark, binary, repository};

use std::time::{Duration, Instant};

/// The longest any story waits for anything: generous, since CI machines are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls `probe` until it gives a value; fails the story with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A range of 400 ports for one Waymark's service ports and one of 400 for its tasks that no other
/// story of any test process takes: a lock file a range says whose it is.
pub fn port_ranges() -> PortRanges {
    waymark::PortRanges::take()
}

pub use waymark::PortRanges;
