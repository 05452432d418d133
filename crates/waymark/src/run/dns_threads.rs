//! The DNS server's threads: one that follows the catalog, and those of the server itself.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::watch;
use waymark_catalog::Reader;
use waymark_dns::{Dns, Server, Sockets};

/// Running threads. Dropping this ends them.
pub struct DnsThreads {
    server: Option<Server>,
    stop_following: watch::Sender<()>,
    follower: JoinHandle<()>,
}

impl DnsThreads {
    /// Starts them. Answers are made from the first published catalog on; before, every name is
    /// refused as not ready by the server itself. Without sockets names are made for others to ask.
    pub fn start(
        dns: &Arc<Dns>,
        sockets: Option<Sockets>,
        reader: Reader,
    ) -> io::Result<DnsThreads> {
        let (stop_following, mut stopping) = watch::channel(());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let following = dns.clone();
        let follower =
            std::thread::Builder::new().name("dns-zone".to_owned()).spawn(move || {
                runtime.block_on(async {
                    let names = async {
                        tokio::join!(following.follow(reader), following.notify());
                    };
                    tokio::select! {
                        () = names => {}
                        // The sender is only ever dropped.
                        _ = stopping.changed() => {}
                    }
                });
            })?;
        let server = sockets.map(|sockets| Server::start(dns, sockets)).transpose()?;
        Ok(DnsThreads { server, stop_following, follower })
    }

    /// Answers what arrives on these sockets from now on.
    pub fn serve(&mut self, dns: &Arc<Dns>, sockets: Sockets) -> io::Result<()> {
        self.server = Some(Server::start(dns, sockets)?);
        Ok(())
    }

    /// Takes in no more queries: they stay in the sockets, for whoever else has them. It blocks for a
    /// tenth of a second at most.
    pub fn stop_receiving(&mut self) {
        if let Some(server) = &mut self.server {
            server.stop_receiving();
        }
    }

    /// Ends all threads.
    pub fn stop(self) {
        drop(self.server);
        drop(self.stop_following);
        // A panic was written to stderr when it happened.
        let _ = self.follower.join();
    }
}
