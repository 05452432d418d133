//! Whether a server answers: pure, time is an argument.
//!
//! A server that was silent is pushed back behind those that answer, for a second at first, twice
//! as long after each further failure. When that time is over one question is sent to it in the
//! background; no client waits for it. Its first answer puts it back into its place in the list.

use std::time::{Duration, Instant};

/// The first time for which a server is pushed back.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Failures in a row after which the log says that a server does not answer.
const LOGGED_FAILURES: u32 = 3;
/// For how long a server is asked without EDNS after it did not understand it.
const PLAIN_TIME: Duration = Duration::from_secs(15 * 60);
/// A server that loses races is asked by itself after it was not heard from for so long.
const UNHEARD: Duration = Duration::from_secs(5);

/// What is known of one server.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    /// Pushed back until then; afterwards it is to be probed.
    until: Option<Instant>,
    /// Since when a probe is under way.
    probing: Option<Instant>,
    heard: Option<Instant>,
    plain_until: Option<Instant>,
}

/// What the log is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Down,
    Up,
}

impl Health {
    /// Whether it answers, as far as known.
    pub(super) fn is_up(&self) -> bool {
        self.failures == 0
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Change> {
        let was_logged = self.failures >= LOGGED_FAILURES;
        self.failures = 0;
        self.until = None;
        self.probing = None;
        self.heard = Some(now);
        was_logged.then_some(Change::Up)
    }

    /// It was silent, or the network does not lead there.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Change> {
        self.probing = None;
        // Questions that were under way together fail together: one failure.
        if self.until.is_some_and(|until| now < until) {
            return None;
        }
        let doublings = self.failures.min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
        (self.failures == LOGGED_FAILURES).then_some(Change::Down)
    }

    /// Whether to ask it now in the background; if so the asker does, and reports.
    pub(super) fn begin_probe(&mut self, now: Instant, longest: Duration) -> bool {
        let is_due = self.until.is_some_and(|until| until <= now);
        let is_open = self.probing.is_some_and(|since| now < since + longest);
        let begins = is_due && !is_open;
        if begins {
            self.probing = Some(now);
        }
        begins
    }

    /// The same for a server that lost a race: it may be slow, or dead.
    pub(super) fn begin_probe_of_loser(&mut self, now: Instant, longest: Duration) -> bool {
        let is_open = self.probing.is_some_and(|since| now < since + longest);
        let is_heard = self.heard.is_some_and(|heard| now < heard + UNHEARD);
        let begins = self.is_up() && !is_open && !is_heard;
        if begins {
            self.probing = Some(now);
        }
        begins
    }

    /// It does not understand EDNS.
    pub(super) fn does_no_edns(&mut self, now: Instant) {
        self.plain_until = Some(now + PLAIN_TIME);
    }

    /// Whether it is asked with EDNS.
    pub(super) fn edns(&self, now: Instant) -> bool {
        self.plain_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(10);

    #[test]
    fn pushed_back_probed_and_back() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.is_up());
        assert_eq!(health.failed(start), None);
        assert!(!health.is_up());
        // Failures of the same moment count once.
        assert_eq!(health.failed(start + SECOND / 2), None);
        assert!(!health.begin_probe(start + SECOND / 2, LONGEST));
        assert!(health.begin_probe(start + SECOND, LONGEST));
        assert!(!health.begin_probe(start + SECOND, LONGEST), "one is under way");
        assert!(health.begin_probe(start + SECOND + LONGEST, LONGEST), "one that was lost");
        assert_eq!(health.answered(start + SECOND * 12), None);
        assert!(health.is_up());
        assert!(!health.begin_probe(start + SECOND * 99, LONGEST));
    }

    #[test]
    fn pauses_grow_and_changes_are_told_once() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut pauses = Vec::new();
        let mut changes = Vec::new();
        for _ in 0..8 {
            changes.extend(health.failed(now));
            let until = health.until.unwrap();
            pauses.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(changes, [Change::Down]);
        assert_eq!(health.answered(now), Some(Change::Up));
        assert_eq!(health.answered(now), None);
    }

    #[test]
    fn losers_of_races() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.begin_probe_of_loser(start, LONGEST));
        assert!(!health.begin_probe_of_loser(start, LONGEST));
        health.answered(start);
        assert!(!health.begin_probe_of_loser(start + SECOND * 4, LONGEST));
        assert!(health.begin_probe_of_loser(start + SECOND * 5, LONGEST));
    }

    #[test]
    fn edns_is_tried_again() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.edns(start));
        health.does_no_edns(start);
        assert!(!health.edns(start + SECOND));
        assert!(health.edns(start + PLAIN_TIME));
    }
}
