//! How a task is chosen.

use super::plain::token;
use super::words::words;
use crate::{Balance, HashKey};

/// `HAPROXY_n_BALANCE`: HAProxy's algorithms.
pub(crate) fn haproxy(text: &str, notes: &mut Vec<String>) -> Result<Balance, String> {
    let words = words(text)?;
    let (name, rest) = match words.split_first() {
        None => return Ok(Balance::default()),
        Some((name, rest)) => (name.to_ascii_lowercase(), rest),
    };
    let (name, argument) = match name.split_once('(') {
        None => (name.as_str(), None),
        Some((name, argument)) => {
            (name, Some(argument.strip_suffix(')').ok_or("a parenthesis is not closed")?))
        }
    };
    let balance = match (name, argument) {
        ("roundrobin" | "static-rr", None) => Balance::RoundRobin,
        ("leastconn", None) => Balance::LeastConnections,
        ("first", None) => Balance::First,
        ("source", None) => Balance::Hash(HashKey::Source),
        ("uri", None) => Balance::Hash(HashKey::Path),
        ("hdr", Some(header)) => Balance::Hash(HashKey::Header(token(header)?)),
        // HAProxy draws two and takes the less loaded one unless told otherwise.
        ("random", None) => Balance::TwoChoices,
        ("random", Some(draws)) => match draws.trim().parse::<u32>() {
            Ok(1) => Balance::Random,
            Ok(2..) => Balance::TwoChoices,
            _ => return Err(format!("random draws a number of tasks from 1, not {draws:?}")),
        },
        ("hash", None) => return hash(rest, notes),
        ("url_param", None) | ("rdp-cookie", _) => {
            notes.push(format!("there is no {name} here; taken as roundrobin"));
            return Ok(Balance::RoundRobin);
        }
        _ => {
            return Err(format!(
                "{text:?} is no algorithm; roundrobin, leastconn, first, source, uri, hdr(NAME) and random are"
            ));
        }
    };
    if !rest.is_empty() {
        notes.push(format!("what follows {name} has no effect: {}", rest.join(" ")));
    }
    Ok(balance)
}

/// HAProxy's `balance hash EXPRESSION`.
fn hash(rest: &[String], notes: &mut Vec<String>) -> Result<Balance, String> {
    let expression = rest.join(" ");
    let argument = |name| expression.strip_prefix(name).and_then(|e| e.strip_suffix(')'));
    let key = if expression == "src" {
        HashKey::Source
    } else if expression == "path" {
        HashKey::Path
    } else if let Some(header) = argument("req.hdr(") {
        HashKey::Header(token(&header.to_ascii_lowercase())?)
    } else if let Some(cookie) = argument("req.cook(") {
        HashKey::Cookie(token(cookie)?)
    } else {
        notes.push(format!("the expression {expression:?} is not evaluated; taken as roundrobin"));
        return Ok(Balance::RoundRobin);
    };
    Ok(Balance::Hash(key))
}

/// `WAYMARK_n_BALANCE`
pub(crate) fn waymark(text: &str) -> Result<Balance, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["round-robin"] => Ok(Balance::RoundRobin),
        ["least-connections"] => Ok(Balance::LeastConnections),
        ["two-choices"] => Ok(Balance::TwoChoices),
        ["random"] => Ok(Balance::Random),
        ["first"] => Ok(Balance::First),
        ["hash", key] => hash_key(key).map(Balance::Hash),
        ["hash"] => {
            Err(String::from("hash lacks its key: source, header:NAME, cookie:NAME or path"))
        }
        _ => Err(format!(
            "{text:?} is no way to choose a task; round-robin, least-connections, two-choices, random, first and \
             hash KEY are"
        )),
    }
}

fn hash_key(text: &str) -> Result<HashKey, String> {
    match text.split_once(':') {
        None if text == "source" => Ok(HashKey::Source),
        None if text == "path" => Ok(HashKey::Path),
        Some(("header", name)) => Ok(HashKey::Header(token(&name.to_ascii_lowercase())?)),
        Some(("cookie", name)) => Ok(HashKey::Cookie(token(name)?)),
        _ => Err(format!("{text:?} is no key; source, header:NAME, cookie:NAME and path are")),
    }
}
