//! Headers that are, that are not, and that are not whole.

use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_BEGIN, &[version_command, family], &length, body].concat()
}

#[test]
fn headers_are_read() {
    let four = addresses("192.0.2.1:1000", "198.51.100.2:443");
    let six = addresses("[2001:db8::1]:1000", "[2001:db8::2]:443");
    let local = v2(0x20, 0x00, &[]);
    let unix = v2(0x21, 0x31, &[0; 216]);
    let extended = {
        let mut body = write(ProxyVersion::V2, four).split_off(V2_FIXED);
        body.extend([0x01, 0, 2, b'h', b'2']);
        v2(0x21, 0x11, &body)
    };
    for (header, expected) in [
        (&b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\r\n"[..], Some(four)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", Some(six)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN and whatever else\r\n", None),
        (&local, None),
        (&unix, None),
        (&extended, Some(four)),
        (&write(ProxyVersion::V2, six), Some(six)),
    ] {
        let whole = Preface::Whole { addresses: expected, length: header.len() };
        assert_eq!(read(header), Ok(whole), "{header:?}");
        let with_rest = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&with_rest), Ok(whole), "what follows is not the header's");
        for length in 0..header.len() {
            assert_eq!(read(&header[..length]), Ok(Preface::Partial), "{header:?} to {length}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"proxy TCP4 192.0.2.1 198.51.100.2 1000 443\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.2 1000 443\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 1000 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 443 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 443 5\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1000\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 01000 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1000 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1000 443\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1000 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 1000 443\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 1000 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\n\r\n",
        b"PROXY TCP4 \xff 198.51.100.2 1000 443\r\n",
        b"PROXY \r\n",
        &long,
        &v2(0x11, 0x11, &[0; 12]),
        &v2(0x22, 0x11, &[0; 12]),
        &v2(0x21, 0x12, &[0; 12]),
        &v2(0x21, 0x11, &[0; 11]),
        &v2(0x21, 0x21, &[0; 35]),
        &v2(0x21, 0x11, &[0; V2_MOST]),
        b"\r\n\r\n\0\r\nQUIX",
    ] {
        assert_eq!(read(bytes), Err(Malformed), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn two_families_are_written_as_ipv6() {
    let mixed = addresses("192.0.2.1:1", "[2001:db8::2]:2");
    let expected = addresses("[::ffff:192.0.2.1]:1", "[2001:db8::2]:2");
    let mapped = addresses("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2");
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let read_back = |addresses| match read(&write(version, addresses)) {
            Ok(Preface::Whole { addresses: Some(found), .. }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(read_back(mixed), expected);
        assert_eq!(read_back(mapped), addresses("192.0.2.1:1", "192.0.2.2:2"));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source: std::net::SocketAddrV6, destination: std::net::SocketAddrV6, second: bool,
    ) {
        let clean = |a: std::net::SocketAddrV6| SocketAddr::new((*a.ip()).into(), a.port());
        let (source, destination) = (clean(source), clean(destination));
        let version = if second { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let header = write(version, Addresses { source, destination });
        let Ok(Preface::Whole { addresses: Some(found), length }) = read(&header) else {
            panic!("{header:?}");
        };
        prop_assert_eq!(length, header.len());
        prop_assert_eq!(found.source.ip().to_canonical(), source.ip().to_canonical());
        prop_assert_eq!(found.destination.port(), destination.port());
    }

    #[test]
    fn nothing_panics(bytes: Vec<u8>, begin in 0..3usize) {
        let begin = [&b""[..], V1_BEGIN, V2_BEGIN][begin];
        let _ = read(&[begin, &bytes].concat());
    }
}
