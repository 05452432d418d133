//! A real HAProxy, tasks behind it and clients before it. Frontends are sockets in a folder of the test, so that no port has
//! to be free.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use waymark_haproxy::apply::{
    Address, Applier, Archive, Method, Options, Patience, Socket, Wanted,
};
use waymark_haproxy::{Backend, Rendered, Server};

/// Polls until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A task: answers every request with its port.
pub struct Task {
    pub port: u16,
}

impl Task {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream, port));
            }
        });
        Self { port }
    }

    /// Its server line's parts, named as marathon-lb names it.
    pub fn server(&self) -> Server {
        let id = u32::from(self.port % 32_000) + 1;
        Server {
            name: format!("127_0_0_1_{}", self.port),
            id,
            address: "127.0.0.1".into(),
            port: self.port,
            options: format!("id {id}"),
            disabled: false,
            templated: false,
        }
    }
}

/// Answers; `/slow` only after what follows it in milliseconds.
fn serve(stream: TcpStream, port: u16) {
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        if let Some(rest) = request.split("/slow").nth(1) {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            std::thread::sleep(Duration::from_millis(number.parse().unwrap()));
        }
        let body = port.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A service: what an app's port becomes.
#[derive(Clone)]
pub struct Service {
    pub name: String,
    /// Lines of the backend before its servers.
    pub lines: String,
    pub servers: Vec<Server>,
}

impl Service {
    pub fn new(name: &str, servers: &[Server]) -> Self {
        Self {
            name: name.into(),
            lines: "  balance roundrobin\n".into(),
            servers: servers.to_vec(),
        }
    }
}

/// A folder with everything that HAProxy needs.
pub struct Folder {
    pub dir: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("haproxy.cfg")
    }

    /// Renders services by hand, each with a frontend that is a socket named after it. A request for host `x` goes where the
    /// map says.
    pub fn render(&self, services: &[Service], map: &str) -> Rendered {
        let dir = self.dir.path().display();
        let mut frame = format!(
            "global\n  stats socket {dir}/stats level admin expose-fd listeners\n  server-state-file global\n  server-state-base {dir}/\n\
             defaults\n  load-server-state-from-file global\n  mode http\n  option redispatch\n  retries 3\n  timeout connect 3s\n  timeout client 30s\n  timeout server 30s\n\
             frontend by_map\n  bind unix@{dir}/by_map\n  use_backend %[req.hdr(host),lower,map({dir}/domain2backend.map)]\n"
        );
        for service in services {
            let name = &service.name;
            frame +=
                &format!("frontend {name}\n  bind unix@{dir}/{name}\n  default_backend {name}\n");
        }
        let (mut config, mut backends) = (frame.clone(), std::collections::BTreeMap::new());
        for Service { name, lines, servers } in services {
            let head = format!("backend {name}\n{lines}");
            frame += &head;
            config += &head;
            for server in servers {
                let disabled = if server.disabled { " disabled" } else { "" };
                config += &format!(
                    "  server {} {}:{} {}{disabled}\n",
                    server.name, server.address, server.port, server.options
                );
            }
            backends.insert(
                name.clone(),
                Backend { app: format!("/{name}"), servers: servers.clone() },
            );
        }
        let maps = [("domain2backend.map".to_owned(), map.to_owned())].into();
        Rendered { config, maps, frame, backends, ..Rendered::default() }
    }

    pub fn wanted(&self, version: u64, services: &[Service]) -> Wanted {
        let rendered = Arc::new(self.render(services, ""));
        Wanted { version, rendered, suspects: vec![], without: None }
    }

    pub fn stats(&self) -> Socket {
        Socket::new(Address::Unix(self.path("stats")), Duration::from_secs(5))
    }

    pub fn master(&self) -> Socket {
        Socket::new(Address::Unix(self.path("master")), Duration::from_secs(5))
    }

    /// Options for the HAProxy of this folder, reloaded by its master.
    pub fn options(&self) -> Options {
        Options {
            archive: Archive { folder: self.path("archive"), versions: 3 },
            worker: Some(self.stats()),
            master: Some(self.master()),
            method: Some(Method::Master(self.master())),
            patience: Patience::new(3, Duration::from_secs(10)),
            spacing: Duration::ZERO,
            ..Options::new(self.config())
        }
    }

    /// Starts HAProxy with what is in the folder.
    pub fn haproxy(&self) -> HaProxy {
        let child = Command::new("haproxy")
            .args([
                "-W".as_ref(),
                "-S".as_ref(),
                self.path("master").as_os_str(),
                "-f".as_ref(),
                self.config().as_os_str(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed");
        let haproxy = HaProxy { child };
        let there = || {
            UnixStream::connect(self.path("stats")).is_ok()
                && UnixStream::connect(self.path("master")).is_ok()
        };
        eventually("HAProxy runs", there);
        haproxy
    }

    /// Starts HAProxy with these services, and an applier that has found it so.
    pub async fn running(&self, services: &[Service]) -> (HaProxy, Applier) {
        let first = self.wanted(1, services);
        std::fs::write(self.config(), &first.rendered.config).unwrap();
        for (name, text) in &first.rendered.maps {
            std::fs::write(self.path(name), text).unwrap();
        }
        let haproxy = self.haproxy();
        let mut applier = Applier::new(self.options()).unwrap();
        applier.apply(&first).await.unwrap();
        (haproxy, applier)
    }

    /// One request over a new connection to the frontend. The answer's body, or its status when it is not 200.
    pub fn get(&self, frontend: &str, path: &str, host: &str) -> Result<String, String> {
        let mut stream =
            UnixStream::connect(self.path(frontend)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        request(&mut stream, path, host, true)
    }

    /// The ports that answer this many requests.
    pub fn answering(&self, frontend: &str, requests: usize) -> std::collections::BTreeSet<u16> {
        (0..requests).map(|_| self.get(frontend, "/", "x").unwrap().parse().unwrap()).collect()
    }
}

/// One exchange. A connection that ends without any answer is told apart by an empty message.
fn request(stream: &mut UnixStream, path: &str, host: &str, close: bool) -> Result<String, String> {
    let connection = if close { "close" } else { "keep-alive" };
    let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n");
    if stream.write_all(text.as_bytes()).is_err() {
        return Err(String::new());
    }
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(|n| n.parse::<usize>().unwrap())
            });
            if length.is_some_and(|length| body.len() >= length) {
                let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
                return if status == "200" { Ok(body.to_owned()) } else { Err(status) };
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) => {
                return Err(if answer.is_empty() {
                    String::new()
                } else {
                    format!("cut off after {text:?}")
                });
            }
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(error)
                if answer.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset =>
            {
                return Err(String::new());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A HAProxy, killed at the end with its workers.
pub struct HaProxy {
    pub child: Child,
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        // A master that is told to end ends its workers; one that was killed has none that live on.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
    }
}

/// Clients that ask without pause, half of them over kept connections.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(folder: &Folder, frontend: &str, clients: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let path = folder.path(frontend);
        let clients = (0..clients)
            .map(|n| {
                let (path, stop, done) = (path.clone(), stop.clone(), done.clone());
                std::thread::spawn(move || ask(&path, n % 2 == 0, &stop, &done))
            })
            .collect();
        Self { stop, done, clients }
    }

    /// Waits until this many more requests were answered.
    pub fn wait(&self, requests: u64) {
        let until = self.done.load(Ordering::Relaxed) + requests;
        eventually("the load goes on", || self.done.load(Ordering::Relaxed) >= until);
    }

    /// Ends it: how many requests were answered, and what went wrong.
    pub fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (self.done.load(Ordering::Relaxed), failed)
    }
}

/// One client. As every client does, it asks again over a new connection when a kept one was closed before its answer began.
fn ask(path: &Path, keep: bool, stop: &AtomicBool, done: &AtomicU64) -> Vec<String> {
    let mut failed = Vec::new();
    let mut kept: Option<UnixStream> = None;
    while !stop.load(Ordering::Relaxed) {
        let reused = kept.is_some();
        let stream = match kept.take() {
            Some(stream) => Ok(stream),
            None => UnixStream::connect(path),
        };
        let answer = stream.map_err(|error| error.to_string()).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let answer = request(&mut stream, "/", "x", !keep)?;
            kept = keep.then_some(stream);
            Ok(answer)
        });
        match answer {
            Ok(_) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(reason) if reused && reason.is_empty() => {}
            Err(reason) => failed.push(reason),
        }
    }
    failed
}
