//! One client that does the same thing again and again; every time it must succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Outcome, eventually};

/// A client at work.
pub struct Steady {
    what: &'static str,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    client: JoinHandle<Vec<String>>,
}

impl Steady {
    /// Does `once` again and again, with the number of the time; its error is a failure.
    pub fn start(
        what: &'static str,
        mut once: impl FnMut(u64) -> Result<(), String> + Send + 'static,
    ) -> Steady {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = std::thread::spawn({
            let (stop, done) = (stop.clone(), done.clone());
            move || {
                let mut failures = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match once(number) {
                        Ok(()) => {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => failures.push(format!("{what}: {error}")),
                    }
                    // Steady, not saturating: the system under test needs its share.
                    std::thread::sleep(Duration::from_millis(2));
                }
                failures
            }
        });
        Steady { what, stop, done, client }
    }

    /// Waits until it has succeeded this many times more.
    pub fn goes_on(&self, times: u64) {
        let before = self.done.load(Ordering::Relaxed);
        eventually(&format!("{} goes on", self.what), || {
            (self.done.load(Ordering::Relaxed) >= before + times).then_some(())
        });
    }

    /// Ends it and tells what happened.
    pub fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.client.join().expect("a client does not panic");
        Outcome { answered: self.done.load(Ordering::Relaxed), failures }
    }
}
