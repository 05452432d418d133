//! How fast counters grow, from one asking for statistics to the next; nothing is measured on the
//! way of a request. Pure: counts and time are arguments.

use std::collections::HashMap;

/// Statistics that are asked for sooner than this after the last time get the same rates, in
/// milliseconds: several may ask.
const SPAN_MS: u64 = 1000;

/// What is remembered of each line of statistics.
#[derive(Default)]
pub(super) struct Rates {
    /// When counts were taken last, in milliseconds.
    at: u64,
    /// The time since those before; 0 = counts are not taken this time.
    elapsed: u64,
    /// Of which asking this is.
    turn: u64,
    lines: HashMap<String, Line>,
}

#[derive(Default)]
struct Line {
    count: u64,
    turn: u64,
    seen: Rate,
}

/// What a line says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    /// How many came a second.
    pub(super) now: u64,
    /// The highest such.
    pub(super) most: u64,
    /// The most that were open at one time when statistics were asked for.
    pub(super) open: u64,
}

impl Rates {
    /// Statistics are asked for. `now` in milliseconds.
    pub(super) fn begin(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.at);
        self.elapsed = if elapsed >= SPAN_MS { elapsed } else { 0 };
        if self.elapsed > 0 {
            self.at = now;
        }
        self.turn += 1;
    }

    /// The rates of a line that has counted so many and has so many open.
    pub(super) fn of(&mut self, proxy: &str, server: &str, count: u64, open: u64) -> Rate {
        let (elapsed, turn) = (self.elapsed, self.turn);
        let name = format!("{proxy}/{server}");
        let line = self.lines.entry(name).or_insert(Line { count, ..Line::default() });
        // Two tasks at one address are one line here.
        if elapsed > 0 && line.turn != turn {
            line.seen.now = count.saturating_sub(line.count).saturating_mul(1000) / elapsed;
            line.seen.most = line.seen.most.max(line.seen.now);
            line.count = count;
        }
        line.turn = turn;
        line.seen.open = line.seen.open.max(open);
        line.seen
    }

    /// Forgets lines that there are no more.
    pub(super) fn end(&mut self) {
        let turn = self.turn;
        self.lines.retain(|_, line| line.turn == turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_rates() {
        let mut rates = Rates::default();
        let mut ask = |now, count, open| {
            rates.begin(now);
            let rate = rates.of("web_1", "BACKEND", count, open);
            rates.end();
            (rate.now, rate.most, rate.open)
        };
        assert_eq!(ask(10_000, 500, 3), (0, 0, 3), "since when is not known");
        assert_eq!(ask(10_200, 900, 5), (0, 0, 5), "too soon");
        assert_eq!(ask(12_000, 900, 1), (200, 200, 5));
        assert_eq!(ask(14_000, 1000, 1), (50, 200, 5));
        assert_eq!(ask(16_000, 0, 1), (0, 200, 5), "a task anew");
    }

    #[test]
    fn lines_that_go_are_forgotten() {
        let mut rates = Rates::default();
        rates.begin(5_000);
        rates.of("a", "x", 1, 1);
        rates.of("a", "y", 1, 1);
        rates.end();
        rates.begin(7_000);
        rates.of("a", "y", 1, 1);
        rates.end();
        assert_eq!(rates.lines.len(), 1);
    }
}
