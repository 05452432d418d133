//! Names that must be marathon-lb's to the letter: servers, their ids and cookies, ACLs. Sticky
//! sessions, saved server states and deployments that run side by side depend on them.

use std::collections::HashSet;
use std::fmt::Write;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Place;

/// HAProxy's ids of servers are taken from 1 to this − 1, as in marathon-lb.
const IDS: u32 = 32767;

/// Every character but letters, digits and dashes becomes `_`.
pub(crate) fn cleaned(text: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    text.chars().map(clean).collect()
}

/// The name of a server: host, address and port; the address alone when it is the host.
pub(crate) fn server(place: &Place) -> String {
    let address = place.address.to_string();
    cleaned(&match place.host == address {
        true => format!("{address}_{}", place.port),
        false => format!("{}_{address}_{}", place.host, place.port),
    })
}

/// The cookie's value for a server of this name.
pub(crate) fn cookie(server: &str) -> String {
    let mut hex = hex(&Sha1::digest(server));
    hex.truncate(10);
    hex
}

/// The id of a server of this name within a backend whose other ids are `taken`; it is added to
/// them. `None` when there are none left.
pub(crate) fn id(server: &str, taken: &mut HashSet<u32>) -> Option<u32> {
    if taken.len() + 1 >= IDS as usize {
        return None;
    }
    let mut name = server.to_owned();
    // Each round adds 65 letters; so many rounds are as good as never needed.
    for _ in 0..10_000 {
        let hash = Sha256::digest(&name);
        let id = hash.iter().fold(0, |n, byte| (n * 256 + u32::from(*byte)) % IDS);
        if id != 0 && taken.insert(id) {
            return Some(id);
        }
        name.push(' ');
        name.push_str(&hex(&hash));
    }
    None
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_marathon_lb_names_them() {
        let place = |host: &str, address: &str| Place {
            host: host.to_owned(),
            address: address.parse().unwrap(),
            port: 31001,
            draining: false,
        };
        assert_eq!(server(&place("10.20.0.11", "10.20.0.11")), "10_20_0_11_31001");
        let named = server(&place("agent-a.example.com", "192.168.5.7"));
        assert_eq!(named, "agent-a_example_com_192_168_5_7_31001");
        assert_eq!(cleaned("/shop/wéb"), "_shop_w_b");
    }

    #[test]
    fn ids_are_unique_and_depend_on_the_name() {
        // printf web | sha256sum: 4b5e57f6…, mod 32767; then "web 4b5e57f6…"; printf web | sha1sum
        let mut taken = HashSet::new();
        assert_eq!(id("web", &mut taken), Some(12158));
        assert_eq!(id("web", &mut taken), Some(1035));
        assert_eq!(cookie("web"), "ca84d1343b");
    }
}
