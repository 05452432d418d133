//! Requests with any host, target, headers and bytes before them; curl for TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use waymark_stories::Reply;

/// Long enough for any answer that a case waits for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request on a connection of its own.
pub struct Request<'a> {
    pub to: SocketAddr,
    /// Bytes in front: a PROXY header.
    pub before: &'a [u8],
    pub host: &'a str,
    pub target: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
}

impl Request<'_> {
    /// The answer.
    pub fn send(&self) -> Result<Reply, String> {
        let mut stream = self.begin()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|e| format!("no answer: {e}"))?;
        parse(&answer)
    }

    /// The connection, with the request on it.
    pub fn begin(&self) -> Result<TcpStream, String> {
        let mut stream = connect(self.to)?;
        let mut text = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n",
            self.target, self.host
        );
        for (name, value) in self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let bytes = [self.before, text.as_bytes()].concat();
        stream.write_all(&bytes).map_err(|e| e.to_string())?;
        Ok(stream)
    }
}

/// A connection with time-outs.
pub fn connect(to: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&to, TIMEOUT).map_err(|e| format!("{to}: {e}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// The answer read to its end.
pub fn parse(answer: &[u8]) -> Result<Reply, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {text:?}"))?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Reply { status: status.ok_or("no status")?, headers, body: body.to_owned() })
}

/// What curl prints, or its error.
pub fn curl(args: &[&str]) -> Result<String, String> {
    let common = ["--silent", "--show-error", "--max-time", "10", "--noproxy", "*"];
    let output =
        Command::new("curl").args(common).args(args).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
