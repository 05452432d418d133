//! A small name server that says what a test tells it, over UDP and TCP on one port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::answer::Transport;

/// A query that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub transport: Transport,
    pub packet: Vec<u8>,
    pub peer: SocketAddr,
}

/// What the server does about a query: the packets that it sends back, in order. Over TCP nothing
/// closes the connection.
type Script = dyn Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync;

/// Ends when dropped; its port is closed then.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Upstream {
    pub async fn start(script: impl Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Upstream {
        // A number that is free for TCP is not always free for UDP.
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        Upstream::on(udp, tcp, script)
    }

    /// At an address that was used before.
    pub async fn at(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Upstream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let tcp = socket.listen(8).unwrap();
        Upstream::on(UdpSocket::bind(address).await.unwrap(), tcp, script)
    }

    fn on(
        udp: UdpSocket,
        tcp: TcpListener,
        script: impl Fn(&Seen) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Upstream {
        let address = udp.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(script);
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let tasks = vec![
            tokio::spawn(over_udp(udp, script.clone(), seen.clone())),
            tokio::spawn(over_tcp(tcp, script, seen.clone())),
        ];
        Upstream { address, seen, tasks }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Ends it, and waits until its port is closed.
    pub async fn stop(mut self) -> SocketAddr {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        self.address
    }
}

async fn over_udp(socket: UdpSocket, script: Arc<Script>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
        let packet = buffer[..length].to_vec();
        let query = Seen { transport: Transport::Udp, packet, peer };
        seen.lock().unwrap().push(query.clone());
        for reply in script(&query) {
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

async fn over_tcp(listener: TcpListener, script: Arc<Script>, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        tokio::spawn(connection(stream, peer, script.clone(), seen.clone()));
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Option<()> {
    loop {
        let mut packet = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut packet).await.ok()?;
        let query = Seen { transport: Transport::Tcp, packet, peer };
        seen.lock().unwrap().push(query.clone());
        let replies = script(&query);
        if replies.is_empty() {
            return None;
        }
        for reply in replies {
            stream.write_u16(reply.len() as u16).await.ok()?;
            stream.write_all(&reply).await.ok()?;
        }
    }
}
