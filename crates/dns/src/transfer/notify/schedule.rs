//! When one secondary is told of a change (RFC 1996): a pure core, time and randomness are
//! arguments.
//!
//! At most one NOTIFY is under way, and none sooner than [`INTERVAL`] after the one before: what
//! changes in between is told together. Without an acknowledgment it is sent again, ever more
//! slowly; after [`TRIES`] that version is given up. A dead secondary asks by itself when it comes
//! back (SOA refresh).

use std::time::{Duration, Instant};

use waymark_model::Version;

/// The least time between two NOTIFY to one secondary.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// For how long an acknowledgment is waited for.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The first pause after an attempt without acknowledgment; the next ones are twice as long each,
/// up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often one version is told at most.
pub const TRIES: u32 = 8;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send a NOTIFY with this id.
    Send(u16),
    /// Wait until then, for a later version or for an acknowledgment; `None` = for a version only.
    Wait(Option<Instant>),
    /// Say that the secondary does not answer: it is not told of this version any more.
    GiveUp(Version),
}

/// What is known of one secondary.
#[derive(Debug, Default)]
pub struct Schedule {
    /// The version it has acknowledged, or that was given up.
    settled: Version,
    under_way: Option<Attempt>,
    /// Attempts without acknowledgment since the last one with.
    failures: u32,
    /// How often the version was told.
    tries: (Version, u32),
    /// No attempt before this.
    not_before: Option<Instant>,
    /// A version that was given up and not yet spoken of.
    given_up: Option<Version>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    id: u16,
    version: Version,
    until: Instant,
}

impl Schedule {
    /// What to do at `now`, when the zone is at `version` (0 = not yet made); `random` becomes the
    /// id.
    pub fn next(&mut self, now: Instant, version: Version, random: u16) -> Next {
        if let Some(attempt) = self.under_way {
            if now < attempt.until {
                return Next::Wait(Some(attempt.until));
            }
            self.failed(now);
        }
        if let Some(version) = self.given_up.take() {
            return Next::GiveUp(version);
        }
        if version == self.settled || version == 0 {
            return Next::Wait(None);
        }
        if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
            return Next::Wait(Some(not_before));
        }
        let told = if self.tries.0 == version { self.tries.1 } else { 0 };
        self.tries = (version, told + 1);
        self.under_way = Some(Attempt { id: random, version, until: now + ANSWER_WITHIN });
        self.not_before = Some(now + INTERVAL);
        Next::Send(random)
    }

    /// The attempt under way has come to nothing.
    pub fn failed(&mut self, now: Instant) {
        let Some(attempt) = self.under_way.take() else { return };
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
        if self.tries == (attempt.version, TRIES) {
            self.settled = attempt.version;
            self.given_up = Some(attempt.version);
        }
    }

    /// An acknowledgment with this id came from the secondary; says whether it was waited for.
    pub fn acknowledged(&mut self, id: u16) -> bool {
        let Some(attempt) = self.under_way.filter(|attempt| attempt.id == id) else { return false };
        self.under_way = None;
        self.settled = attempt.version;
        self.failures = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_changes_together() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut secondary = Schedule::default();
        assert_eq!(secondary.next(at(0), 0, 1), Next::Wait(None), "nothing to tell yet");
        assert_eq!(secondary.next(at(0), 7, 1), Next::Send(1));
        let until = at(0) + ANSWER_WITHIN;
        assert_eq!(secondary.next(at(1), 8, 2), Next::Wait(Some(until)), "one under way");
        assert!(!secondary.acknowledged(2));
        assert!(secondary.acknowledged(1));
        assert!(!secondary.acknowledged(1), "once");
        assert_eq!(secondary.next(at(2), 8, 3), Next::Wait(Some(at(500))), "too soon");
        assert_eq!(secondary.next(at(500), 12, 4), Next::Send(4), "all at once");
        assert!(secondary.acknowledged(4));
        assert_eq!(secondary.next(at(9000), 12, 5), Next::Wait(None));
        assert_eq!(secondary.next(at(9000), 13, 6), Next::Send(6), "at once after a quiet time");
    }

    /// Follows the schedule of a secondary that never answers; gives when it was told.
    fn tell(secondary: &mut Schedule, now: &mut Instant, version: Version) -> Vec<Instant> {
        let (mut told, mut given_up) = (Vec::new(), None);
        loop {
            match secondary.next(*now, version, 9) {
                Next::Send(_) => told.push(*now),
                Next::Wait(Some(until)) => *now = until,
                Next::GiveUp(version) => assert_eq!(given_up.replace(version), None),
                Next::Wait(None) => {
                    assert_eq!(given_up, Some(version));
                    return told;
                }
            }
        }
    }

    #[test]
    fn tells_a_silent_secondary_ever_more_slowly() {
        let mut now = Instant::now();
        let mut secondary = Schedule::default();
        let told = tell(&mut secondary, &mut now, 7);
        assert_eq!(told.len(), TRIES as usize);
        let pauses: Vec<u64> = told.windows(2).map(|w| (w[1] - w[0]).as_secs()).collect();
        assert_eq!(pauses, [3, 4, 6, 10, 18, 34, 62]);
        // A new version is told too, and no faster.
        let told = tell(&mut secondary, &mut now, 8);
        assert_eq!(told.len(), TRIES as usize);
        assert!(told.windows(2).all(|w| w[1] - w[0] == LONGEST_PAUSE + ANSWER_WITHIN));
        // When it answers, all is as it was.
        now += LONGEST_PAUSE;
        assert_eq!(secondary.next(now, 9, 3), Next::Send(3));
        assert!(secondary.acknowledged(3));
        assert_eq!(secondary.next(now, 10, 4), Next::Wait(Some(now + INTERVAL)));
    }
}
