//! The kinds of values settings have: how each is written and read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use waymark_dns::access::{Network, NetworkError};
use waymark_dns::forward::resolver_address;

/// A kind of value that a setting can have.
pub trait Value: Sized {
    /// How it is written, for the reference page.
    const KIND: &'static str;
    /// Whether a flag of this kind may stand without a value (then it means `true`).
    const SWITCH: bool = false;
    /// Whether it is a list, whose flag may be repeated.
    const LIST: bool = false;
    /// Whether values are shown nowhere.
    const SECRET: bool = false;

    /// Reads a text; the error says what it is not and how one looks.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value of a setting that nobody set and that has no default.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const SWITCH: bool = T::SWITCH;
    const LIST: bool = T::LIST;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Value for bool {
    const KIND: &'static str = "`true` or `false`";
    const SWITCH: bool = true;

    fn parse(text: &str) -> Result<bool, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }
}

impl Value for IpAddr {
    const KIND: &'static str = "an IP address, such as `127.0.0.1` or `::1`";

    fn parse(text: &str) -> Result<IpAddr, String> {
        text.parse().map_err(|_| {
            format!("{text:?} is not an IP address; write one such as 127.0.0.1, 0.0.0.0 or ::1")
        })
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "a path";

    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            return Err("the path is empty; name a folder or file".to_owned());
        }
        Ok(PathBuf::from(text))
    }
}

/// A port number to listen on; 0 means "any free one".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

impl Value for Port {
    const KIND: &'static str = "a port, 0 to 65535; 0 = any free one";

    fn parse(text: &str) -> Result<Port, String> {
        text.parse().map(Port).map_err(|_| {
            format!("{text:?} is not a port; write a number from 0 to 65535 (0 = any free one)")
        })
    }
}

/// A port number that is meant as such: not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort(pub u16);

impl Value for ServicePort {
    const KIND: &'static str = "a port, 1 to 65535";

    fn parse(text: &str) -> Result<ServicePort, String> {
        match text.parse() {
            Ok(0) | Err(_) => {
                Err(format!("{text:?} is not a port; write a number from 1 to 65535"))
            }
            Ok(port) => Ok(ServicePort(port)),
        }
    }
}

/// An inclusive range of ports; `min <= max`, `min > 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub min: u16,
    /// The last, included.
    pub max: u16,
}

impl PortRange {
    /// Whether the port lies in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.min..=self.max).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl Value for PortRange {
    const KIND: &'static str = "two ports, `first-last`";

    fn parse(text: &str) -> Result<PortRange, String> {
        let parsed = text
            .split_once('-')
            .and_then(|(min, max)| Some((min.trim().parse().ok()?, max.trim().parse().ok()?)));
        match parsed {
            None | Some((0, _)) => Err(format!(
                "{text:?} is not a range of ports; write first-last, such as 31000-32000"
            )),
            Some((min, max)) if min > max => Err(format!(
                "{text:?} begins above its end; write the lower port first: {max}-{min}"
            )),
            Some((min, max)) => Ok(PortRange { min, max }),
        }
    }
}

impl Value for Duration {
    const KIND: &'static str = "a time, such as `500ms`, `10s`, `2m`, `1h`";

    fn parse(text: &str) -> Result<Duration, String> {
        let (number, unit) = split_unit(text);
        let wrong = || {
            format!("{text:?} is not a time; write a number and a unit, such as 500ms, 10s or 2m")
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if number == 0 => 1,
            _ => return Err(wrong()),
        };
        number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
    }
}

/// A time in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u32);

impl Value for Seconds {
    const KIND: &'static str = "a time in whole seconds, such as `5s`, `2m`";

    fn parse(text: &str) -> Result<Seconds, String> {
        let time = Duration::parse(text)?;
        match u32::try_from(time.as_secs()) {
            // The limit of RFC 2181 §8.
            Ok(seconds) if time.subsec_nanos() == 0 && seconds < 1 << 31 => Ok(Seconds(seconds)),
            _ => {
                Err(format!("{text:?} is not a time in whole seconds; write one such as 5s or 2m"))
            }
        }
    }
}

/// The name of a user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(pub String);

impl Value for UserName {
    const KIND: &'static str = "a user name";

