//! Two ends of a hand-over, and ends that are not what they should be.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use super::*;
use crate::listen::{SocketKey, Sockets};

/// A folder, and sockets served in it.
struct Old {
    folder: tempfile::TempDir,
    sockets: Arc<Sockets>,
    successors: Successors,
}

impl Old {
    fn start() -> Old {
        let folder = tempfile::tempdir().unwrap();
        let sockets = Arc::new(Sockets::default());
        let successors =
            serve(&folder.path().join("socket"), sockets.clone(), Kind::Traffic).unwrap();
        Old { folder, sockets, successors }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    fn open(&self) -> Arc<TcpListener> {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        self.sockets.opened(SocketKey::Tcp(listener.local_addr().unwrap()), &listener);
        listener
    }
}

#[tokio::test]
async fn sockets_go_from_one_to_the_other() {
    let mut old = Old::start();
    // More than one message takes.
    let listeners: Vec<_> = (0..150).map(|_| old.open()).collect();
    let udp = Arc::new(UdpSocket::bind("[::1]:0").unwrap());
    old.sockets.opened(SocketKey::Udp(udp.local_addr().unwrap()), &udp);
    let admin = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    old.sockets.opened(SocketKey::Named("admin".into()), &admin);
    let closed = old.open();
    let closed_at = closed.local_addr().unwrap();
    drop(closed);

    let (mut inherited, predecessor) = take(&old.path(), Kind::Traffic).unwrap().unwrap();
    assert_eq!(inherited.len(), 152);
    assert!(!inherited.0.contains_key(&SocketKey::Tcp(closed_at)), "closed by then");
    assert!(inherited.0.contains_key(&SocketKey::Udp(udp.local_addr().unwrap())));
    assert!(inherited.take_named("admin").is_some() && inherited.take_named("admin").is_none());
    let ready = std::thread::spawn(|| predecessor.ready());
    let mut successor = old.successors.next().await;
    let address = listeners[7].local_addr().unwrap();
    // One that nobody has accepted when the old one closes is the new one's.
    let _client = TcpStream::connect(address).unwrap();
    drop(listeners);
    successor.released();
    ready.join().unwrap().unwrap();
    let socket = inherited.0.remove(&SocketKey::Tcp(address)).unwrap();
    TcpListener::from(socket).accept().unwrap();
}

#[tokio::test]
async fn a_new_one_that_goes_away_changes_nothing() {
    let mut old = Old::start();
    let _listener = old.open();
    let (first, predecessor) = take(&old.path(), Kind::Traffic).unwrap().unwrap();
    drop((first, predecessor));
    drop(UnixStream::connect(old.path()).unwrap());
    let (second, predecessor) = take(&old.path(), Kind::Traffic).unwrap().unwrap();
    assert_eq!(second.len(), 1);
    let ready = std::thread::spawn(|| predecessor.ready());
    drop(old.successors.next().await);
    assert!(ready.join().unwrap().is_err(), "it is told when the old one is gone");
}

#[test]
fn without_an_old_one_there_is_nothing_to_take() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    assert!(take(&path, Kind::Traffic).unwrap().is_none());
    drop(UnixListener::bind(&path).unwrap());
    assert!(take(&path, Kind::Traffic).unwrap().is_none(), "a path whose process is gone");
    let sockets = Arc::new(Sockets::default());
    let _successors = serve(&path, sockets, Kind::Traffic).unwrap();
    assert!(take(&path, Kind::Traffic).unwrap().unwrap().0.is_empty());
}

#[test]
fn another_protocol_is_refused() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    for answer in [&b""[..], b"\x01\x00\x03tcp", b"\x00\x00\x01x", b"\x00\x00"] {
        let other = std::thread::spawn({
            let listener = listener.try_clone().unwrap();
            move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; 8]).unwrap();
                stream.write_all(answer).unwrap();
            }
        });
        let taken = take(&path, Kind::Traffic);
        other.join().unwrap();
        assert!(taken.is_err(), "{answer:?}: {taken:?}");
    }
    let old = Old::start();
    let mut stream = UnixStream::connect(old.path()).unwrap();
    stream.write_all(b"WAYMARK\x7f").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed");
}
