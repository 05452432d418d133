//! The PROXY protocol: who a connection is from, told by the proxy before, in its first bytes.
//!
//! In: bytes, or addresses. Out: addresses, or bytes. Both versions, as HAProxy's `proxy-protocol.txt`
//! has them. Reading is strict: what is not exactly a header is malformed, and the connection has
//! to be closed, since nobody knows who it is from. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use waymark_routing::ProxyVersion;

/// The longest header of version 1, its line end included (proxy-protocol.txt, 2.1).
const V1_MOST: usize = 107;

/// The longest header of version 2 that is read: addresses and a few kilobytes of extensions, which
/// are passed over. The protocol would allow 64 KiB.
const V2_MOST: usize = 4096;

const V1_BEGIN: &[u8] = b"PROXY ";
const V2_BEGIN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// More bytes are needed.
    Partial,
    /// A header of this many bytes. Without addresses the connection is the proxy's own (a health
    /// check), or of a kind that has none.
    Whole {
        /// Who it is from.
        addresses: Option<Addresses>,
        /// The header's length.
        length: usize,
    },
}

/// From where to where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
}

/// The first bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no PROXY header, or a malformed one")]
pub struct Malformed;

/// Reads a header of either version.
pub fn read(bytes: &[u8]) -> Result<Preface, Malformed> {
    if begins(bytes, V1_BEGIN) {
        read_v1(bytes)
    } else if begins(bytes, V2_BEGIN) {
        read_v2(bytes)
    } else {
        Err(Malformed)
    }
}

/// Whether the one begins with the other, as far as there are bytes.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

fn read_v1(bytes: &[u8]) -> Result<Preface, Malformed> {
    let most = bytes.get(..V1_MOST.min(bytes.len())).unwrap_or_default();
    let Some(end) = most.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MOST { Ok(Preface::Partial) } else { Err(Malformed) };
    };
    let line = most.get(V1_BEGIN.len()..end).ok_or(Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    let addresses = match words.next() {
        // "the receiver must ignore anything presented before the CRLF"
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(v1_addresses::<Ipv4Addr>(&mut words)?),
        Some("TCP6") => Some(v1_addresses::<Ipv6Addr>(&mut words)?),
        _ => return Err(Malformed),
    };
    Ok(Preface::Whole { addresses, length: end + 2 })
}

fn v1_addresses<'a, Ip: std::str::FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Result<Addresses, Malformed> {
    let mut ip = || words.next().and_then(|w| w.parse::<Ip>().ok()).ok_or(Malformed);
    let (source, destination) = (ip()?, ip()?);
    let mut port = || words.next().and_then(v1_port).ok_or(Malformed);
    let (from, to) = (port()?, port()?);
    match words.next() {
        None => Ok(Addresses {
            source: SocketAddr::new(source.into(), from),
            destination: SocketAddr::new(destination.into(), to),
        }),
        Some(_) => Err(Malformed),
    }
}

/// Digits without a sign or a leading zero.
fn v1_port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok()).flatten()
}

fn read_v2(bytes: &[u8]) -> Result<Preface, Malformed> {
    let Some([version_command, family, high, low]) = bytes.get(V2_BEGIN.len()..V2_FIXED) else {
        return Ok(Preface::Partial);
    };
    let length = V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    let with_addresses = match version_command {
        0x20 => false,
        0x21 => true,
        _ => return Err(Malformed),
    };
    if length > V2_MOST {
        return Err(Malformed);
    }
    let Some(body) = bytes.get(V2_FIXED..length) else { return Ok(Preface::Partial) };
    let addresses = match family {
        // The proxy's own connection: "the receiver must ignore the protocol block".
        _ if !with_addresses => None,
        0x11 => Some(v2_addresses::<4>(body)?),
        0x21 => Some(v2_addresses::<16>(body)?),
        // Unspecified, and Unix sockets: no address that means anything here.
        0x00 | 0x31 | 0x32 => None,
        _ => return Err(Malformed),
    };
    Ok(Preface::Whole { addresses, length })
}

fn v2_addresses<const N: usize>(body: &[u8]) -> Result<Addresses, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = body.split_first_chunk::<N>().ok_or(Malformed)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(Malformed)?;
    let (from, rest) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
    let (to, _extensions) = rest.split_first_chunk::<2>().ok_or(Malformed)?;
    let address = |ip: &[u8; N], port: &[u8; 2]| {
        SocketAddr::new(IpAddr::from(*ip), u16::from_be_bytes(*port))
    };
    Ok(Addresses { source: address(source, from), destination: address(destination, to) })
}

/// A header that says these addresses. Of two families both become IPv6.
pub fn write(version: ProxyVersion, addresses: Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let (from, to) = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        pair @ ((IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_))) => pair,
        (a, b) => (IpAddr::V6(mapped(a)), IpAddr::V6(mapped(b))),
    };
    let (from_port, to_port) = (source.port(), destination.port());
    match version {
        ProxyVersion::V1 => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
        }
        ProxyVersion::V2 => write_v2(from, to, from_port, to_port),
    }
}

fn write_v2(from: IpAddr, to: IpAddr, from_port: u16, to_port: u16) -> Vec<u8> {
    let mut header = V2_BEGIN.to_vec();
    let (family, length): (u8, u16) = if from.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
    header.extend([0x21, family]);
    header.extend(length.to_be_bytes());
    for ip in [from, to] {
        match ip {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    header.extend(from_port.to_be_bytes());
    header.extend(to_port.to_be_bytes());
    header
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
#[path = "proxy_protocol_tests.rs"]
mod tests;
