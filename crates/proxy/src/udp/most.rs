//! How many sessions there may be. Pure.

use crate::config::Limits;

/// The most sessions, each of which needs a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Most {
    /// Of all services together.
    pub(crate) all: usize,
    /// Of one service.
    pub(crate) each: usize,
}

impl Most {
    /// As the limits say, but at most half of the `descriptors`: the rest are for connections. When
    /// that is less than the limits say, a service's share shrinks with it.
    pub(crate) fn new(limits: &Limits, descriptors: usize) -> Most {
        let all = limits.udp_sessions.min(descriptors / 2).max(1);
        let wanted = limits.udp_sessions.max(1);
        let each = limits.udp_service_sessions.min(wanted) as u128;
        let share = (each * all as u128).div_ceil(wanted as u128);
        Most { all, each: usize::try_from(share).unwrap_or(all).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_service_can_have_what_all_have() {
        let most = |udp_sessions, udp_service_sessions, descriptors| {
            let limits = Limits { udp_sessions, udp_service_sessions, ..Limits::default() };
            let Most { all, each } = Most::new(&limits, descriptors);
            (all, each)
        };
        assert_eq!(most(65_536, 16_384, 1 << 20), (65_536, 16_384));
        assert_eq!(most(65_536, 16_384, 896), (448, 112), "so many as `ulimit -n 1024` leaves");
        assert_eq!(most(65_536, 65_536, 896), (448, 448), "if that is wanted");
        assert_eq!(most(100, 1000, 1 << 20), (100, 100));
        assert_eq!(most(10, 3, 10), (5, 2));
        assert_eq!(most(65_536, 16_384, 0), (1, 1));
        assert_eq!(most(usize::MAX, usize::MAX, usize::MAX), (usize::MAX / 2, usize::MAX / 2));
    }
}