    fn parse(text: &str) -> Result<UserName, String> {
        let plain = |c: char| !c.is_whitespace() && c != ':' && c != '/';
        if !text.is_empty() && text.chars().all(plain) {
            return Ok(UserName(text.to_owned()));
        }
        Err(format!("{text:?} is not a user name"))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Value for Size {
    const KIND: &'static str = "a size, such as `64KiB`, `10MiB`, `1GiB`, or bytes";

    fn parse(text: &str) -> Result<Size, String> {
        let (number, unit) = split_unit(text);
        let wrong =
            || format!("{text:?} is not a size; write bytes, or one such as 64KiB or 10MiB");
        let factor = match unit {
            "" | "B" => 1,
            "kB" => 1000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GB" => 1_000_000_000,
            "GiB" => 1 << 30,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(factor).map(Size).ok_or_else(wrong)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(at)
}

/// A whole number between `MIN` and `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<const MIN: usize, const MAX: usize>(pub usize);

impl<const MIN: usize, const MAX: usize> Value for Count<MIN, MAX> {
    const KIND: &'static str = "a number";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(n) if (MIN..=MAX).contains(&n) => Ok(Count(n)),
            _ => Err(format!("{text:?} is not a number from {MIN} to {MAX}")),
        }
    }
}

/// A DNS name of one or more labels, lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainName(pub String);

/// The longest label of a DNS name (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;
/// The longest domain: leaves room for names below it, and lets a negative answer fit into the 512
/// bytes that every client takes.
const MAX_DOMAIN: usize = 62;

impl Value for DomainName {
    const KIND: &'static str = "a DNS name";

    fn parse(text: &str) -> Result<DomainName, String> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        if !name.is_empty() && name.len() <= MAX_DOMAIN && name.split('.').all(is_label) {
            return Ok(DomainName(name));
        }
        Err(format!(
            "{text:?} is not a DNS name; write labels of letters, digits and inner hyphens joined \
             by dots, at most {MAX_DOMAIN} characters"
        ))
    }
}

/// One label of a DNS name, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(pub String);

impl Value for Label {
    const KIND: &'static str = "one label of a DNS name";

    fn parse(text: &str) -> Result<Label, String> {
        let label = text.to_ascii_lowercase();
        if is_label(&label) {
            return Ok(Label(label));
        }
        Err(format!(
            "{text:?} cannot be part of a DNS name; use at most {MAX_LABEL} letters, digits and \
             inner hyphens"
        ))
    }
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The texts of a list: joined by commas in flags and variables, an array in the file.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Networks, as access lists name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Network>);

impl Value for Networks {
    const KIND: &'static str = "a list of IP addresses and networks, such as `10.0.0.0/8,::1`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Networks, String> {
        let networks =
            items(text).map(|item| item.parse().map_err(|e: NetworkError| e.to_string()));
        networks.collect::<Result<_, _>>().map(Networks)
    }
}

/// Other DNS servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers(pub Vec<SocketAddr>);

impl Value for Servers {
    const KIND: &'static str =
        "a list of addresses, `ip` or `ip:port`, such as `9.9.9.9,[::1]:5353`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Servers, String> {
        items(text).map(server).collect::<Result<_, _>>().map(Servers)
    }
}

fn server(text: &str) -> Result<SocketAddr, String> {
    resolver_address("", text)
        .map_err(|_| format!("{text:?} is not a server; write one such as 9.9.9.9 or [::1]:5353"))
}

/// Other DNS servers by the zone that they are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneServers(pub BTreeMap<String, Vec<SocketAddr>>);

impl Value for ZoneServers {
    const KIND: &'static str = "a list of `zone=address`, such as `corp=192.0.2.9,corp=192.0.2.10`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<ZoneServers, String> {
        let mut zones: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        for item in items(text) {
            let (zone, address) = item.split_once('=').ok_or_else(|| {
                format!("{item:?} is not zone=address; write one such as corp=192.0.2.9")
            })?;
            let zone = DomainName::parse(zone)?.0;
            zones.entry(zone).or_default().push(server(address)?);
        }
        Ok(ZoneServers(zones))
    }
}

/// A host name as clients see it: a DNS name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub String);

impl Value for HostName {
    const KIND: &'static str = "a host name or an IP address";

    fn parse(text: &str) -> Result<HostName, String> {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(HostName(text.to_owned()));
        }
        DomainName::parse(text).map(|name| HostName(name.0))
    }
}

/// What is logged: a level, or levels by part of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

/// The log levels, from quiet to loud.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// One part of a filter with its level in this program's words. marathon-lb writes levels in
/// capitals and has its own words for three of them.
fn log_part(part: &str) -> Option<String> {
    let (target, level) = part.rsplit_once('=').map_or((None, part), |(t, l)| (Some(t), l));
    let level = match level.to_ascii_lowercase().as_str() {
        "warning" => "warn",
        "critical" => "error",
        "notset" => "trace",
        other => LEVELS.into_iter().find(|known| *known == other)?,
    };
    Some(target.map_or_else(|| level.to_owned(), |target| format!("{target}={level}")))
}

