//! Points in time, as zdd.py writes them: `2016-03-01T10:20:30.123456`, mostly without a zone.

use time::{Date, Month, Time, UtcOffset};

/// Nanoseconds since 1970, of an ISO 8601 date with an optional time and an optional zone; UTC
/// without one.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn parse(text: &str) -> Result<i128, String> {
    let wrong = || {
        format!(
            "{text:?} is no date and time; 2016-03-01T10:20:30 and 2016-03-01T10:20:30+01:00 are"
        )
    };
    instant(text.trim()).ok_or_else(wrong)
}

fn instant(text: &str) -> Option<i128> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let date = date_of(date)?;
    let (time, offset) = match rest.strip_prefix(['T', 't', ' ']) {
        None if rest.is_empty() => (Time::MIDNIGHT, UtcOffset::UTC),
        None => return None,
        Some(rest) => {
            let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
            (time_of(rest.get(..end)?.trim_end())?, offset_of(rest.get(end..)?)?)
        }
    };
    Some(date.with_time(time).assume_offset(offset).unix_timestamp_nanos())
}

fn date_of(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let month = Month::try_from(number::<u8>(month, 2)?).ok()?;
    Date::from_calendar_date(number(year, 4)?, month, number(day, 2)?).ok()
}

/// `HH:MM[:SS[.fraction]]`
fn time_of(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (seconds, fraction) = match parts.next() {
        None => ("00", ""),
        Some(seconds) => seconds.split_once(['.', ',']).unwrap_or((seconds, "0")),
    };
    if parts.next().is_some() || fraction.len() > 9 {
        return None;
    }
    let nanos = number::<u32>(&format!("{fraction:0<9}"), 9)?;
    Time::from_hms_nano(hour, minute, number(seconds, 2)?, nanos).ok()
}

/// Nothing, `Z`, `+01:00`, `+0100` or `+01`
fn offset_of(text: &str) -> Option<UtcOffset> {
    let sign = match text.as_bytes().first() {
        None | Some(b'Z' | b'z') => return (text.len() <= 1).then_some(UtcOffset::UTC),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let digits = text.get(1..)?.replacen(':', "", 1);
    let minutes = if digits.len() == 2 { "00" } else { digits.get(2..)? };
    let (hours, minutes) = (number::<i8>(digits.get(..2)?, 2)?, number::<i8>(minutes, 2)?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// Exactly so many digits.
fn number<T: std::str::FromStr>(text: &str, digits: usize) -> Option<T> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}
