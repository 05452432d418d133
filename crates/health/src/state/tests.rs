use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp(1_000_000);

fn check(max: u32) -> HealthCheck {
    HealthCheck {
        max_consecutive_failures: max,
        grace_period: Duration::from_secs(10),
        ..HealthCheck::default()
    }
}

fn failure() -> Outcome {
    Outcome::Failure("status 503".to_owned())
}

/// Plays outcomes (`+`, `-`, `~` neutral), each at so many seconds after the start; tells what the
/// last one led to.
fn play(check: &HealthCheck, script: &[(char, u64)]) -> (Option<HealthResult>, Verdict) {
    let (mut result, mut verdict) = (None, Verdict::default());
    for (what, second) in script {
        let outcome = match what {
            '+' => Outcome::Success,
            '-' => failure(),
            _ => Outcome::Neutral,
        };
        let now = START + Duration::from_secs(*second);
        verdict = record(check, &mut result, START, outcome, now);
    }
    (result, verdict)
}

#[test]
fn table() {
    // (outcomes, alive, failures in a row, changed by the last, kill), with 3 failures allowed.
    type Row<'a> = (&'a [(char, u64)], Option<bool>, u32, bool, bool);
    let table: &[Row] = &[
        (&[('+', 0)], Some(true), 0, true, false),
        (&[('+', 0), ('+', 1)], Some(true), 0, false, false),
        // Within the grace period failures before the first success do not count.
        (&[('-', 0)], None, 0, false, false),
        (&[('-', 0), ('-', 5), ('-', 9)], None, 0, false, false),
        (&[('-', 9), ('-', 10)], Some(false), 1, true, false),
        (&[('-', 9), ('-', 10), ('-', 11), ('-', 12)], Some(false), 3, false, true),
        (&[('-', 10), ('-', 11), ('-', 12), ('-', 13)], Some(false), 4, false, true),
        // After a success they do.
        (&[('+', 0), ('-', 1)], Some(false), 1, true, false),
        (&[('+', 0), ('-', 1), ('-', 2)], Some(false), 2, false, false),
        (&[('+', 0), ('-', 1), ('-', 2), ('-', 3)], Some(false), 3, false, true),
        (&[('+', 0), ('-', 1), ('-', 2), ('+', 3)], Some(true), 0, true, false),
        (&[('+', 0), ('-', 1), ('-', 2), ('+', 3), ('-', 4)], Some(false), 1, true, false),
        // Neutral answers neither count nor reset.
        (&[('~', 0), ('~', 20)], None, 0, false, false),
        (&[('+', 0), ('-', 1), ('-', 2), ('~', 3)], Some(false), 2, false, false),
        (&[('+', 0), ('-', 1), ('~', 2), ('-', 3), ('-', 4)], Some(false), 3, false, true),
    ];
    for (script, alive, failures, changed, kill) in table {
        let (result, verdict) = play(&check(3), script);
        assert_eq!(result.as_ref().map(|r| r.alive), *alive, "{script:?}");
        assert_eq!(result.map_or(0, |r| r.consecutive_failures), *failures, "{script:?}");
        assert_eq!(verdict, Verdict { changed: *changed, kill: *kill }, "{script:?}");
    }
}

#[test]
fn times_and_cause_are_kept() {
    let at = |second| Some(START + Duration::from_secs(second));
    let (result, _) = play(&check(3), &[('+', 1), ('+', 2), ('-', 3), ('-', 4)]);
    let expected = HealthResult {
        alive: false,
        consecutive_failures: 2,
        first_success: at(1),
        last_success: at(2),
        last_failure: at(4),
        last_failure_cause: Some("status 503".to_owned()),
    };
    assert_eq!(result, Some(expected));
}

#[test]
fn a_clock_that_went_back_counts_as_within_the_grace_period() {
    let mut result = None;
    record(&check(1), &mut result, START, failure(), Timestamp(5));
    assert_eq!(result, None);
}

#[test]
fn pauses() {
    let s = Duration::from_secs;
    let ms = Duration::from_millis;
    // (interval, succeeded, attempts, pause)
    for (interval, succeeded, attempts, want) in [
        (s(60), true, 1, s(60)),
        (s(60), true, 9, s(60)),
        (s(0), true, 1, MIN_INTERVAL),
        (s(60), false, 0, ms(25)),
        (s(60), false, 1, ms(25)),
        (s(60), false, 2, ms(50)),
        (s(60), false, 7, ms(1600)),
        (s(60), false, 9, s(5)),
        (s(60), false, u32::MAX, s(5)),
        (s(2), false, 9, s(2)),
        (s(0), false, 9, MIN_INTERVAL),
    ] {
        assert_eq!(pause_before_next(interval, succeeded, attempts, 0), want);
        let least = pause_before_next(interval, succeeded, attempts, u64::MAX);
        assert!(least < want && least >= want - want / 10, "{least:?} of {want:?}");
    }
}

#[test]
fn readiness() {
    let check = ReadinessCheck {
        name: "readinessCheck".to_owned(),
        https: false,
        path: "/".to_owned(),
        port_name: "http-api".to_owned(),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        ready_codes: vec![200],
        preserve_last_response: true,
    };
    let answer =
        |status| Response { status, content_type: "text/plain".to_owned(), body: String::new() };
    let mut state = ReadinessState::default();
    let refused = Outcome::Failure("connection refused".to_owned());
    assert!(!state.record(&check, &refused, None));
    let shown = Response { body: "connection refused".to_owned(), ..answer(504) };
    assert_eq!(state.last_response, Some(shown));
    assert!(!state.record(&check, &failure(), Some(answer(503))));
    assert_eq!(state.last_response, Some(answer(503)));
    assert!(state.record(&check, &Outcome::Success, Some(answer(200))));
    assert!(!state.record(&check, &failure(), Some(answer(503))));
    assert_eq!(state, ReadinessState { ready: true, last_response: Some(answer(200)) });

    let forgetful = ReadinessCheck { preserve_last_response: false, ..check };
    let mut state = ReadinessState::default();
    state.record(&forgetful, &failure(), Some(answer(503)));
    assert_eq!(state, ReadinessState::default());
}

proptest! {
    /// Kill is said exactly when the last `max` or more counted outcomes were failures.
    #[test]
    fn kills_after_exactly_n_failures_in_a_row(
        max in 0u32..5,
        script in prop::collection::vec((prop_oneof!["\\+", "-", "-", "~"], 0u64..4), 1..60),
    ) {
        let check = check(max);
        let (mut result, mut second, mut in_a_row, mut succeeded) = (None, 0, 0, false);
        let mut alive_before = None;
        for (what, step) in script {
            second += step;
            let outcome = match what.as_str() {
                "+" => {
                    (in_a_row, succeeded) = (0, true);
                    Outcome::Success
                }
                "-" => {
                    in_a_row += u32::from(succeeded || second >= 10);
                    failure()
                }
                _ => Outcome::Neutral,
            };
            let neutral = outcome == Outcome::Neutral;
            let now = START + Duration::from_secs(second);
            let verdict = record(&check, &mut result, START, outcome, now);
            prop_assert_eq!(verdict.kill, !neutral && max > 0 && in_a_row >= max);
            let alive = result.as_ref().map(|r| r.alive);
            prop_assert_eq!(verdict.changed, alive != alive_before);
            prop_assert_eq!(result.as_ref().map_or(0, |r| r.consecutive_failures), in_a_row);
            if let Some(r) = &result {
                prop_assert_eq!(r.alive, in_a_row == 0);
            }
            alive_before = alive;
        }
    }
}
