//! Who may: lists of networks. Read once from settings, asked for each client. Pure.
//!
//! An IPv4 address that arrives on an IPv6 socket (`::ffff:192.0.2.1`) is that IPv4 address; so
//! `::/0` has all of IPv4 too.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A network in CIDR form: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// As an IPv6 address, which IPv4's are a part of.
    address: u128,
    mask: u128,
}

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Not of the form `address` or `address/length`.
    #[error("`{0}` is not a network such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.1")]
    Form(String),
    /// Bits behind the prefix are set, so the text says two different things.
    #[error("`{0}` has bits set behind its prefix")]
    Bits(String),
}

/// Bits before an IPv4 address in its IPv6 form.
const V4_PREFIX: u32 = 96;

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & self.mask == self.address
    }

    fn prefix(&self) -> u32 {
        self.mask.leading_ones()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let form = || NetworkError::Form(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let (before, longest) = if address.is_ipv4() { (V4_PREFIX, 32) } else { (0, 128) };
        let length = match length {
            None => longest,
            Some(length) if length.bytes().all(|b| b.is_ascii_digit()) => {
                length.parse().ok().filter(|length| *length <= longest).ok_or_else(form)?
            }
            Some(_) => return Err(form()),
        };
        let mask = u128::MAX.checked_shl(128 - before - length).unwrap_or(0);
        let address = bits(address);
        if address & !mask != 0 {
            return Err(NetworkError::Bits(text.to_owned()));
        }
        Ok(Network { address, mask })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.address);
        match address.to_ipv4_mapped().filter(|_| self.prefix() >= V4_PREFIX) {
            Some(address) => write!(f, "{address}/{}", self.prefix() - V4_PREFIX),
            None => write!(f, "{address}/{}", self.prefix()),
        }
    }
}

/// A list of networks; the empty one has nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList(Vec<Network>);

impl AccessList {
    /// Everybody.
    pub fn everybody() -> AccessList {
        AccessList(vec![Network { address: 0, mask: 0 }])
    }

    /// Those whose addresses nobody outside has: loopback, link-local and private networks (RFC
    /// 1918, RFC 6598, RFC 4193).
    pub fn private() -> AccessList {
        let v4 = |address: [u8; 4], length: u32| Network {
            address: bits(IpAddr::from(address)),
            mask: u128::MAX << (128 - V4_PREFIX - length),
        };
        let v6 = |first: u16, length: u32| Network {
            address: u128::from(first) << 112,
            mask: u128::MAX << (128 - length),
        };
        let loopback = Network { address: 1, mask: u128::MAX };
        AccessList(vec![
            v4([127, 0, 0, 0], 8),
            v4([10, 0, 0, 0], 8),
            v4([172, 16, 0, 0], 12),
            v4([192, 168, 0, 0], 16),
            v4([100, 64, 0, 0], 10),
            v4([169, 254, 0, 0], 16),
            loopback,
            v6(0xfc00, 7),
            v6(0xfe80, 10),
        ])
    }

    /// Whether the address is in one of the networks.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether it has nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for AccessList {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> AccessList {
        AccessList(networks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, written) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), written);
            assert_eq!(written.parse(), Ok(network));
        }
        for text in ["", "/", "a", "192.0.2.0/33", "192.0.2.0/+8", "192.0.2.0/", "::/129", "1.2.3"]
        {
            let error = text.parse::<Network>().unwrap_err();
            assert_eq!(error, NetworkError::Form(text.to_owned()));
        }
        let error = "192.0.2.1/24".parse::<Network>().unwrap_err();
        assert_eq!(error, NetworkError::Bits("192.0.2.1/24".to_owned()));
    }

    #[test]
    fn contains() {
        let list = |texts: &[&str]| -> AccessList {
            texts.iter().map(|text| text.parse::<Network>().unwrap()).collect()
        };
        let some = list(&["192.0.2.0/24", "10.0.0.1", "2001:db8::/32"]);
        for (address, allowed) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.7", true),
            ("10.0.0.1", true),
            ("10.0.0.2", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(some.allows(address.parse().unwrap()), allowed, "{address}");
            assert!(AccessList::everybody().allows(address.parse().unwrap()));
            assert!(!AccessList::default().allows(address.parse().unwrap()));
        }
        let private = AccessList::private();
        for address in ["127.1.2.3", "10.9.9.9", "172.31.0.1", "192.168.1.1", "100.64.0.1"] {
            assert!(private.allows(address.parse().unwrap()), "{address}");
        }
        for address in ["::1", "fd00::1", "fe80::1", "169.254.0.1", "::ffff:10.0.0.1"] {
            assert!(private.allows(address.parse().unwrap()), "{address}");
        }
        for address in ["11.0.0.0", "172.32.0.0", "192.169.0.0", "8.8.8.8", "::2", "2001:db8::1"] {
            assert!(!private.allows(address.parse().unwrap()), "{address}");
        }
        // All of IPv4 is not all of IPv6.
        let v4 = list(&["0.0.0.0/0"]);
        assert!(
            v4.allows("1.2.3.4".parse().unwrap()) && !v4.allows("2001:db8::1".parse().unwrap())
        );
    }
}
