//! Looking at a timer from a task that does much in one turn.
//!
//! In: a timer of the event loop. Out: whether its time has come. It never says no when it has, and
//! never forgets to wake who was told no.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::coop::unconstrained;
use tokio::time::Sleep;

/// Ready when the time has come; else the task is woken then.
///
/// A timer's own `poll` counts as work of the task's turn. With none left it says "pending" though
/// its time has come, and notes nobody: whoever repeats it until it agrees with
/// [`Sleep::is_elapsed`] does so for ever, and whoever believes it is never woken.
pub(crate) fn poll(timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    pin!(unconstrained(timer)).poll(cx)
}

/// For tests: does something in a turn in which the task may do nothing more.
#[cfg(test)]
pub(crate) async fn exhausted<T>(mut then: impl FnMut(&mut Context<'_>) -> T) -> T {
    std::future::poll_fn(|cx| {
        while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        Poll::Ready(then(cx))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_busy_task_is_told_the_truth() {
        let mut timer = pin!(sleep(Duration::ZERO));
        tokio::task::yield_now().await;
        let told = exhausted(|cx| poll(timer.as_mut(), cx)).await;
        assert!(told.is_ready() || !timer.is_elapsed());
        poll_fn(|cx| poll(timer.as_mut(), cx)).await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_busy_task_is_woken() {
        let start = Instant::now();
        let mut timer = pin!(sleep(Duration::from_millis(20)));
        assert!(exhausted(|cx| poll(timer.as_mut(), cx)).await.is_pending());
        // Only a wake-up leads on.
        poll_fn(|_| if timer.is_elapsed() { Poll::Ready(()) } else { Poll::Pending }).await;
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
