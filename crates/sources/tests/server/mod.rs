//! A server that answers as a test says, by hand-made HTTP, so that it can answer wrongly, too.

pub mod certificates;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub path: String,
    pub head: String,
    pub body: String,
}

impl Asked {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// What is answered.
pub enum Reply {
    /// A whole answer; the head's lines beside the usual ones come with it.
    Full(u16, &'static str, Vec<u8>),
    /// A body that breaks off in the middle.
    Cut(Vec<u8>),
    /// Somewhere else.
    Redirect(String),
    /// The pieces that come from elsewhere, for as long as they come.
    Pieces(mpsc::UnboundedReceiver<Vec<u8>>),
    /// Nothing, and the connection stays.
    Hang,
    /// Nothing, and the connection is closed.
    Close,
}

impl Reply {
    pub fn json(text: impl ToString) -> Reply {
        Reply::Full(200, "", text.to_string().into_bytes())
    }

    pub fn status(status: u16) -> Reply {
        Reply::Full(status, "", Vec::new())
    }
}

type Script = Box<dyn FnMut(&Asked) -> Reply + Send>;

/// A server; it ends with its runtime.
#[derive(Clone)]
pub struct Server {
    pub addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(None).await
    }

    pub async fn start_with(tls: Option<TlsAcceptor>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script: Script = Box::new(|_| Reply::Close);
        let server = Server { addr, script: Arc::new(Mutex::new(script)), asked: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (server, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.serve(tcp).await,
                        Some(tls) => server.serve(tls.accept(tcp).await?).await,
                    }
                });
            }
        });
        server
    }

    /// From now on answers so.
    pub fn answer(&self, script: impl FnMut(&Asked) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> io::Result<()> {
        let asked = read(&mut stream).await?;
        self.asked.lock().unwrap().push(asked.clone());
        let reply = (self.script.lock().unwrap())(&asked);
        match reply {
            Reply::Full(status, more, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{more}\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            Reply::Cut(body) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body[..body.len() / 2]).await?;
            }
            Reply::Redirect(to) => {
                let head = "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: ";
                stream.write_all(format!("{head}{to}\r\n\r\n").as_bytes()).await?;
            }
            Reply::Pieces(mut pieces) => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                while let Some(piece) = pieces.recv().await {
                    let size = format!("{:x}\r\n", piece.len());
                    stream.write_all(&[size.as_bytes(), &piece, b"\r\n"].concat()).await?;
                    stream.flush().await?;
                }
            }
            Reply::Hang => std::future::pending().await,
            Reply::Close => return Ok(()),
        }
        stream.shutdown().await
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Asked> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let asked = Asked { path, head: head.to_owned(), body: body.to_owned() };
        let length = asked.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            return Ok(asked);
        }
    }
}
