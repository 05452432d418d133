//! Stands between Waymark and a real master and does to their conversation what networks, proxies
//! and broken servers do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// They are passed on.
    Pass,
    /// The operator API answers 404, as before Mesos 1.0; the rest is passed on.
    RefuseStream,
    /// Answers end after so many bytes.
    Cut(usize),
    /// Answers come in pieces of 512 bytes with this pause between them.
    Slow(Duration),
    /// Requests are read and never answered.
    Hang,
    /// Each request is sent to the proxy itself again.
    Circle,
    /// Every request gets this status and body, as JSON.
    Say(u16, String),
    /// Connections are closed at once.
    Close,
}

/// A running proxy.
pub struct MasterProxy {
    shared: Arc<Shared>,
    /// Where it listens.
    pub address: SocketAddr,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
}

struct State {
    behaviour: Behaviour,
    requests: usize,
    open: Vec<TcpStream>,
}

impl MasterProxy {
    /// Listens on the host of `upstream`, on a port of its own: masters are told apart by hosts.
    pub fn start(upstream: SocketAddr, behaviour: Behaviour) -> MasterProxy {
        let listener = TcpListener::bind((upstream.ip(), 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = State { behaviour, requests: 0, open: Vec::new() };
        let shared = Arc::new(Shared { upstream, state: Mutex::new(state) });
        let serving = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(shared) = serving.upgrade() else { return };
                std::thread::spawn(move || {
                    // Conversations break off here: that is what it is for.
                    let _ = shared.serve(client, address);
                });
            }
        });
        MasterProxy { shared, address }
    }

    /// Behaves like this from now on; conversations that are under way are broken off.
    pub fn behave(&self, behaviour: Behaviour) {
        let mut state = self.shared.state.lock().expect("nobody panicked");
        state.behaviour = behaviour;
        state.requests = 0;
        for connection in state.open.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Requests since the last change of behaviour.
    pub fn requests(&self) -> usize {
        self.shared.state.lock().expect("nobody panicked").requests
    }
}

impl Drop for MasterProxy {
    fn drop(&mut self) {
        self.behave(Behaviour::Close);
        // Wakes the listener, which then finds nobody left to serve.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream, own: SocketAddr) -> std::io::Result<()> {
        let behaviour = {
            let mut state = self.state.lock().expect("nobody panicked");
            state.open.push(client.try_clone()?);
            state.behaviour.clone()
        };
        if behaviour == Behaviour::Close {
            return client.shutdown(Shutdown::Both);
        }
        let (head, rest) = read_head(&mut client)?;
        self.state.lock().expect("nobody panicked").requests += 1;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        match behaviour {
            Behaviour::Hang => client.read_to_end(&mut Vec::new()).map(drop),
            Behaviour::Circle => {
                let text = format!("Location: //{own}{path}\r\n");
                answer(&mut client, "307 Temporary Redirect", &text, "")
            }
            Behaviour::Say(status, body) => {
                let status = format!("{status} Said");
                answer(&mut client, &status, "Content-Type: application/json\r\n", &body)
            }
            Behaviour::RefuseStream if path.ends_with("/api/v1") => {
                answer(&mut client, "404 Not Found", "", "")
            }
            other => self.pass(client, &head, &rest, &other),
        }
    }

    /// Passes one request on and its answer back.
    fn pass(
        &self,
        mut client: TcpStream,
        head: &str,
        rest: &[u8],
        behaviour: &Behaviour,
    ) -> std::io::Result<()> {
        let mut master = TcpStream::connect(self.upstream)?;
        self.state.lock().expect("nobody panicked").open.push(master.try_clone()?);
        // One request a connection, so that each is seen.
        let head: String = head
            .split_inclusive("\r\n")
            .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
            .collect();
        let head = head.trim_end_matches("\r\n");
        write!(master, "{head}\r\nConnection: close\r\n\r\n")?;
        master.write_all(rest)?;
        let (mut body, mut up) = (client.try_clone()?, master.try_clone()?);
        std::thread::spawn(move || std::io::copy(&mut body, &mut up));
        let done = match behaviour {
            Behaviour::Cut(after) => {
                std::io::copy(&mut (&master).take(*after as u64), &mut client).map(drop)
            }
            Behaviour::Slow(pause) => drip(&mut master, &mut client, *pause),
            _ => std::io::copy(&mut master, &mut client).map(drop),
        };
        let _ = (client.shutdown(Shutdown::Both), master.shutdown(Shutdown::Both));
        done
    }
}

fn drip(from: &mut TcpStream, to: &mut TcpStream, pause: Duration) -> std::io::Result<()> {
    let mut piece = [0; 512];
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&piece[..length])?;
        std::thread::sleep(pause);
    }
}

/// Reads to the end of a request's head; gives it, and what came behind it.
fn read_head(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match client.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

fn answer(to: &mut TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        to,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    to.shutdown(Shutdown::Both)
}
