//! The clients and the backend: both in this process, on one thread.
//!
//! A request is [`REQUEST`] bytes, an answer [`ANSWER`] bytes; both are counted, not parsed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Outcome;

const REQUEST: usize = 100;
const ANSWER: usize = 200;

/// Answers requests.
pub struct Backend {
    pub address: SocketAddr,
}

impl Backend {
    pub async fn start() -> Outcome<Backend> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
        Ok(Backend { address })
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut request, answer) = ([0; REQUEST], [b'a'; ANSWER]);
    while stream.read_exact(&mut request).await.is_ok() {
        stream.write_all(&answer).await?;
    }
    Ok(())
}

/// What the clients do.
#[derive(Clone, Copy)]
pub enum Load {
    /// 64 connections, each with one request after the other.
    KeepAlive,
    /// 16 clients, each connecting, asking once and closing, again and again.
    Connections,
}

impl Load {
    pub const ALL: [Load; 2] = [Load::KeepAlive, Load::Connections];

    pub fn name(self) -> &'static str {
        match self {
            Load::KeepAlive => "round trip, 64 kept connections",
            Load::Connections => "connect, 1 round trip, close",
        }
    }

    /// Starts the clients.
    pub fn start(self, address: SocketAddr) -> Clients {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (count, requests) = match self {
            Load::KeepAlive => (64, u64::MAX),
            Load::Connections => (16, 1),
        };
        let client = |_| tokio::spawn(ask(address, requests, stop.clone(), done.clone()));
        let running = (0..count).map(client).collect();
        Clients { stop, done, running }
    }
}

/// Running clients.
pub struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    running: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Clients {
    /// Answers received.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// Lets each client finish its request; all answers received, or the first error met.
    pub async fn stop(self) -> Outcome<u64> {
        self.stop.store(true, Relaxed);
        for client in self.running {
            client.await??;
        }
        Ok(self.done.load(Relaxed))
    }
}

/// Connects, asks `requests` times, closes, until told to stop.
async fn ask(
    address: SocketAddr,
    requests: u64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let (request, mut answer) = ([b'q'; REQUEST], [0; ANSWER]);
    while !stop.load(Relaxed) {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut asked = 0;
        while asked < requests && !stop.load(Relaxed) {
            asked += 1;
            stream.write_all(&request).await?;
            stream.read_exact(&mut answer).await?;
            done.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

/// Connections that have had one answer and are idle now.
pub async fn connect_idle(address: SocketAddr, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&[b'q'; REQUEST]).await?;
        stream.read_exact(&mut [0; ANSWER]).await?;
        clients.push(stream);
    }
    Ok(clients)
}
