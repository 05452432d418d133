//! Real first messages, broken ones, and ones in pieces.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

const MOST: usize = 16 * 1024;

/// What rustls sends first.
fn hello(name: &str, alpn: usize) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = (0..alpn).map(|n| format!("protocol-{n}").into_bytes()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The message in records of so many bytes.
fn in_records(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_first_chunk::<5>() {
        let (part, next) = after.split_at(usize::from(u16::from_be_bytes([head[3], head[4]])));
        message.extend_from_slice(part);
        rest = next;
    }
    let record = |part: &[u8]| {
        [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat()
    };
    message.chunks(length).flat_map(record).collect()
}

/// A message with these extensions and no others.
fn with_extensions(extensions: &[u8]) -> Vec<u8> {
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(length);
    body.extend(extensions);
    whole(&body)
}

fn whole(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], body].concat();
    [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

fn name_extension(kind: u8, name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap();
    let mut extension = vec![0, 0];
    extension.extend((length + 5).to_be_bytes());
    extension.extend((length + 3).to_be_bytes());
    extension.push(kind);
    extension.extend(length.to_be_bytes());
    extension.extend(name);
    extension
}

#[test]
fn the_name_of_a_real_client_is_read() {
    assert_eq!(read(&hello("Db.Example.COM", 0), MOST), Hello::Named("db.example.com".into()));
    assert_eq!(read(&hello("192.0.2.1", 0), MOST), Hello::Nameless, "addresses are not named");
}

#[test]
fn a_message_in_pieces_is_put_together() {
    let bytes = hello("a.example", 200);
    let named = Hello::Named("a.example".into());
    for length in [1, 2, 3, 4, 5, 100, 1000] {
        let pieces = in_records(&bytes, length);
        assert_eq!(read(&pieces, MOST), named, "records of {length}");
        for end in 0..pieces.len() {
            assert_eq!(read(&pieces[..end], MOST), Hello::Partial, "{length}, to {end}");
        }
    }
}

#[test]
fn a_message_may_be_too_long() {
    let bytes = hello("a.example", 1200);
    assert!(bytes.len() > MOST);
    assert_eq!(read(&bytes, MOST), Hello::Other);
    assert_eq!(read(&bytes[..9], MOST), Hello::Other, "known from its head");
}

#[test]
fn extensions_are_read_to_the_byte() {
    let named = name_extension(0, b"a.example");
    let cases: Vec<(&str, Vec<u8>, Hello)> = vec![
        ("one", named.clone(), Hello::Named("a.example".into())),
        ("none", vec![], Hello::Nameless),
        ("another", vec![0, 23, 0, 0], Hello::Nameless),
        ("after another", [&[0, 23, 0, 0][..], &named].concat(), Hello::Named("a.example".into())),
        ("twice", [&named[..], &named].concat(), Hello::Other),
        ("half an extension", vec![0, 23, 0], Hello::Other),
        ("length beyond the end", vec![0, 23, 0, 9, 1], Hello::Other),
        ("another kind of name", name_extension(1, b"a"), Hello::Other),
        ("empty name", name_extension(0, b""), Hello::Other),
        ("a name with NUL", name_extension(0, b"a\0b"), Hello::Other),
        ("a name with a space", name_extension(0, b"a b"), Hello::Other),
        ("a name too long", name_extension(0, &[b'a'; 256]), Hello::Other),
        ("empty list", vec![0, 0, 0, 2, 0, 0], Hello::Other),
    ];
    for (what, extensions, expected) in cases {
        assert_eq!(read(&with_extensions(&extensions), MOST), expected, "{what}");
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    assert_eq!(read(&whole(&body), MOST), Hello::Nameless, "no extensions at all");
    body.push(0);
    assert_eq!(read(&whole(&body), MOST), Hello::Other, "a byte too many");
}

#[test]
fn other_protocols_are_told_apart_at_once() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0", &[22, 2], &[21, 3, 1, 0, 2, 1, 0], &[0x80]]
    {
        assert_eq!(read(bytes, MOST), Hello::Other, "{bytes:?}");
    }
    assert_eq!(read(&[22, 3, 1, 0, 0], MOST), Hello::Other, "an empty record");
    assert_eq!(read(&[22, 3, 1, 0x40, 1], MOST), Hello::Other, "a record too long");
    assert_eq!(read(&[22, 3, 1, 0, 1, 2], MOST), Hello::Other, "another message");
}

proptest! {
    #[test]
    fn nothing_panics(bytes: Vec<u8>) {
        let _ = read(&bytes, MOST);
        let _ = read(&whole(&bytes), MOST);
        let _ = read(&with_extensions(&bytes), MOST);
    }

    #[test]
    fn a_changed_byte_harms_nobody(at in 0..300usize, to: u8) {
        let mut bytes = hello("a.example", 5);
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = read(&bytes, MOST);
    }
}
