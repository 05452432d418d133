//! What the right side tells the left when asked: how far an output has got, and whether a task is
//! still in use. The drain before a kill is made of these two answers.

use std::sync::Arc;
use std::time::Instant;

use waymark_model::{TaskId, Version};

/// Something that serves the catalog: the DNS server, the load balancer.
pub trait Output: Send + Sync {
    /// A short name for logs and metrics (`dns`, `proxy`).
    fn name(&self) -> &'static str;

    /// The newest catalog version that everything this output answers is made from.
    fn applied(&self) -> Version;

    /// What may still be using the task. Exact once [`Output::applied`] has reached a version in
    /// which the task is draining, since nothing new can start then.
    fn in_use(&self, task: &TaskId) -> InUse;
}

/// What may still be using a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Open connections or sessions to it.
    pub connections: usize,
    /// Until when an address that was handed out may still be cached; `None` = never handed out.
    pub lease_until: Option<Instant>,
}

/// All outputs of this process.
#[derive(Clone, Default)]
pub struct Outputs(Vec<Arc<dyn Output>>);

impl Outputs {
    /// The given outputs.
    pub fn new(outputs: Vec<Arc<dyn Output>>) -> Outputs {
        Outputs(outputs)
    }

    /// The oldest version any output still serves; `None` without outputs.
    pub fn applied(&self) -> Option<Version> {
        self.0.iter().map(|o| o.applied()).min()
    }

    /// Whether every output serves `version` or newer.
    pub fn have_applied(&self, version: Version) -> bool {
        self.applied().is_none_or(|applied| applied >= version)
    }

    /// The sum over all outputs of what may still be using a task.
    pub fn in_use(&self, task: &TaskId) -> InUse {
        self.0.iter().map(|o| o.in_use(task)).fold(InUse::default(), |a, b| InUse {
            connections: a.connections + b.connections,
            lease_until: a.lease_until.max(b.lease_until),
        })
    }

    /// Each output's name with the version it serves.
    pub fn each_applied(&self) -> impl Iterator<Item = (&'static str, Version)> {
        self.0.iter().map(|o| (o.name(), o.applied()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Fixed(Version, InUse);

    impl Output for Fixed {
        fn name(&self) -> &'static str {
            "fixed"
        }
        fn applied(&self) -> Version {
            self.0
        }
        fn in_use(&self, _: &TaskId) -> InUse {
            self.1
        }
    }

    #[test]
    fn all_must_have_applied_and_use_adds_up() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let outputs = Outputs::new(vec![
            Arc::new(Fixed(7, InUse { connections: 2, lease_until: None })),
            Arc::new(Fixed(9, InUse { connections: 1, lease_until: Some(later) })),
        ]);
        assert!(outputs.have_applied(7) && !outputs.have_applied(8));
        let used = outputs.in_use(&TaskId::from_text("t"));
        assert_eq!(used, InUse { connections: 3, lease_until: Some(later) });
        assert!(Outputs::default().have_applied(u64::MAX));
    }
}
