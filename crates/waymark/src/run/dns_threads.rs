//! The DNS server's threads: one that follows the catalog, and the workers.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tracing::error;
use waymark_catalog::Reader;
use waymark_dns::{Dns, Sockets, serve};

/// Running threads. Dropping this ends them.
pub struct DnsThreads {
    stop: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl DnsThreads {
    /// Starts them. Answers are made from the first published catalog on; before, every name is
    /// refused as not ready by the server itself.
    pub fn start(dns: &Arc<Dns>, sockets: Sockets, reader: Reader) -> io::Result<DnsThreads> {
        let (stop, stopping) = watch::channel(());
        let mut threads = Vec::new();
        let follower = dns.clone();
        threads.push(spawn("dns-zone", stopping.clone(), move || async move {
            follower.follow(reader).await;
            Ok(())
        })?);
        for (index, worker) in sockets.into_workers().into_iter().enumerate() {
            let dns = dns.clone();
            let name = format!("dns-{index}");
            threads.push(spawn(&name, stopping.clone(), move || serve(dns, worker))?);
        }
        Ok(DnsThreads { stop, threads })
    }

    /// Ends all threads.
    pub fn stop(self) {
        drop(self.stop);
        for thread in self.threads {
            // A panic was written to stderr when it happened.
            let _ = thread.join();
        }
    }
}

/// Runs a future on a new thread with an event loop of its own, until it ends or is told to.
fn spawn<F: Future<Output = io::Result<()>>>(
    name: &str,
    mut stopping: watch::Receiver<()>,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                result = work() => if let Err(error) = result {
                    error!(%error, "a DNS thread has ended");
                },
                // The sender is only ever dropped.
                _ = stopping.changed() => {}
            }
        });
    })
}
