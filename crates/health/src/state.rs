//! What outcomes mean, and when to probe again. Pure.

use std::time::Duration;

use waymark_model::{HealthCheck, HealthResult, ReadinessCheck, Timestamp};

/// The pause after the first probe of a task that has never been seen well; it doubles from there.
pub const FIRST_RETRY: Duration = Duration::from_millis(25);
/// The longest pause between probes before the first success.
pub const EAGER_LIMIT: Duration = Duration::from_secs(5);
/// The shortest interval between probes, whatever a check says.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Success,
    /// It is not; one clear sentence says what (`connection refused`, `status 503`).
    Failure(String),
    /// It says nothing either way (`ignoreHttp1xx`).
    Neutral,
}

/// What follows from an outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The check's `alive` flag changed, or this is its first result.
    pub changed: bool,
    /// The task is to be killed. Said again with every further failure.
    pub kill: bool,
}

/// Notes an outcome in `result`, the check's result so far.
///
/// As in Marathon, a failure before the first success does not count while the task started less
/// than `gracePeriodSeconds` ago: the result stays as it is, unknown at first. One failure that
/// counts makes the check not alive; `maxConsecutiveFailures` of them in a row (0 = never) are the
/// task's end.
pub fn record(
    check: &HealthCheck,
    result: &mut Option<HealthResult>,
    started_at: Timestamp,
    outcome: Outcome,
    now: Timestamp,
) -> Verdict {
    let was_alive = result.as_ref().map(|r| r.alive);
    match outcome {
        Outcome::Neutral => return Verdict::default(),
        Outcome::Success => {
            let result = result.get_or_insert_default();
            result.alive = true;
            result.consecutive_failures = 0;
            result.first_success.get_or_insert(now);
            result.last_success = Some(now);
        }
        Outcome::Failure(cause) => {
            let succeeded = result.as_ref().is_some_and(|r| r.first_success.is_some());
            if !succeeded && now.since(started_at) < check.grace_period {
                return Verdict::default();
            }
            let result = result.get_or_insert_default();
            result.alive = false;
            result.consecutive_failures = result.consecutive_failures.saturating_add(1);
            result.last_failure = Some(now);
            result.last_failure_cause = Some(cause);
        }
    }
    let (alive, failures) =
        result.as_ref().map_or((false, 0), |r| (r.alive, r.consecutive_failures));
    let limit = check.max_consecutive_failures;
    Verdict { changed: was_alive != Some(alive), kill: limit > 0 && failures >= limit }
}

/// How long after the beginning of a probe the next one begins.
///
/// A check that has never succeeded is tried eagerly, so that a fresh task is seen well soon after
/// it is: [`FIRST_RETRY`], doubling with each of the `attempts` made so far up to `interval` or
/// [`EAGER_LIMIT`]. Afterwards every `interval`. Up to a tenth is taken off by `random`, any 64
/// bits, so that probes of tasks that started together drift apart.
pub fn pause_before_next(
    interval: Duration,
    succeeded: bool,
    attempts: u32,
    random: u64,
) -> Duration {
    let interval = interval.max(MIN_INTERVAL);
    let pause = if succeeded {
        interval
    } else {
        let doublings = attempts.saturating_sub(1).min(16);
        (FIRST_RETRY * (1 << doublings)).min(EAGER_LIMIT).min(interval)
    };
    let tenth = u32::try_from(random % 1024).unwrap_or(0);
    pause - pause / 10 * tenth / 1024
}

/// An answer, kept for people (`preserveLastResponse`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The `Content-Type`, empty when there was none.
    pub content_type: String,
    /// The beginning of the body, as text.
    pub body: String,
}

/// What a readiness check has found about one task so far. It gates a deployment: once ready, a
/// task stays so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadinessState {
    /// Whether one answer had a listed code.
    pub ready: bool,
    /// The latest answer, if the check keeps it.
    pub last_response: Option<Response>,
}

impl ReadinessState {
    /// Notes an outcome and the answer it came from; returns whether the task became ready by it.
    /// A failure without an answer is kept as a 504 with the cause as text, as in Marathon.
    pub fn record(
        &mut self,
        check: &ReadinessCheck,
        outcome: &Outcome,
        response: Option<Response>,
    ) -> bool {
        if self.ready {
            return false;
        }
        self.ready = *outcome == Outcome::Success;
        let unanswered = || match outcome {
            Outcome::Failure(cause) => Some(Response {
                status: 504,
                content_type: "text/plain".to_owned(),
                body: cause.clone(),
            }),
            _ => None,
        };
        if check.preserve_last_response {
            self.last_response = response.or_else(unanswered);
        }
        self.ready
    }
}

#[cfg(test)]
mod tests;
