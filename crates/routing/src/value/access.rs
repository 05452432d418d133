//! Who may ask.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Auth;

/// `HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL`: addresses and networks, `10.0.0.0/255.0.0.0` too.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    text.split_whitespace().map(network).collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let wrong =
        || format!("{text:?} is neither an IP address nor a network; they are split at blanks");
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net.trunc());
    }
    match text.split_once('/') {
        None => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| wrong()),
        Some((address, mask)) => {
            let (address, mask) =
                (address.parse().map_err(|_| wrong())?, mask.parse().map_err(|_| wrong())?);
            IpNet::with_netmask(address, mask).map(|net| net.trunc()).map_err(|_| wrong())
        }
    }
}

/// `HAPROXY_n_AUTH`; empty = not said. Messages never show the hash.
pub(crate) fn auth(text: &str) -> Result<Option<Auth>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts: Vec<&str> = text.split(':').collect();
    let [realm, user, hash] = parts.as_slice() else {
        return Err(format!("it has {} parts; realm:user:hash has three", parts.len()));
    };
    if user.is_empty() {
        return Err(String::from("it names no user"));
    }
    if text.chars().any(char::is_control) {
        return Err(String::from("it has control characters"));
    }
    checkable(hash)?;
    let [realm, user, hash] = [realm, user, hash].map(|part| (*part).to_owned());
    Ok(Some(Auth { realm, user, hash }))
}

/// The greatest cost of bcrypt, about a second of work, and of SHA's rounds, about half of one: a
/// label must not keep a thread busy for longer.
const MOST_COST: u32 = 14;
const MOST_ROUNDS: u32 = 1_000_000;

/// Whether the hash has one of the forms of crypt(3) that can be checked in reasonable time.
fn checkable(hash: &str) -> Result<(), String> {
    let rest = hash.strip_prefix('$').map(|rest| rest.split('$').collect::<Vec<_>>());
    let fine = match rest.as_deref() {
        Some(["1", salt, sum]) => salt.len() <= 8 && sum.len() == 22 && encoded(sum),
        Some(["2a" | "2b" | "2y", cost, sum]) => {
            within(cost, 4, MOST_COST)? && cost.len() == 2 && sum.len() == 53 && encoded(sum)
        }
        Some(["5", parts @ ..]) => sha(parts, 43)?,
        Some(["6", parts @ ..]) => sha(parts, 86)?,
        Some(["sha1", rounds, salt, sum]) => {
            within(rounds, 1, MOST_ROUNDS)? && encoded(salt) && sum.len() == 28 && encoded(sum)
        }
        Some(["y" | "gy" | "7", ..]) => {
            return Err(String::from(
                "hashes of this kind cannot be checked; `openssl passwd -6` makes one that can",
            ));
        }
        Some(_) => false,
        None => hash.len() == 13 && encoded(hash),
    };
    match fine {
        true => Ok(()),
        false => Err(String::from(
            "its third part is no password hash of crypt(3); `openssl passwd -6` makes one",
        )),
    }
}

/// `[rounds=N$]salt$sum` of SHA-256 and SHA-512.
fn sha(parts: &[&str], length: usize) -> Result<bool, String> {
    let (rounds, salt, sum) = match parts {
        [rounds, salt, sum] => (rounds.strip_prefix("rounds="), salt, sum),
        [salt, sum] => (Some("5000"), salt, sum),
        _ => return Ok(false),
    };
    let Some(rounds) = rounds else { return Ok(false) };
    Ok(within(rounds, 1000, MOST_ROUNDS)?
        && salt.len() <= 16
        && sum.len() == length
        && encoded(sum))
}

fn within(number: &str, least: u32, most: u32) -> Result<bool, String> {
    match number.parse::<u32>() {
        Ok(n) if n > most => {
            Err(format!("checking its hash takes too long: {n} rounds, {most} are allowed"))
        }
        Ok(n) => Ok(n >= least),
        Err(_) => Ok(false),
    }
}

/// Whether the text is in the alphabet of crypt(3).
fn encoded(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
}