impl Value for LogFilter {
    const KIND: &'static str = "`off`, `error`, `warn`, `info`, `debug`, `trace`, or `part=level` \
                                joined by commas";

    fn parse(text: &str) -> Result<LogFilter, String> {
        let parts: Option<Vec<String>> = text.split(',').map(log_part).collect();
        if let Some(parts) = parts {
            return Ok(LogFilter(parts.join(",")));
        }
        Err(format!(
            "{text:?} is not a log level; write one of {}, or such as info,waymark_dns=debug",
            LEVELS.join(", ")
        ))
    }
}

/// A choice between words.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? } $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl Value for $name {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<$name, String> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(format!(
                        "{text:?} is not a choice here; write one of {}",
                        [$($word),+].join(", ")
                    )),
                }
            }
        }
    };
}

choice! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
    "`text` or `json`"
}

pub(super) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong<T: Value + std::fmt::Debug>(texts: &[&str]) {
        for text in texts {
            let error = T::parse(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error} does not show {text:?}");
        }
    }

    #[test]
    fn times_and_sizes() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("0", 0)] {
            assert_eq!(Duration::parse(text), Ok(Duration::from_millis(millis)));
        }
        wrong::<Duration>(&["10", "s", "", "1.5s", "-1s", "10 s", "1d", "99999999999999999999h"]);
        assert_eq!(Seconds::parse("2m"), Ok(Seconds(120)));
        wrong::<Seconds>(&["500ms", "1500ms", "5", "9999999h"]);
        for (text, bytes) in [("4096", 4096), ("64KiB", 65536), ("10MB", 10_000_000)] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)));
        }
        wrong::<Size>(&["", "MiB", "1Mib", "-1", "99999999999GiB"]);
    }

    #[test]
    fn ports_and_ranges() {
        assert_eq!(Port::parse("0"), Ok(Port(0)));
        wrong::<Port>(&["", "65536", "-1", "http", "80 "]);
        wrong::<ServicePort>(&["0", "65536", "x"]);
        assert_eq!(PortRange::parse("1-65535"), Ok(PortRange { min: 1, max: 65535 }));
        wrong::<PortRange>(&["", "5", "0-5", "5-4", "5-", "a-b", "1-65536"]);
    }

    #[test]
    fn names() {
        assert_eq!(DomainName::parse("Mesos."), Ok(DomainName("mesos".into())));
        assert_eq!(DomainName::parse("a.b-c"), Ok(DomainName("a.b-c".into())));
        wrong::<DomainName>(&["", ".", "a..b", "-a", "a_b", &"a".repeat(64)]);
        wrong::<Label>(&["", "a.b", "a-", "a b"]);
        assert_eq!(HostName::parse("::1"), Ok(HostName("::1".into())));
        wrong::<HostName>(&["", "a b"]);
        assert_eq!(UserName::parse("www-data"), Ok(UserName("www-data".into())));
        wrong::<UserName>(&["", "a b", "a:b"]);
    }

    #[test]
    fn servers_and_networks() {
        assert_eq!(Networks::parse("10.0.0.0/8, ::1").unwrap().0.len(), 2);
        assert_eq!(Networks::parse(""), Ok(Networks::default()));
        assert!(Networks::parse("10.0.0.0/40").is_err());
        let servers = Servers::parse("9.9.9.9,[::1]:5353").unwrap().0;
        assert_eq!(servers[0].to_string(), "9.9.9.9:53");
        assert_eq!(servers[1].to_string(), "[::1]:5353");
        wrong::<Servers>(&["dns.example.org", "9.9.9.9:x"]);
        let zones = ZoneServers::parse("Corp=192.0.2.9,corp=192.0.2.10:54,b.c=::1").unwrap().0;
        assert_eq!((zones.len(), zones["corp"].len()), (2, 2));
        wrong::<ZoneServers>(&["192.0.2.9"]);
        assert!(ZoneServers::parse("a_b=::1").is_err() && ZoneServers::parse("a=b").is_err());
    }

    #[test]
    fn words() {
        assert_eq!(LogFormat::parse("json"), Ok(LogFormat::Json));
        wrong::<LogFormat>(&["JSON", ""]);
        assert!(LogFilter::parse("info,waymark_dns=debug").is_ok());
        assert_eq!(LogFilter::parse("WARNING"), Ok(LogFilter("warn".to_owned())));
        assert_eq!(LogFilter::parse("info,waymark_dns=DEBUG").unwrap().0, "info,waymark_dns=debug");
        wrong::<LogFilter>(&["inof", "info,", "waymark_dns=loud", ""]);
        wrong::<bool>(&["yes", "1", ""]);
        wrong::<Count<1, 5>>(&["0", "6", "x"]);
    }
}
