//! One timer a connection. Setting a deadline costs a store; the event loop's timer is touched only
//! when it must fire earlier than it would, or when it has fired and the deadline has moved on.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::timer;

/// A deadline that moves with every request. To be polled by one task only.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer knows the task that polls.
    armed: bool,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Deadline {
        Deadline { at, timer: None, armed: false }
    }

    /// Moves it.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready when it has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let timer = self.timer.get_or_insert_with(|| {
            self.armed = false;
            Box::pin(sleep_until(at))
        });
        if timer.deadline() > at {
            timer.as_mut().reset(at);
            self.armed = false;
        }
        // Once armed, looking at the timer is only a load.
        while !self.armed || timer.is_elapsed() {
            if timer::poll(timer.as_mut(), cx).is_pending() {
                self.armed = true;
                break;
            }
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
            self.armed = false;
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn it_fires_where_it_was_moved_to() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start + Duration::from_secs(3600));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
        deadline.set(start + Duration::from_millis(5));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
        deadline.set(start + Duration::from_millis(40));
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(40));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_fires_for_a_task_that_is_busy_without_end() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start + Duration::from_millis(20));
        while timer::exhausted(|cx| deadline.poll(cx)).await.is_pending() {
            tokio::task::yield_now().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_wakes_a_task_that_was_busy_when_it_first_looked() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start + Duration::from_millis(20));
        assert!(timer::exhausted(|cx| deadline.poll(cx)).await.is_pending());
        poll_fn(|cx| deadline.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
