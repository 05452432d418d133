//! Numbers, times, yes and no, names.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::Sticky;

/// The longest time-out: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The shortest time between two checks: an app must not have its checks cost more than its traffic.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A whole number within bounds.
pub(crate) fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let wrong = || format!("{text:?} is no number from {least} to {most}");
    let number: T = text.trim().parse().map_err(|_| wrong())?;
    if number < least || number > most { Err(wrong()) } else { Ok(number) }
}

/// `20` or `20%`
pub(crate) fn percent(text: &str) -> Result<u32, String> {
    let digits = text.trim();
    number(digits.strip_suffix('%').unwrap_or(digits), 0, 100)
}

/// `250ms`, `30s`, `5m`, `1h`; empty = not said.
pub(crate) fn duration(text: &str) -> Result<Option<Duration>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} is no time; 250ms, 30s, 5m and 1h are")),
    };
    let count: u64 = digits.parse().map_err(|_| format!("{text:?} is no time"))?;
    let time = Duration::from_millis(count.saturating_mul(millis));
    if time.is_zero() || time > LONGEST {
        return Err(format!("{text:?} is not between 1ms and 168h"));
    }
    Ok(Some(time))
}

/// A time of [`duration`] after which something is done again: not too soon.
pub(crate) fn interval(text: &str) -> Result<Option<Duration>, String> {
    match duration(text)? {
        Some(time) if time < SHORTEST_INTERVAL => {
            Err(format!("{text:?} is less than {SHORTEST_INTERVAL:?}"))
        }
        time => Ok(time),
    }
}

/// Yes or no as marathon-lb reads them: `true`, `t`, `yes` and `y` are yes, everything else is no.
/// What does not look like a no is noted.
pub(crate) fn flag(text: &str, notes: &mut Vec<String>) -> bool {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" => return true,
        _ if says_no(text) => {}
        _ => notes
            .push(format!("{text:?} counts as no, as with marathon-lb; yes is true, t, yes or y")),
    }
    false
}

/// Whether a value asks for nothing.
pub(crate) fn says_no(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    matches!(text.as_str(), "" | "false" | "f" | "no" | "n" | "0" | "off")
}

/// `on` or `off`
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

/// Groups as marathon-lb reads them: blanks around a comma belong to the names.
pub(crate) fn groups(text: &str, notes: &mut Vec<String>) -> Vec<String> {
    let groups: Vec<String> = text.split(',').map(String::from).collect();
    for group in groups.iter().filter(|g| g.trim() != g.as_str()) {
        notes.push(format!(
            "the group {group:?} begins or ends with a blank, which belongs to its name"
        ));
    }
    groups
}

/// The name of a sticky cookie; `off` = none.
pub(crate) fn sticky(text: &str) -> Result<Option<Sticky>, String> {
    match text.trim() {
        "" | "off" => Ok(None),
        name => Ok(Some(Sticky { cookie: token(name)? })),
    }
}

/// The name of a header or cookie: a token of RFC 9110 §5.6.2.
pub(crate) fn token(text: &str) -> Result<String, String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || text.len() > 128 || !text.bytes().all(is_token) {
        return Err(format!("{text:?} is no name of a header or cookie"));
    }
    Ok(text.to_owned())
}
