//! Loopback addresses of an instance's own, so that it uses the usual ports and meets nobody.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{Flock, FlockArg};

use crate::eventually;

/// 127.77.N.0/24, for as long as it lives; a lock file says whose it is.
pub struct Network {
    third: u8,
    spare: AtomicU8,
    _lock: Flock<File>,
}

impl Network {
    pub(crate) fn take() -> Network {
        let folder = std::env::temp_dir().join("waymark-story-networks");
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        eventually("a free network", || {
            (1..=250).find_map(|third| {
                let file = File::create(folder.join(third.to_string())).ok()?;
                let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()?;
                Some(Network { third, spare: AtomicU8::new(100), _lock: lock })
            })
        })
    }

    /// The address that ends in `last`.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, self.third, last)
    }

    /// An address that nobody else has been given.
    pub fn spare_address(&self) -> Ipv4Addr {
        self.address(self.spare.fetch_add(1, Ordering::Relaxed))
    }
}
