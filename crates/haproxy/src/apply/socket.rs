//! Asking a running HAProxy: over its statistics socket, or over its master's.
//!
//! One connection a command, so that the end of an answer is the end of the connection and nothing has to be guessed.
//! Every question has a time limit and every answer a length limit. It reads and writes nothing else.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::answers::{self, Info, Processes, Servers};
use super::command::{Command, map_entries};
use super::version::Version;

/// Longest answer. 100,000 servers in `show servers state` are about 12 MiB.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// Where a socket of HAProxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A path.
    Unix(PathBuf),
    /// An address and port.
    Tcp(SocketAddr),
}

impl Address {
    /// Reads `/run/haproxy.sock`, `unix@/run/…`, `127.0.0.1:9999`, `ipv4@127.0.0.1:9999`.
    pub fn read(text: &str) -> Option<Self> {
        let bare = ["unix@", "ipv4@", "ipv6@", "tcp@"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
            .unwrap_or(text);
        match bare.parse() {
            Ok(address) => Some(Self::Tcp(address)),
            Err(_) => bare.starts_with('/').then(|| Self::Unix(bare.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// Why HAProxy did not answer as needed. The command is named by its first words only: payloads may be keys.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Nobody listens there: HAProxy does not run, or has no such socket.
    #[error("HAProxy cannot be reached at {at}: {source}")]
    Unreachable {
        /// The socket.
        at: Address,
        /// What the system says.
        source: io::Error,
    },
    /// It took the question and said nothing, or not all, in time.
    #[error("HAProxy at {at} gave no complete answer to '{command}' within {limit:?}")]
    Silent {
        /// The socket.
        at: Address,
        /// Beginning of the command.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke.
    #[error("HAProxy at {at} broke off '{command}': {source}")]
    Broken {
        /// The socket.
        at: Address,
        /// Beginning of the command.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// The answer was longer than the limit of 64 MiB.
    #[error("HAProxy at {at} answered '{command}' with more than {LONGEST_ANSWER} bytes")]
    TooLong {
        /// The socket.
        at: Address,
        /// Beginning of the command.
        command: String,
    },
    /// It did not do it.
    #[error("HAProxy at {at} refused '{command}': {answer}")]
    Refused {
        /// The socket.
        at: Address,
        /// Beginning of the command.
        command: String,
        /// Beginning of what it said.
        answer: String,
    },
}

impl SocketError {
    /// Whether HAProxy answered, and the answer was no.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A socket of HAProxy.
#[derive(Clone, Debug)]
pub struct Socket {
    at: Address,
    /// What stands before each command: `@1 ` to reach the worker through its master.
    prefix: String,
    limit: Duration,
}

impl Socket {
    /// The statistics socket of a worker, or a master's socket with the master as the one who is asked.
    /// `limit`: for one command.
    pub fn new(at: Address, limit: Duration) -> Self {
        Self { at, prefix: String::new(), limit }
    }

    /// The same socket, a master's, with its newest worker as the one who is asked. Commands have the master's level, which
    /// is `admin` even where the worker's own socket has none.
    pub fn worker(&self) -> Self {
        Self { prefix: "@1 ".to_owned(), ..self.clone() }
    }

    /// The same socket, a master's, with the worker of this process id as the one who is asked: an old one too.
    pub fn process(&self, pid: u32) -> Self {
        Self { prefix: format!("@!{pid} "), ..self.clone() }
    }

    /// The same socket with another time limit.
    pub fn patient(&self, limit: Duration) -> Self {
        Self { limit, ..self.clone() }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.at
    }

    /// Sends a command and returns the whole answer.
    ///
    /// # Errors
    /// No connection, no complete answer in time, or too long a one. A refusal in words is an answer here.
    pub async fn ask(&self, command: &str) -> Result<String, SocketError> {
        let text = format!("{}{command}\n", self.prefix);
        match tokio::time::timeout(self.limit, self.exchange(&text, command)).await {
            Ok(answer) => answer,
            Err(_) => Err(SocketError::Silent {
                at: self.at.clone(),
                command: beginning(command),
                limit: self.limit,
            }),
        }
    }

    async fn exchange(&self, text: &str, command: &str) -> Result<String, SocketError> {
        let unreachable = |source| SocketError::Unreachable { at: self.at.clone(), source };
        match &self.at {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                self.talk(stream, text, command).await
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(unreachable)?;
                self.talk(stream, text, command).await
            }
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        text: &str,
        command: &str,
    ) -> Result<String, SocketError> {
        let broken = |source| SocketError::Broken {
            at: self.at.clone(),
            command: beginning(command),
            source,
        };
        stream.write_all(text.as_bytes()).await.map_err(broken)?;
        // A master keeps the connection for more commands until it hears that there are none.
        stream.shutdown().await.map_err(broken)?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER + 1).read_to_end(&mut answer).await.map_err(broken)?;
        if answer.len() as u64 > LONGEST_ANSWER {
            return Err(SocketError::TooLong { at: self.at.clone(), command: beginning(command) });
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// What the worker says of itself.
    ///
    /// # Errors
    /// As [`ask`](Self::ask); an answer that is none is a refusal.
    pub async fn info(&self) -> Result<Info, SocketError> {
        self.read("show info", Info::read).await
    }

    /// HAProxy's version.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub async fn version(&self) -> Result<Version, SocketError> {
        self.read("show info", |text| Version::read(&Info::read(text)?.version)).await
    }

    /// All servers, or those of one backend. A backend that does not exist has none.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub async fn servers(&self, backend: Option<&str>) -> Result<Servers, SocketError> {
        let Some(backend) = backend else {
            return self.read("show servers state", answers::servers).await;
        };
        let none = |text: &str| text.starts_with("Can't find backend").then(Servers::new);
        self.read(&format!("show servers state {backend}"), |text| {
            answers::servers(text).or_else(|| none(text))
        })
        .await
    }

    /// A master's processes.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub async fn processes(&self) -> Result<Processes, SocketError> {
        self.read("show proc", Processes::read).await
    }

    async fn read<T>(
        &self,
        command: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, SocketError> {
        let answer = self.ask(command).await?;
        read(&answer).ok_or_else(|| self.refused(command, &answer))
    }

    pub(super) fn refused(&self, command: &str, answer: &str) -> SocketError {
        let answer = match answer.trim() {
            "" => "an empty answer",
            text => text,
        };
        SocketError::Refused {
            at: self.at.clone(),
            command: beginning(command),
            answer: shorten(answer, 300),
        }
    }

    /// Has a command done.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and when HAProxy says that it was not done.
    pub async fn run(&self, command: &Command) -> Result<(), SocketError> {
        if let Command::Map { file, text } = command {
            return self.replace_map(file, text).await;
        }
        let line = command.line().unwrap_or_default();
        let answer = self.ask(&line).await?;
        if command.done(&answer) { Ok(()) } else { Err(self.refused(&line, &answer)) }
    }

    /// Prepares a new version of the map, fills it, and makes it the one that is looked at.
    async fn replace_map(&self, file: &str, text: &str) -> Result<(), SocketError> {
        let prepare = format!("prepare map {file}");
        let chunks = map_entries(text).map_err(|line| {
            self.refused(&prepare, &format!("too long a line: {}", beginning(line)))
        })?;
        let version =
            |text: &str| text.trim().strip_prefix("New version created: ")?.parse::<u32>().ok();
        let version = self.read(&prepare, version).await?;
        for chunk in chunks {
            self.expect_nothing(&format!("add map @{version} {file} <<\n{chunk}")).await?;
        }
        self.expect_nothing(&format!("commit map @{version} {file}")).await
    }

    /// Has a certificate replaced by what its file says now (`set ssl cert`, `commit ssl cert`).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn replace_certificate(&self, file: &str, pem: &str) -> Result<(), SocketError> {
        // An empty line would end the payload.
        let lines: Vec<&str> =
            pem.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let set = format!("set ssl cert {file} <<\n{}\n", lines.join("\n"));
        let answer = self.ask(&set).await?;
        if !answer.contains("Transaction") {
            return Err(self.refused(&set, &answer));
        }
        let commit = format!("commit ssl cert {file}");
        let answer = self.ask(&commit).await?;
        if answer.contains("Success") {
            return Ok(());
        }
        self.ask(&format!("abort ssl cert {file}")).await?;
        Err(self.refused(&commit, &answer))
    }

    async fn expect_nothing(&self, command: &str) -> Result<(), SocketError> {
        let answer = self.ask(command).await?;
        if answer.trim().is_empty() { Ok(()) } else { Err(self.refused(command, &answer)) }
    }
}

/// The first line of a command, and not more of it than fits a message.
fn beginning(command: &str) -> String {
    shorten(command.lines().next().unwrap_or_default(), 120)
}

fn shorten(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_haproxy_writes_them() {
        let unix = |path: &str| Some(Address::Unix(path.into()));
        let tcp = |address: &str| Some(Address::Tcp(address.parse().unwrap()));
        for (text, wanted) in [
            ("/run/haproxy/socket", unix("/run/haproxy/socket")),
            ("unix@/run/haproxy/socket", unix("/run/haproxy/socket")),
            ("127.0.0.1:9999", tcp("127.0.0.1:9999")),
            ("ipv6@[::1]:9999", tcp("[::1]:9999")),
            ("socket", None),
            ("", None),
        ] {
            assert_eq!(Address::read(text), wanted, "{text}");
        }
    }

    #[test]
    fn messages_never_hold_a_payload() {
        assert_eq!(beginning("set ssl cert /a.pem <<\nPRIVATE KEY"), "set ssl cert /a.pem <<");
        assert_eq!(shorten("abcdef", 3), "abc…");
    }
}
