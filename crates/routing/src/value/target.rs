//! Paths, expressions over them, and places to redirect to.

use regex::{Regex, RegexBuilder};

use super::words::words;
use crate::{PathPattern, Rewrite};

/// What an expression may cost in memory, compiled. Those people write take a few KB.
const EXPRESSION_LIMIT: usize = 256 * 1024;

/// `HAPROXY_n_PATH`: prefixes with the flags of HAProxy's ACLs.
pub(crate) fn haproxy_paths(text: &str) -> Result<Vec<PathPattern>, String> {
    let (mut ignore_case, mut method, mut flags) = (false, String::from("beg"), true);
    let mut paths = Vec::new();
    let mut words = words(text)?.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" if flags => flags = false,
            "-i" if flags => ignore_case = true,
            "-m" if flags => method = words.next().ok_or("-m lacks its method")?,
            flag if flags && flag.starts_with('-') => {
                return Err(format!("the flag {flag} is not understood; -i, -m and -- are"));
            }
            _ => {
                flags = false;
                paths.push(haproxy_path(&method, ignore_case, word)?);
            }
        }
    }
    Ok(paths)
}

fn haproxy_path(method: &str, ignore_case: bool, word: String) -> Result<PathPattern, String> {
    let lower = || if ignore_case { word.to_ascii_lowercase() } else { word.clone() };
    match method {
        "beg" => Ok(PathPattern::Prefix { text: path(&lower())?, ignore_case }),
        "str" if !ignore_case => Ok(PathPattern::Exact(path(&word)?)),
        "str" => {
            let whole = format!("^{}$", regex::escape(&path(&word)?));
            Ok(PathPattern::Regex(compile(&whole, true)?))
        }
        "reg" => Ok(PathPattern::Regex(compile(&word, ignore_case)?)),
        _ => Err(format!("-m {method} is not understood; beg, str and reg are")),
    }
}

/// `WAYMARK_n_PATH`
pub(crate) fn segments(text: &str) -> Result<Vec<PathPattern>, String> {
    let whole = |word: &str| {
        let path = path(word)?;
        let trimmed = path.trim_end_matches('/');
        Ok(PathPattern::Segments(if trimmed.is_empty() { "/" } else { trimmed }.to_owned()))
    };
    text.split_whitespace().map(whole).collect()
}

/// `WAYMARK_n_PATH_EXACT`
pub(crate) fn exact(text: &str) -> Result<Vec<PathPattern>, String> {
    text.split_whitespace().map(|word| Ok(PathPattern::Exact(path(word)?))).collect()
}

/// `WAYMARK_n_PATH_REGEX`: matches paths as a whole. Empty = not said.
pub(crate) fn expression(text: &str) -> Result<Option<PathPattern>, String> {
    match text.trim() {
        "" => Ok(None),
        text => {
            // By itself first: a parenthesis too many would be closed by ours.
            compile(text, false)?;
            Ok(Some(PathPattern::Regex(compile(&format!("^(?:{text})$"), false)?)))
        }
    }
}

/// `WAYMARK_n_REWRITE`
pub(crate) fn rewrite(text: &str) -> Result<Option<Rewrite>, String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [pattern, with] = parts.as_slice() else {
        return match parts.is_empty() {
            true => Ok(None),
            false => Err(String::from(
                "it is an expression, a blank, and what it becomes: ^/old/(.*) /new/$1",
            )),
        };
    };
    printable(with)?;
    Ok(Some(Rewrite::Replace { pattern: compile(pattern, false)?, with: (*with).to_owned() }))
}

/// A path; empty = not said.
pub(crate) fn optional_path(text: &str) -> Result<Option<String>, String> {
    match text.trim() {
        "" => Ok(None),
        text => path(text).map(Some),
    }
}

/// A place to redirect to; empty = not said.
pub(crate) fn location(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    printable(text)?;
    if text.contains("%[") {
        return Err(String::from(
            "HAProxy's expressions are not evaluated; a URL or a path stands here",
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn path(text: &str) -> Result<String, String> {
    printable(text)?;
    if !text.starts_with('/') {
        return Err(format!(
            "the path {text:?} does not begin with a slash, so nothing would match it"
        ));
    }
    match text.find(['?', '#']) {
        Some(_) => Err(format!("the path {text:?} has a query; rules go by the path alone")),
        None => Ok(text.to_owned()),
    }
}

/// Whether the text can stand in a request's first line or a header.
fn printable(text: &str) -> Result<(), String> {
    match text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(format!(
            "{text:?} has blanks, control characters or letters beyond ASCII; write them as %20"
        )),
    }
}

fn compile(text: &str, ignore_case: bool) -> Result<Regex, String> {
    let built =
        RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(EXPRESSION_LIMIT).build();
    // The crate's message draws the place over several lines; its last line says what is wrong.
    built.map_err(|error| {
        let message = error.to_string();
        let reason =
            message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("the expression {text:?} cannot be read: {reason}")
    })
}
