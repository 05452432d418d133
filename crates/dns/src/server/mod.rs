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
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::output::Dns;
use sockets::{WorkerSockets, stop_receiving};

/// A running server. Stopping or dropping it ends its threads and connections.
#[derive(Debug)]
pub struct Server {
    stopped: Arc<AtomicBool>,
    /// The threads' sockets once more, to wake them.
    udp: Vec<UdpSocket>,
    /// Dropped to end the TCP threads.
    stop_tcp: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
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
            udp: Vec::new(),
            stop_tcp: Some(stop_tcp),
            threads: Vec::new(),
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
        mut stopping: watch::Receiver<()>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut seed = (number as u64) << 32;
        for socket in sockets.udp {
            self.udp.push(socket.try_clone()?);
            seed += 1;
            let (stopped, elsewhere) = (self.stopped.clone(), runtime.handle().clone());
            let worker = udp::Worker::new(dns.clone(), Arc::new(socket), seed, elsewhere);
            self.spawn(format!("dns-udp-{number}"), move || worker.run(&stopped))?;
        }
        let listeners = {
            let _inside = runtime.enter();
            let listeners = sockets.tcp.into_iter().map(tokio::net::TcpListener::from_std);
            listeners.collect::<io::Result<Vec<_>>>()?
        };
        let (dns, counters) = (dns.clone(), dns.add_worker());
        self.spawn(format!("dns-tcp-{number}"), move || {
            runtime.block_on(async {
                tokio::select! {
                    () = tcp::serve(&dns, &counters, listeners, seed) => {}
                    // The sender is only ever dropped.
                    _ = stopping.changed() => {}
                }
            });
        })
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        Ok(())
    }

    /// Ends all threads and connections; answers that are being made are still sent.
    pub fn stop(self) {
        // Dropping does it.
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.udp.iter().for_each(stop_receiving);
        self.stop_tcp = None;
        for thread in self.threads.drain(..) {
            // A panic was written to stderr when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
