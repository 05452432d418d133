//! Whether a host port could be bound by a task now.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};

/// The wildcard addresses conflict with a listener on any address, so nothing else need be tried.
const ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

/// Whether TCP and UDP on `port` are free on every address of this machine.
///
/// std listens with `SO_REUSEADDR` and without `SO_REUSEPORT`: connections in TIME_WAIT do not
/// count, listeners do, whatever options they have set. For UDP no option is set.
pub fn is_free(port: u16) -> bool {
    ADDRESSES.into_iter().all(|address| {
        bindable(TcpListener::bind((address, port)).map(drop))
            && bindable(UdpSocket::bind((address, port)).map(drop))
    })
}

/// An address family that this machine does not have is no obstacle.
fn bindable(bound: std::io::Result<()>) -> bool {
    match bound {
        Ok(()) => true,
        Err(e) => {
            e.kind() == ErrorKind::AddrNotAvailable
                || e.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn taken_on_any_address_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(udp.local_addr().unwrap().port()));
    }

    #[test]
    fn connections_in_time_wait_do_not_count() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // The server closes first, so TIME_WAIT is on its port.
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        drop(client);
        drop(listener);
        assert!(is_free(port));
    }
}
