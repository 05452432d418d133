//! Which sandboxes of ended tasks are kept: the last few of each app, and not more than a bound in
//! all. Pure; the caller removes what this names.

use std::collections::VecDeque;

/// The folders of ended tasks, the oldest first.
#[derive(Debug)]
pub struct Retention {
    ended: VecDeque<String>,
    per_app: usize,
    in_all: usize,
}

impl Retention {
    /// Keeps `per_app` folders of each app and `in_all` together.
    pub fn new(per_app: usize, in_all: usize) -> Retention {
        Retention { ended: VecDeque::new(), per_app, in_all }
    }

    /// Notes that the task with this folder has ended. Returns the folders to remove.
    pub fn ended(&mut self, folder: String) -> Vec<String> {
        let app = app_of(&folder).to_owned();
        self.ended.retain(|f| *f != folder);
        self.ended.push_back(folder);
        let mut surplus: Vec<String> = Vec::new();
        let mut excess =
            self.ended.iter().filter(|f| app_of(f) == app).count().saturating_sub(self.per_app);
        self.ended.retain(|f| {
            let goes = excess > 0 && app_of(f) == app;
            if goes {
                excess -= 1;
                surplus.push(f.clone());
            }
            !goes
        });
        while self.ended.len() > self.in_all {
            surplus.extend(self.ended.pop_front());
        }
        surplus
    }
}

/// A task's id begins with its app's.
fn app_of(folder: &str) -> &str {
    folder.split_once(".instance-").map_or(folder, |(app, _)| app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_an_app_go_first() {
        let mut retention = Retention::new(2, 3);
        let mut end = |folder: &str| retention.ended(folder.to_owned());
        assert!(end("a.instance-1").is_empty());
        assert!(end("b.instance-1").is_empty());
        assert!(end("a.instance-2").is_empty());
        assert!(end("a.instance-2").is_empty());
        assert_eq!(end("a.instance-3"), ["a.instance-1"]);
        assert_eq!(end("c.instance-1"), ["b.instance-1"]);
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_to_be() {
        assert_eq!(Retention::new(0, 10).ended("a".to_owned()), ["a"]);
        assert_eq!(Retention::new(10, 0).ended("a".to_owned()), ["a"]);
    }
}
