//! Serial numbers: a catalog's version modulo 2³², compared as RFC 1982 says.

use waymark_model::Version;

/// The serial of a version.
pub fn of(version: Version) -> u32 {
    version as u32
}

/// Whether `a` is later than `b`. Numbers that lie 2³¹ apart are in no order (RFC 1982 §3.2): then
/// neither is later.
pub fn is_later(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_goes_round() {
        assert_eq!(of(0x1_0000_0007), 7);
        for (a, b, later) in [
            (1, 0, true),
            (0, 1, false),
            (5, 5, false),
            (0, u32::MAX, true),
            (u32::MAX, 0, false),
            (0x7fff_ffff, 0, true),
            (0x8000_0000, 0, false),
            (0, 0x8000_0000, false),
            (0x8000_0001, 0, false),
        ] {
            assert_eq!(is_later(a, b), later, "{a} {b}");
        }
    }
}
