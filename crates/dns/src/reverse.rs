//! Names of addresses (`4.0.0.10.in-addr.arpa`, RFC 1035 §3.5; `….ip6.arpa`, RFC 3596 §2.5), and
//! the short form under which the zone's index knows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in the index: a byte that no name begins with, then the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; 17],
    length: usize,
}

/// No label is this long.
const MARK: u8 = 0xff;

impl Key {
    /// As the index has it.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Key {
        let mut bytes = [MARK; 17];
        let length = match address {
            IpAddr::V4(v4) => {
                let octets = v4.octets();
                bytes.iter_mut().skip(1).zip(octets).for_each(|(to, from)| *to = from);
                5
            }
            IpAddr::V6(v6) => {
                bytes.iter_mut().skip(1).zip(v6.octets()).for_each(|(to, from)| *to = from);
                17
            }
        };
        Key { bytes, length }
    }
}

/// The address whose name this is; `name` is in wire form with root label, in lower case.
pub fn address(name: &[u8]) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(b"\x07in-addr\x04arpa\x00") {
        let mut octets = [0u8; 4];
        let mut rest = labels;
        for octet in octets.iter_mut().rev() {
            let (label, tail) = first_label(rest)?;
            let text = std::str::from_utf8(label).ok()?;
            *octet = text.parse().ok().filter(|n: &u8| n.to_string() == text)?;
            rest = tail;
        }
        return rest.is_empty().then(|| Ipv4Addr::from(octets).into());
    }
    let labels = name.strip_suffix(b"\x03ip6\x04arpa\x00")?;
    let mut rest = labels;
    let mut bits = 0u128;
    for place in 0..32 {
        let (label, tail) = first_label(rest)?;
        let [digit] = label else { return None };
        bits |= u128::from(char::from(*digit).to_digit(16)?) << (4 * place);
        rest = tail;
    }
    rest.is_empty().then(|| Ipv6Addr::from(bits).into())
}

fn first_label(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = name.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn names_of_addresses() {
        let of = |text: &str| address(&wire::absolute(text).unwrap());
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(of("4.0.0.10.in-addr.arpa"), ip("10.0.0.4"));
        assert_eq!(of("7.255.0.9.IN-ADDR.ARPA"), ip("9.0.255.7"));
        let six = format!("7.0.0.0.{}d.f.ip6.arpa", "0.".repeat(26));
        assert_eq!(of(&six), ip("fd00::7"));
        for none in [
            "0.0.10.in-addr.arpa",
            "1.4.0.0.10.in-addr.arpa",
            "04.0.0.10.in-addr.arpa",
            "256.0.0.10.in-addr.arpa",
            "+4.0.0.10.in-addr.arpa",
            "x.0.0.10.in-addr.arpa",
            "in-addr.arpa",
            "1.ip6.arpa",
            "10.0.0.4",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of(&format!("0.{six}")), None);
        let keys = ["10.0.0.4", "0a00:0004::"].map(|t| Key::from(t.parse::<IpAddr>().unwrap()));
        assert_ne!(keys[0].as_bytes(), keys[1].as_bytes());
    }
}
