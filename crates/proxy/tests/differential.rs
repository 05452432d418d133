//! What goes on to a task is one request to HAProxy and to nginx too: the cases of the smuggling
//! corpus and thousands of mutations of them, each followed by another request on the same
//! connection, which must be answered second and as itself. A server that refuses the first one
//! (and closes) reads nothing twice either.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use support::free_port;
use waymark_proxy::{Reading, read_request};

const CORPUS: [&str; 3] = [
    include_str!("smuggling/framing.txt"),
    include_str!("smuggling/chunks.txt"),
    include_str!("smuggling/lines.txt"),
];

/// Mutations of each case.
const MUTATIONS: usize = 400;

/// What is thrown in.
const DICTIONARY: [&str; 22] = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "0",
    "5",
    "chunked",
    "\u{b}",
    "Host: b\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X: y\r\n",
    "_",
    "\r\n\r\n",
    "Connection: close\r\n",
    "Upgrade: websocket\r\n",
    "HTTP/1.0",
];

/// Asked after every request.
const AFTER: &[u8] = b"GET /after HTTP/1.1\r\nHost: after\r\nConnection: close\r\n\r\n";

struct Server {
    name: &'static str,
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(
        name: &'static str,
        config: impl Fn(u16, &Path) -> String,
        arguments: &[&str],
    ) -> Server {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("config");
        std::fs::write(&file, config(port, folder.path())).unwrap();
        let child = Command::new(format!("/usr/sbin/{name}"))
            .args(arguments)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} is needed (test.sh installs it): {error}"));
        let server = Server { name, port, child, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.dial().is_err() {
            assert!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn dial(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(stream)
    }

    /// The statuses and paths of everything it takes for a request.
    fn read(&self, bytes: &[u8]) -> Vec<(u16, String)> {
        let mut stream = self.dial().unwrap();
        // It may have refused and closed before everything is sent.
        let _ = stream.write_all(bytes);
        let mut answers = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => answers.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{} waits for more ({error}): {:?}", self.name, lossy(bytes)),
            }
        }
        lossy(&answers).split("HTTP/1.1 ").skip(1).map(answer).filter(|a| a.0 >= 200).collect()
    }
}

fn answer(text: &str) -> (u16, String) {
    let path = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-path").then(|| value.to_owned())
    });
    (text.get(..3).unwrap().parse().unwrap(), path.unwrap_or_default())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn haproxy() -> Server {
    let config = |port: u16, _: &Path| {
        format!(
            "defaults\n mode http\n timeout client 3s\n timeout server 3s\n timeout connect 3s\n\
             frontend f\n bind 127.0.0.1:{port}\n option http-buffer-request\n\
             http-request return status 200 hdr X-Path \"%[path]\"\n"
        )
    };
    Server::start("haproxy", config, &["-db", "-f"])
}

fn nginx() -> Server {
    let config = |port: u16, folder: &Path| {
        let folder = folder.display();
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_timeout 3s; client_header_timeout 3s;\n\
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n\
             uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
             server {{ listen 127.0.0.1:{port}; add_header X-Path $uri always; return 200 ''; }} }}\n"
        )
    };
    Server::start("nginx", config, &["-c"])
}

/// The requests of the corpus as their cases send them, refused ones too.
fn corpus() -> Vec<Vec<u8>> {
    let lines = CORPUS.iter().flat_map(|file| file.lines());
    let sent: Vec<_> = lines.filter_map(|line| line.strip_prefix("send: ")).collect();
    assert!(sent.len() > 90);
    sent.into_iter().map(support::http::unescape).collect()
}

fn mutated(request: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..4) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] = random.random(),
            _ => {
                let part = DICTIONARY[random.random_range(0..DICTIONARY.len())];
                bytes.splice(at..at, part.bytes());
            }
        }
    }
    bytes
}

/// Whether the server takes it, as one request; to be refused is the only other thing it may.
fn compare(server: &Server, sent: &[u8], forwarded: &[u8]) -> bool {
    let answers = server.read(&[forwarded, AFTER].concat());
    let as_one = match answers.as_slice() {
        [(_, _), (200, path)] => path == "/after",
        [(status, _)] => *status >= 400,
        _ => false,
    };
    let (name, sent, forwarded) = (server.name, lossy(sent), lossy(forwarded));
    assert!(as_one, "{name} reads {answers:?}\nfrom {forwarded:?}\nwhich came as {sent:?}");
    answers.len() == 2
}

#[test]
fn haproxy_and_nginx_read_what_goes_on_as_one_request() {
    let servers = [haproxy(), nginx()];
    let mut random = SmallRng::seed_from_u64(4);
    let mut taken = [0, 0];
    for case in corpus() {
        let mutations: Vec<_> = (0..MUTATIONS).map(|_| mutated(&case, &mut random)).collect();
        for sent in std::iter::once(&case).chain(&mutations) {
            let reading = read_request(sent, usize::MAX);
            let Reading::Forwarded { bytes: forwarded, .. } = reading else { continue };
            for (server, taken) in servers.iter().zip(&mut taken) {
                *taken += usize::from(compare(server, sent, &forwarded));
            }
        }
    }
    assert!(taken.iter().all(|taken| *taken > 1000), "they took only {taken:?}");
}
