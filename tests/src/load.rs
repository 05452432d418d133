//! Steady load through a service port: every request must be answered in full.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How clients behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// A new connection for each request.
    ConnectionPerRequest,
    /// Many requests on one connection; a new one only when the server says `Connection: close`
    /// in a complete answer.
    KeepAlive,
}

/// Running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Outcome>>,
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Requests answered with 200 and a whole body.
    pub answered: u64,
    /// What went wrong, one text a failed request.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts `clients` clients that ask `GET path` of 127.0.0.1:`port` again and again.
    pub fn start(port: u16, path: &str, kind: LoadKind, clients: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: story\r\n{}\r\n",
            match kind {
                LoadKind::ConnectionPerRequest => "Connection: close\r\n",
                LoadKind::KeepAlive => "",
            }
        );
        let clients = (0..clients)
            .map(|_| {
                let (stop, answered, request) = (stop.clone(), answered.clone(), request.clone());
                std::thread::spawn(move || client(port, kind, &request, &stop, &answered))
            })
            .collect();
        Load { stop, answered, clients }
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it and tells what happened.
    pub fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Outcome::default();
        for client in self.clients {
            let outcome = client.join().expect("a client does not panic");
            total.answered += outcome.answered;
            total.failures.extend(outcome.failures);
        }
        total
    }
}

impl Outcome {
    /// Fails the story unless every request was answered, and at least `least` were.
    pub fn assert_flawless(&self, least: u64) {
        let shown = &self.failures[..self.failures.len().min(5)];
        assert!(self.failures.is_empty(), "{} failed: {shown:#?}", self.failures.len());
        assert!(self.answered >= least, "only {} requests were answered", self.answered);
    }
}

fn client(
    port: u16,
    kind: LoadKind,
    request: &str,
    stop: &AtomicBool,
    answered: &AtomicU64,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection: Option<BufReader<TcpStream>> = None;
    while !stop.load(Ordering::Relaxed) {
        match exchange(&mut connection, port, request) {
            Ok(()) => {
                outcome.answered += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                outcome.failures.push(error);
                connection = None;
            }
        }
        if kind == LoadKind::ConnectionPerRequest {
            connection = None;
        }
        // Steady, not saturating: on two cores the system under test needs its share.
        std::thread::sleep(Duration::from_millis(1));
    }
    outcome
}

fn exchange(
    connection: &mut Option<BufReader<TcpStream>>,
    port: u16,
    request: &str,
) -> Result<(), String> {
    let stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))
                .map_err(|e| format!("connect: {e}"))?;
            stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|e| e.to_string())?;
            stream.set_nodelay(true).map_err(|e| e.to_string())?;
            BufReader::new(stream)
        }
    };
    let mut stream = stream;
    stream.get_mut().write_all(request.as_bytes()).map_err(|e| format!("write: {e}"))?;
    let mut line = String::new();
    stream.read_line(&mut line).map_err(|e| format!("read status: {e}"))?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("status line {line:?}"));
    }
    let (mut length, mut close) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line).map_err(|e| format!("read header: {e}"))?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|e| format!("length: {e}"))?;
        }
        close |= header == "connection: close";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(|e| format!("read body: {e}"))?;
    if !close {
        *connection = Some(stream);
    }
    Ok(())
}
