//! Connections that have had one answer and do nothing more.

use std::net::Ipv4Addr;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;
use crate::contestant::Contestant;
use crate::handshakes::connector;

/// A connection, in clear or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Opens so many, one after the other.
pub async fn connect(
    contestant: &Contestant,
    count: usize,
    tls: bool,
) -> Outcome<Vec<Box<dyn Stream>>> {
    let setup = &contestant.setup;
    let connector = connector(false)?;
    let hosts = setup.asked();
    let mut held: Vec<Box<dyn Stream>> = Vec::with_capacity(count);
    for host in hosts.iter().cycle().take(count) {
        let mut stream: Box<dyn Stream> = match tls {
            false => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, setup.http)).await?),
            true => {
                let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, setup.https)).await?;
                let name = ServerName::try_from(host.clone())?;
                Box::new(connector.connect(name, socket).await?)
            }
        };
        ask(&mut *stream, host).await?;
        held.push(stream);
    }
    Ok(held)
}

/// One request for the last host.
pub async fn ask_once(contestant: &Contestant) -> Outcome<()> {
    let setup = &contestant.setup;
    let host = setup.names().last().ok_or("no host")?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, setup.http)).await?;
    ask(&mut stream, &host).await
}

/// One request; the whole answer must come.
pub async fn ask(stream: &mut dyn Stream, host: &str) -> Outcome<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (mut buffer, mut filled) = (vec![0; 4096], 0);
    // The body ends with the only run of a's of this length.
    while !buffer[..filled].ends_with(&[b'a'; 200]) {
        let read = stream.read(&mut buffer[filled..]).await?;
        filled += read;
        if read == 0 || !buffer.starts_with(&b"HTTP/1.1 200"[..filled.min(12)]) {
            let text = String::from_utf8_lossy(&buffer[..filled]).into_owned();
            return Err(format!("not the backend's answer: {text}").into());
        }
    }
    Ok(())
}
