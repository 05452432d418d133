//! The server: packets from sockets to [`crate::answer`] and back. A worker is one thread for each
//! address's UDP socket, and one for all its TCP connections; several workers share the ports.
//! Nothing here knows names.
//!
//! UDP threads use no event loop: they sleep in `recvmmsg` itself. What has to wait for others (the
//! forwarder) waits on the event loop of the worker's TCP thread.

mod batch;
mod places;
mod sockets;
mod tcp;
mod udp;

pub(crate) use places::Places;
pub use sockets::{BindError, Sockets};

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::output::Dns;
use sockets::WorkerSockets;
use udp::Elsewhere;

/// How long answers that are being made, and clients in the middle of a query, are waited for at the
/// end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A running server. Stopping or dropping it ends its threads and connections.
#[derive(Debug)]
pub struct Server {
    stopped: Arc<AtomicBool>,
    /// Dropped to end the TCP threads.
    stop_tcp: Option<watch::Sender<()>>,
    udp: Vec<JoinHandle<()>>,
    tcp: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts answering what arrives on the sockets.
    ///
    /// # Errors
    /// When the system has no more threads or descriptors; nothing runs then.
    pub fn start(dns: &Arc<Dns>, sockets: Sockets) -> io::Result<Server> {
        let (stop_tcp, stopping) = watch::channel(());
        let mut server = Server {
            stopped: Arc::default(),
            stop_tcp: Some(stop_tcp),
            udp: Vec::new(),
            tcp: Vec::new(),
        };
        for (number, worker) in sockets.into_workers().into_iter().enumerate() {
            server.start_worker(dns, number, worker, stopping.clone())?;
        }
        Ok(server)
    }

    fn start_worker(
        &mut self,
        dns: &Arc<Dns>,
        number: usize,
        sockets: WorkerSockets,
        stopping: watch::Receiver<()>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (waiting, mut nobody_waits) = mpsc::channel(1);
        let elsewhere = Elsewhere { runtime: runtime.handle().clone(), waiting };
        let mut seed = (number as u64) << 32;
        for socket in sockets.udp {
            seed += 1;
            let (stopped, elsewhere) = (self.stopped.clone(), elsewhere.clone());
            let worker = udp::Worker::new(dns.clone(), Arc::new(socket), seed, elsewhere);
            self.udp.push(spawn(format!("dns-udp-{number}"), move || worker.run(&stopped))?);
        }
        drop(elsewhere);
        let listeners = {
            let _inside = runtime.enter();
            let listeners = sockets.tcp.into_iter().map(tokio::net::TcpListener::from_std);
            listeners.collect::<io::Result<Vec<_>>>()?
        };
        let (dns, counters) = (dns.clone(), dns.add_worker());
        self.tcp.push(spawn(format!("dns-tcp-{number}"), move || {
            runtime.block_on(async {
                let mut connections = tcp::serve(&dns, &counters, listeners, seed, stopping).await;
                let last_answers = async {
                    while connections.join_next().await.is_some() {}
                    // Nothing is ever sent.
                    let _ = nobody_waits.recv().await;
                };
                // What takes longer is cut off.
                let _ = timeout(LAST_ANSWERS, last_answers).await;
            });
        })?);
        Ok(())
    }

    /// Takes in nothing more: from here on what arrives stays in the sockets, for whoever else has
    /// them. Answers that are being made are still sent. It blocks for a tenth of a second at most.
    pub fn stop_receiving(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.stop_tcp = None;
        join(&mut self.udp);
    }

    /// Ends all threads and connections; answers that are being made are still sent.
    pub fn stop(self) {
        // Dropping does it.
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_receiving();
        join(&mut self.tcp);
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(work)
}

fn join(threads: &mut Vec<JoinHandle<()>>) {
    for thread in threads.drain(..) {
        // A panic was written to stderr when it happened.
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests;
