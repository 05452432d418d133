//! Frames that cost us and give the sender nothing, counted as they arrive.
//!
//! In: the bytes of a connection, in any pieces. Out: [`Flood`] once there were too many. It looks
//! at frame headers only (RFC 9113 §4.1), never at what is in them; that is the library's part,
//! which bounds header lists, CONTINUATION and empty DATA frames itself.
//!
//! Pure: the time is an argument.

use thiserror::Error;

use super::limits::{CONTROL_BURST, CONTROL_PER_SECOND, RESET_BURST, RESETS_PER_SECOND};

/// "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" comes before the first frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's header.
const FRAME_HEADER: usize = 9;

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Streams are opened only to be reset (CVE-2023-44487).
    #[error("too many streams were reset")]
    Resets,
    /// PING (CVE-2019-9512), SETTINGS (CVE-2019-9515), PRIORITY (CVE-2019-9513) or unknown frames.
    #[error("too many control frames")]
    Control,
}

/// Counts the frames of one connection.
#[derive(Debug)]
pub(crate) struct FrameWatch {
    /// Bytes until the next frame header begins.
    skip: usize,
    header: [u8; FRAME_HEADER],
    /// How much of `header` has arrived.
    have: usize,
    resets: Allowance,
    control: Allowance,
}

/// What may still come. Kept in halves: a new stream allows half a reset.
#[derive(Debug)]
struct Allowance {
    halves: u32,
    burst: u32,
    per_second: u32,
    /// Milliseconds at which it last grew.
    at: u64,
}

impl Allowance {
    fn new(burst: u32, per_second: u32) -> Allowance {
        Allowance { halves: 2 * burst, burst, per_second, at: 0 }
    }

    fn grow(&mut self, halves: u32) {
        self.halves = self.halves.saturating_add(halves).min(2 * self.burst);
    }

    /// Takes one; `false` when there is none, also after what has come back until `now`.
    fn take(&mut self, now: u64) -> bool {
        if self.halves < 2 {
            let back = now.saturating_sub(self.at) * 2 * u64::from(self.per_second) / 1000;
            self.grow(u32::try_from(back).unwrap_or(u32::MAX));
            self.at = now;
        }
        let left = self.halves.checked_sub(2);
        self.halves = left.unwrap_or(self.halves);
        left.is_some()
    }
}

impl FrameWatch {
    /// For a connection whose preface is still to come.
    pub(crate) fn new() -> FrameWatch {
        FrameWatch {
            skip: PREFACE.len(),
            header: [0; FRAME_HEADER],
            have: 0,
            resets: Allowance::new(RESET_BURST, RESETS_PER_SECOND),
            control: Allowance::new(CONTROL_BURST, CONTROL_PER_SECOND),
        }
    }

    /// Counts what has arrived at `now`, in milliseconds since any moment.
    pub(crate) fn see(&mut self, mut bytes: &[u8], now: u64) -> Result<(), Flood> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = FRAME_HEADER - self.have;
            let (part, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            if let Some(to) = self.header.get_mut(self.have..self.have + part.len()) {
                to.copy_from_slice(part);
            }
            self.have += part.len();
            bytes = rest;
            if self.have == FRAME_HEADER {
                self.have = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: u64) -> Result<(), Flood> {
        let [a, b, c, kind, ..] = self.header;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        match kind {
            // DATA, PUSH_PROMISE (refused), GOAWAY, WINDOW_UPDATE, CONTINUATION
            0x0 | 0x5 | 0x7..=0x9 => Ok(()),
            // HEADERS: browsers send a PRIORITY frame or two for each stream.
            0x1 => {
                self.resets.grow(1);
                self.control.grow(4);
                Ok(())
            }
            0x3 => self.resets.take(now).then_some(()).ok_or(Flood::Resets),
            _ => self.control.take(now).then_some(()).ok_or(Flood::Control),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADERS: u8 = 1;
    const PRIORITY: u8 = 2;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let length_bytes = u32::try_from(length).expect("short").to_be_bytes();
        let mut frame = length_bytes[1..].to_vec();
        frame.push(kind);
        frame.extend([0; 5]);
        frame.resize(FRAME_HEADER + length, 3);
        frame
    }

    fn watch() -> FrameWatch {
        let mut watch = FrameWatch::new();
        watch.see(PREFACE, 0).expect("no frame");
        watch
    }

    /// How many rounds of these frames, a millisecond apart, are taken, up to 100,000.
    fn rounds(kinds: &[u8]) -> (u64, Option<Flood>) {
        let mut watch = watch();
        for round in 0..100_000 {
            for kind in kinds {
                if let Err(flood) = watch.see(&frame(*kind, 5), round) {
                    return (round, Some(flood));
                }
            }
        }
        (100_000, None)
    }

    #[test]
    fn rapid_resets_end_soon() {
        let (taken, flood) = rounds(&[HEADERS, RESET]);
        assert_eq!(flood, Some(Flood::Resets));
        assert!((200..250).contains(&taken), "{taken}");
    }

    #[test]
    fn half_of_all_streams_may_be_reset() {
        assert_eq!(rounds(&[HEADERS, HEADERS, RESET]).1, None);
    }

    #[test]
    fn slow_resets_never_end_a_connection() {
        let mut watch = watch();
        for second in 0..10_000 {
            for _ in 0..RESETS_PER_SECOND {
                watch.see(&frame(RESET, 4), second * 1000).expect("few enough");
            }
        }
    }

    #[test]
    fn floods_of_control_frames_end_soon() {
        for kind in [PING, SETTINGS, PRIORITY, 0xee] {
            let (taken, flood) = rounds(&[kind]);
            assert_eq!(flood, Some(Flood::Control));
            assert!((500..530).contains(&taken), "{taken}");
        }
    }

    #[test]
    fn a_browsers_priorities_are_no_flood() {
        assert_eq!(rounds(&[HEADERS, PRIORITY, PRIORITY]).1, None);
    }

    proptest! {
        /// Where the bytes are cut changes nothing, and what is in a frame is never taken for one.
        #[test]
        fn cuts_do_not_matter(
            frames in prop::collection::vec((0u8..12, 0usize..40), 0..1500),
            cut in 1usize..64,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(k, l)| frame(*k, *l)).collect();
            let whole = watch().see(&bytes, 7);
            let mut pieces = watch();
            let cut = bytes.chunks(cut).try_for_each(|piece| pieces.see(piece, 7));
            prop_assert_eq!(whole, cut);
        }
    }
}
