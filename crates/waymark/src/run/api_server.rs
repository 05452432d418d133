//! The API on its listener: served, and left alone while another process may be about to take it.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use waymark_control::Handle;
use waymark_control::api::{ApiConfig, Server};

/// The API. While it is stopped, connections wait in its socket.
pub struct ApiServer {
    server: Arc<Server>,
    listener: TcpListener,
    serving: Mutex<Option<Serving>>,
}

struct Serving {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl ApiServer {
    /// Not served yet.
    pub fn new(config: ApiConfig, handle: Handle, listener: TcpListener) -> ApiServer {
        ApiServer {
            server: Arc::new(Server::new(config, handle)),
            listener,
            serving: Mutex::default(),
        }
    }

    /// Serves it from now on, on the current runtime.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn start(&self) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone()?)?;
        let (stop, stopping) = oneshot::channel();
        let server = self.server.clone();
        let task = tokio::spawn(async move {
            let stopping = async {
                // A dropped sender means the same.
                let _ = stopping.await;
            };
            server.serve(listener, stopping).await;
        });
        *self.serving.lock().unwrap_or_else(PoisonError::into_inner) = Some(Serving { task, stop });
        Ok(())
    }

    /// Accepts no more connections, and waits until open requests have ended.
    pub async fn stop(&self) {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Serving { task, stop }) = serving {
            // It may have ended by itself.
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}
