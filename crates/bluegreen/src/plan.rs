//! What a deployment aims at, and how fast it goes there.

use std::time::Duration;

use serde_json::Value;

use crate::former::label;

/// What a deployment aims at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Tasks in the end, of both colours together.
    pub target: u32,
    /// Tasks of the new colour to stop with, leaving the rest to the old one.
    pub hybrid: Option<u32>,
    /// How the new app grows.
    pub growth: Growth,
    /// How long nothing may get better at the balancers, in one step.
    pub max_wait: Duration,
    /// How long nothing may get better while Marathon starts tasks; for ever without it.
    pub start_wait: Option<Duration>,
    /// Which way it goes.
    pub direction: Direction,
}

/// Which way a deployment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the newer colour.
    Forward,
    /// Back to the older one, whatever Marathon is still doing with the newer.
    Back,
}

/// How the new app grows from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// By half of what it has: 1, 2, 3, 5, 8 …; to the end once that is as many as the old app has.
    Half,
    /// By so many.
    Linear(u32),
    /// To the end at once.
    Whole,
}

impl Plan {
    /// Tasks that the new app is to have.
    pub fn goal(&self) -> u32 {
        self.hybrid.unwrap_or(self.target)
    }

    /// How many tasks the new app has after the next step, of `new` and beside `old` ones of the old
    /// app, as zdd.py counts.
    pub fn grown(&self, new: u32, old: u32) -> u32 {
        let more = match self.growth {
            Growth::Half => new.saturating_add(new.saturating_add(1) / 2),
            Growth::Linear(by) => new.saturating_add(by),
            Growth::Whole => self.goal(),
        };
        // From nothing half of it more is nothing.
        let more = more.max(new.saturating_add(1));
        let more = match self.growth {
            Growth::Half if self.hybrid.is_none() && more >= old => self.goal(),
            _ => more,
        };
        more.min(self.goal())
    }

    /// The numbers of new and old tasks after each step, beginning with `new` and `old`, when nothing
    /// goes wrong: for people to see before it is done. At most `limit` of them.
    pub fn course(&self, mut new: u32, mut old: u32, limit: usize) -> Vec<(u32, u32)> {
        let mut course = vec![(new, old)];
        while course.len() < limit {
            let left = old.min(self.target.saturating_sub(new));
            let grown = if new < self.goal() { self.grown(new, old) } else { new };
            if (grown, left) == (new, old) {
                break;
            }
            (new, old) = (grown, left);
            course.push((new, old));
        }
        course
    }
}

/// A label that holds a number of tasks.
pub fn number_label(app: &Value, name: &str) -> Option<u32> {
    label(app, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(target: u32, hybrid: Option<u32>, growth: Growth) -> Plan {
        Plan {
            target,
            hybrid,
            growth,
            max_wait: Duration::from_secs(300),
            start_wait: None,
            direction: Direction::Forward,
        }
    }

    #[test]
    fn growth_is_that_of_zdd() {
        let half = plan(100, None, Growth::Half);
        let steps: Vec<u32> = [1, 2, 3, 5, 8, 12].map(|n| half.grown(n, 100)).to_vec();
        assert_eq!(steps, [2, 3, 5, 8, 12, 18]);
        assert_eq!(half.grown(60, 40), 100, "as many as the old one has: all");
        assert_eq!(half.grown(0, 3), 1);
        let linear = plan(10, None, Growth::Linear(4));
        assert_eq!([1, 5, 9].map(|n| linear.grown(n, 10)), [5, 9, 10]);
        assert_eq!(linear.grown(5, 2), 9, "by steps to the end");
        let hybrid = plan(10, Some(4), Growth::Half);
        assert_eq!([1, 2, 3].map(|n| hybrid.grown(n, 1)), [2, 3, 4]);
        assert_eq!(plan(10, None, Growth::Whole).grown(1, 10), 10);
    }

    #[test]
    fn the_course_is_told_before() {
        let half = plan(4, None, Growth::Half);
        assert_eq!(half.course(1, 4, 50), [(1, 4), (2, 3), (4, 2), (4, 0)]);
        let hybrid = plan(4, Some(2), Growth::Half);
        assert_eq!(hybrid.course(1, 4, 50), [(1, 4), (2, 3), (2, 2)]);
        assert_eq!(plan(0, None, Growth::Half).course(0, 0, 50), [(0, 0)]);
        assert_eq!(plan(1, None, Growth::Half).course(1, 1, 50), [(1, 1), (1, 0)]);
    }
}
