//! Clients that ask again and again until a task is there.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::cluster::PATIENCE;

/// The pause between two connections, so that the clients leave the two cores to the servers.
const PAUSE: Duration = Duration::from_micros(100);
/// An answer that takes longer is an error.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A client on a thread of its own, idle until it is told what to look for.
pub struct Watcher {
    wanted: Sender<u16>,
    found: Receiver<Result<Instant, String>>,
}

impl Watcher {
    /// Looks for a task's port in SRV answers for `name`, one query right after the other.
    pub fn of_name(server: SocketAddr, name: &str) -> Outcome<Watcher> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        let query = srv_query(name);
        Ok(Watcher::start(move |port| {
            let mut answer = [0; 4096];
            socket.send(&query)?;
            let length = socket.recv(&mut answer)?;
            Ok(srv_ports(answer.get(..length).unwrap_or_default())
                .ok_or("the answer cannot be read")?
                .contains(&port))
        }))
    }

    /// Connects to a service port until the task with the host port answers.
    pub fn of_service(service: SocketAddr) -> Watcher {
        Watcher::start(move |port| {
            let mut stream = TcpStream::connect(service)?;
            stream.set_read_timeout(Some(READ_TIMEOUT))?;
            let mut said = [0; 2];
            match stream.read_exact(&mut said) {
                Ok(()) if u16::from_be_bytes(said) == port => return Ok(true),
                Ok(()) => {}
                // The task behind it may just have ended.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
                Err(e) => return Err(e.into()),
            }
            thread::sleep(PAUSE);
            Ok(false)
        })
    }

    fn start(mut look: impl FnMut(u16) -> Outcome<bool> + Send + 'static) -> Watcher {
        let (wanted, orders) = mpsc::channel();
        let (report, found) = mpsc::channel();
        thread::spawn(move || {
            while let Ok(port) = orders.recv() {
                let result = loop {
                    match look(port) {
                        Ok(true) => break Ok(Instant::now()),
                        Ok(false) => {}
                        Err(error) => break Err(error.to_string()),
                    }
                };
                if report.send(result).is_err() {
                    return;
                }
            }
        });
        Watcher { wanted, found }
    }

    /// Begins to look for the task with this host port.
    pub fn look_for(&self, port: u16) -> Outcome<()> {
        Ok(self.wanted.send(port)?)
    }

    /// When it was found.
    pub fn found(&self) -> Outcome<Instant> {
        Ok(self.found.recv_timeout(PATIENCE)??)
    }
}

const SRV: u16 = 33;
const CLASS_IN: u16 = 1;

/// A query by RFC 1035 §4.
fn srv_query(name: &str) -> Vec<u8> {
    let mut query = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        // Names here are constants with short labels.
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend(label.as_bytes());
    }
    query.push(0);
    query.extend(SRV.to_be_bytes());
    query.extend(CLASS_IN.to_be_bytes());
    query
}

/// The ports of all SRV records in the answer section (RFC 2782).
fn srv_ports(message: &[u8]) -> Option<Vec<u16>> {
    let number = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let answers = number(6)?;
    // Behind the question's name are its type and class.
    let mut at = after_name(message, 12)? + 4;
    let mut ports = Vec::new();
    for _ in 0..answers {
        let record = after_name(message, at)?;
        // Type, class, TTL, length of the data; priority, weight, port.
        if number(record)? == SRV {
            ports.push(number(record + 14)?);
        }
        at = record + 10 + usize::from(number(record + 8)?);
    }
    Some(ports)
}

/// Where a name that begins at `at` ends; a pointer is its last part.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports_of_answers() {
        let mut message = srv_query("_a._tcp.b");
        message[7] = 2;
        for port in [31_000u16, 31_001] {
            message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 5, 0, 9, 0, 0, 0, 1]);
            message.extend(port.to_be_bytes());
            message.extend([1, b'x', 0]);
        }
        assert_eq!(srv_ports(&message), Some(vec![31_000, 31_001]));
        assert_eq!(srv_ports(&message[..message.len() - 4]), None);
    }
}
