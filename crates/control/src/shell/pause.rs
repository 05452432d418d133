//! Acting no more for a while, because another process is to act: either it does, or this one goes
//! on as if nothing had been.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::info;

use super::driver::Driver;
use super::run::Order;
use crate::store::StoreError;

/// How long launches that are under way are waited for. A launch takes milliseconds; one that hangs
/// must not keep the API waiting.
const SETTLE: Duration = Duration::from_secs(10);

/// Why the control plane goes on acting.
#[derive(Debug, Error)]
pub enum PauseError {
    /// Not everything is stored, so that another process would not know of it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process could not find a task that is just being started.
    #[error("tasks have been starting for {SETTLE:?}")]
    Launching,
    /// It has ended.
    #[error("the control plane has ended")]
    Ended,
}

/// A control plane that does nothing. Dropping this ends it.
#[derive(Debug)]
pub struct Paused(oneshot::Sender<()>);

impl Paused {
    /// Has it go on where it was.
    pub fn resume(self) {
        // One that has ended cannot go on; its end is noticed elsewhere.
        let _ = self.0.send(());
    }
}

/// The wish to pause.
pub struct Pause(oneshot::Sender<Result<Paused, PauseError>>);

/// Asks the shell at the other end to pause.
pub async fn ask(orders: &mpsc::Sender<Order>) -> Result<Paused, PauseError> {
    let (done, paused) = oneshot::channel();
    let asked = orders.send(Order::Pause(Pause(done))).await;
    asked.map_err(|_| PauseError::Ended)?;
    paused.await.map_err(|_| PauseError::Ended)?
}

impl Pause {
    /// Lets go, waits for what comes then, and says whether to go on.
    pub async fn hold(self, driver: &mut Driver) -> bool {
        if let Err(error) = let_go(driver).await {
            // Who asked may have gone away; either way it goes on.
            let _ = self.0.send(Err(error));
            return true;
        }
        info!("the control plane pauses");
        let (resume, resumed) = oneshot::channel();
        // A sender that nobody has taken comes back and is dropped, which would be the end.
        if let Err(Ok(Paused(nobody))) = self.0.send(Ok(Paused(resume))) {
            let _ = nobody.send(());
        }
        let goes_on = resumed.await.is_ok();
        info!(goes_on, "the control plane pauses no more");
        goes_on
    }
}

/// Nothing is under way afterwards that another process could not find.
async fn let_go(driver: &mut Driver) -> Result<(), PauseError> {
    driver.commit().await?;
    let settled = timeout(SETTLE, driver.executor.settled()).await;
    settled.map_err(|_| PauseError::Launching)?;
    driver.persistence.close().await;
    Ok(())
}
