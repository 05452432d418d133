//! A load balancer for HTTP, and tasks that say and record exactly what a test wants.
#![allow(dead_code)] // Each test program uses its part.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waymark_catalog::{Output, Writer};
use waymark_model::{Protocol, Readiness, TaskEntry};
use waymark_proxy::{Proxy, ProxyConfig};

use super::{config, entry, eventually, free_port, soon, task};

/// A load balancer with one app that has every host.
pub struct Web {
    pub port: u16,
    pub writer: Writer,
    pub proxy: Proxy,
    output: Arc<dyn Output>,
}

impl Web {
    /// Everything goes to these addresses.
    pub async fn start(tasks: &[SocketAddr]) -> Web {
        Web::with(config(), &[], tasks).await
    }

    /// The same with other settings, and labels besides the host.
    pub async fn with(config: ProxyConfig, labels: &[(&str, &str)], tasks: &[SocketAddr]) -> Web {
        let port = free_port();
        let config = ProxyConfig { http_port: Some(port), workers: 1, ..config };
        let (writer, reader) = Writer::new(0);
        let proxy = Proxy::start(config, reader).unwrap();
        let output = proxy.output();
        let mut web = Web { port, writer, proxy, output };
        web.publish(labels, tasks).await;
        web
    }

    /// The app now has these labels and tasks.
    pub async fn publish(&mut self, labels: &[(&str, &str)], tasks: &[SocketAddr]) {
        let tasks = tasks.iter().map(|a| task(&format!("web.{}", a.port()), *a, Readiness::Ready));
        self.publish_tasks(labels, tasks.collect()).await;
    }

    pub async fn publish_tasks(&mut self, labels: &[(&str, &str)], tasks: Vec<Arc<TaskEntry>>) {
        let labels = [&[("HAPROXY_0_VHOST", "*")], labels].concat();
        let app = entry("/web", Protocol::Tcp, free_port(), &labels, tasks);
        let version = self.writer.publish([(app.id.clone(), Some(app))]);
        eventually("applied", || self.output.applied() >= version).await;
    }

    pub fn in_use(&self, address: SocketAddr) -> usize {
        let task = waymark_model::TaskId::from_text(&format!("web.{}", address.port()));
        self.output.in_use(&task).connections
    }

    pub async fn dial(&self) -> TcpStream {
        soon("connect", TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))).await.unwrap()
    }

    /// A client that knows that HTTP/2 is spoken.
    pub async fn h2(&self) -> SendRequest<Bytes> {
        let (client, connection) = h2::client::handshake(self.dial().await).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// Sends bytes and reads until the answer's body has come whole, or the connection ends.
    pub async fn ask(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.dial().await;
        client.write_all(request).await.unwrap();
        read_answer(&mut client).await
    }
}

/// Reads one answer: head and body by its `Content-Length`, or until the end of the stream.
pub async fn read_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    soon("an answer", async {
        while !is_whole(&answer) {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend_from_slice(&buffer[..n]),
            }
        }
    })
    .await;
    answer
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if head.starts_with("HTTP/1.1 1") && !head.starts_with("HTTP/1.1 101") {
        return is_whole(body.as_bytes());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => head.starts_with("HTTP/1.1 204") || head.starts_with("HTTP/1.1 101"),
    }
}

pub fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A task that records what it gets, a connection an entry, and answers when `answer` says so.
pub struct Recorder {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// `answer` gets everything that came on a connection since its last answer, and returns what
    /// to send; empty: wait for more. A `None` closes the connection.
    pub async fn start(
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Clone + Send + 'static,
    ) -> Recorder {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                tokio::spawn(record(stream, all.clone(), number, answer.clone()));
            }
        });
        Recorder { address, connections }
    }

    pub fn connections(&self) -> Vec<Vec<u8>> {
        self.connections.lock().unwrap().clone()
    }

    /// Everything that came, without the forwarding headers.
    pub fn seen(&self) -> String {
        without_forwarding(&text(&self.connections().concat()))
    }
}

async fn record(
    mut stream: TcpStream,
    all: Arc<Mutex<Vec<Vec<u8>>>>,
    number: usize,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let (mut answered, mut buffer) = (0, [0; 65536]);
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        let so_far = {
            let mut all = all.lock().unwrap();
            all[number].extend_from_slice(&buffer[..n]);
            all[number].clone()
        };
        let Some(bytes) = answer(&so_far[answered..]) else { return };
        if !bytes.is_empty() {
            answered = so_far.len();
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// What a task got, without the headers that tell it about the client.
pub fn without_forwarding(text: &str) -> String {
    let told = |line: &&str| line.starts_with("X-Forwarded-") || line.starts_with("Forwarded: ");
    text.split_inclusive('\n').filter(|line| !told(line)).collect()
}

/// A request has come whole: for tasks that answer every request.
pub fn answered_at_once(answer: &'static str) -> impl Fn(&[u8]) -> Option<Vec<u8>> + Clone {
    move |request| {
        let whole = request.windows(4).any(|w| w == b"\r\n\r\n");
        Some(if whole { answer.as_bytes().to_vec() } else { Vec::new() })
    }
}

/// Bytes as the smuggling corpus writes them.
pub fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut chars) = (Vec::new(), text.bytes());
    while let Some(byte) = chars.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match chars.next().unwrap() {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'x' => {
                let digits = [chars.next().unwrap(), chars.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap().to_owned();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            byte => out.push(byte),
        }
    }
    out
}
