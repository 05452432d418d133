//! The system's limit of open files, and the balancer's share of it; how long peers may be silent.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::TcpKeepalive;
use thiserror::Error;

/// How often an idle peer is asked whether it is still there, until it counts as gone.
const PROBES: u32 = 4;

/// The limit of open files could not be read or set.
#[derive(Debug, Error)]
#[error("the limit of open files (ulimit -n) cannot be {action}: {source}")]
pub struct NofileError {
    action: &'static str,
    source: nix::Error,
}

/// Raises the process's soft limit of open files to its hard limit; returns both as they are now.
/// For the program to call once at its start; child processes inherit it.
pub fn raise_nofile_limit() -> Result<(u64, u64), NofileError> {
    let (soft, hard) = nofile_limit()?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
            .map_err(|source| NofileError { action: "raised", source })?;
    }
    Ok((hard, hard))
}

pub(crate) fn nofile_limit() -> Result<(u64, u64), NofileError> {
    getrlimit(Resource::RLIMIT_NOFILE).map_err(|source| NofileError { action: "read", source })
}

/// How many descriptors the balancer may hold when the process may open `soft`: an eighth is left
/// to everything else in the process, so that a flood of clients cannot stop the API, the store or
/// the launch of a task.
pub(crate) fn descriptor_budget(soft: u64) -> usize {
    usize::try_from(soft - soft / 8).unwrap_or(usize::MAX).min(tokio::sync::Semaphore::MAX_PERMITS)
}

/// What the kernel asks of a connection that was silent for so long: whether its peer is still there.
/// After as long again without an answer the peer counts as gone.
pub(crate) fn probes(peer_timeout: Duration) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(peer_timeout)
        .with_interval(peer_timeout / PROBES)
        .with_retries(PROBES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_to_the_hard_limit() {
        let (soft, hard) = raise_nofile_limit().unwrap();
        assert_eq!(soft, hard);
        assert_eq!(nofile_limit().unwrap(), (soft, hard));
    }

    #[test]
    fn an_eighth_is_left() {
        assert_eq!(descriptor_budget(1024), 896);
        assert_eq!(descriptor_budget(20_000), 17_500);
        assert!(descriptor_budget(u64::MAX) > 1 << 40);
    }
}
