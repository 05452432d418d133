//! The kinds of values that settings have: how each is written, and what is refused.
//!
//! A kind looks at one value alone. What depends on other settings or on files is looked at by
//! [`super::check`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use waymark_dns::access::{Network, NetworkError};

/// A kind of value.
pub trait Kind: Sized {
    /// How it is written, for the reference page.
    const KIND: &'static str;

    /// Takes a value that is not `null`. The error says what is wrong and how a value looks.
    fn read(value: &Value) -> Result<Self, String>;

    /// What `null` means; `None` leaves the setting as it was, as Go does with scalars.
    fn of_null() -> Option<Result<Self, String>> {
        None
    }
}

/// A value in a message: short, on one line.
fn shown(value: &Value) -> String {
    const MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn wrong<T>(value: &Value, wanted: &str) -> Result<T, String> {
    Err(format!("{} is not {wanted}", shown(value)))
}

impl Kind for bool {
    const KIND: &'static str = "`true` or `false`";

    fn read(value: &Value) -> Result<bool, String> {
        value.as_bool().map_or_else(|| wrong(value, "true or false"), Ok)
    }
}

impl Kind for String {
    const KIND: &'static str = "a text";

    fn read(value: &Value) -> Result<String, String> {
        value.as_str().map_or_else(|| wrong(value, "a text"), |text| Ok(text.to_owned()))
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> Kind for Number<MIN, MAX> {
    const KIND: &'static str = "a whole number";

    fn read(value: &Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
        match number.filter(|n| (MIN..=MAX).contains(n)) {
            Some(number) => Ok(Number(number)),
            None => wrong(value, &format!("a whole number from {MIN} to {MAX}")),
        }
    }
}

/// A number of seconds, at most what Mesos-DNS's own type holds.
pub type Seconds<const MIN: u32> = Number<MIN, { i32::MAX as u32 }>;
/// A field of the SOA record.
pub type SoaField = Number<0, { u32::MAX }>;
/// A port; 0 is any free one.
pub type Port = Number<0, 65_535>;

/// A list of texts, not yet looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

impl Kind for Texts {
    const KIND: &'static str = "a list of texts";

    fn read(value: &Value) -> Result<Texts, String> {
        let Some(list) = value.as_array() else { return wrong(value, "a list of texts") };
        let texts = list.iter().map(|item| match item {
            Value::String(text) => Ok(text.clone()),
            // Go leaves such an element empty.
            Value::Null => Ok(String::new()),
            item => wrong(item, "a text; write a list of texts"),
        });
        texts.collect::<Result<_, _>>().map(Texts)
    }

    fn of_null() -> Option<Result<Texts, String>> {
        Some(Ok(Texts::default()))
    }
}

/// Lists of texts by the zone they are for, not yet looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByZone(pub BTreeMap<String, Texts>);

impl Kind for ByZone {
    const KIND: &'static str = "an object: zone → list of texts";

    fn read(value: &Value) -> Result<ByZone, String> {
        let Some(object) = value.as_object() else {
            return wrong(value, "an object; write {\"zone\": [\"address\"]}");
        };
        let zones = object.iter().map(|(zone, list)| {
            let list = if list.is_null() { Texts::default() } else { Texts::read(list)? };
            Ok((zone.clone(), list))
        });
        zones.collect::<Result<_, _>>().map(ByZone)
    }

    fn of_null() -> Option<Result<ByZone, String>> {
        Some(Ok(ByZone::default()))
    }
}

/// An IP address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub IpAddr);

impl Kind for Listen {
    const KIND: &'static str = "an IP address";

    fn read(value: &Value) -> Result<Listen, String> {
        match String::read(value)?.parse() {
            Ok(address) => Ok(Listen(address)),
            Err(_) => wrong(value, "an IP address; write one such as 0.0.0.0, 10.0.0.1 or ::"),
        }
    }
}

/// A domain, lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(pub String);

/// The longest domain that is served, in characters: names below need room, and a negative answer
/// must fit into the 512 bytes that every client takes.
const MAX_DOMAIN: usize = 62;

impl Kind for Domain {
    const KIND: &'static str = "a domain name";

    fn read(value: &Value) -> Result<Domain, String> {
        let text = String::read(value)?.to_ascii_lowercase();
        if text.len() <= MAX_DOMAIN && is_domain(&text) {
            return Ok(Domain(text));
        }
        wrong(
            value,
            &format!(
                "a domain; write letters, digits and dashes in labels joined by dots, at most \
                 {MAX_DOMAIN} characters, without a final dot"
            ),
        )
    }
}

/// Mesos-DNS's rule for domains, and RFC 1035's for lengths.
pub fn is_domain(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    text.len() <= 253 && text.split('.').all(label)
}

/// A name in the SOA record: absolute, `@` counts as a dot, one dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoaName(pub String);

impl Kind for SoaName {
    const KIND: &'static str = "a domain name";

    fn read(value: &Value) -> Result<SoaName, String> {
        let text = String::read(value)?.replace('@', ".");
        let name = text.trim_end_matches('.');
        let label = |label: &str| (1..=63).contains(&label.len()) && label.is_ascii();
        if name.len() <= 253 && name.split('.').all(label) {
            return Ok(SoaName(format!("{name}.")));
        }
        wrong(value, "a domain name; write labels of up to 63 characters joined by dots")
    }
}

/// A choice between words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// The word for it.
            #[allow(dead_code, reason = "not every choice is shown")]
            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl Kind for $name {
            const KIND: &'static str = concat!("one of" $(, " `\"", $word, "\"`")+);

            fn read(value: &Value) -> Result<$name, String> {
                match value.as_str() {
                    $(Some($word) => Ok($name::$variant),)+
                    _ => wrong(value, concat!("one of" $(, " \"", $word, "\"")+)),
                }
            }
        }
    };
}

words! {
    /// How Waymark proves to the masters who it is.
    Authentication {
        /// Not at all.
        None = "",
        /// HTTP Basic.
        Basic = "basic",
        /// A DC/OS service account.
        Iam = "iam",
    }
}

words! {
    /// How log lines look.
    LogForm {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// Where a task's address is looked for.
    IpSource {
        /// The agent's address.
        Host = "host",
        /// A label that Docker's containerizer sets.
        Docker = "docker",
        /// A label that Mesos's containerizer sets.
        Mesos = "mesos",
        /// The networks in the task's status.
        Netinfo = "netinfo",
    }
}

/// The order in which sources of addresses are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpSources(pub Vec<IpSource>);

impl Kind for IpSources {
    const KIND: &'static str =
        "a list of `\"host\"`, `\"docker\"`, `\"mesos\"`, `\"netinfo\"`, each at most once";

    fn read(value: &Value) -> Result<IpSources, String> {
        let Some(list) = value.as_array() else { return wrong(value, "a list of texts") };
        let sources = list.iter().map(IpSource::read).collect::<Result<Vec<_>, _>>()?;
        for (n, source) in sources.iter().enumerate() {
            if sources.iter().take(n).any(|earlier| earlier == source) {
                return Err(format!("\"{}\" stands there twice", source.word()));
            }
        }
        if sources.is_empty() {
            return Err("the list is empty; name at least one source of addresses".to_owned());
        }
        Ok(IpSources(sources))
    }

    fn of_null() -> Option<Result<IpSources, String>> {
        Some(IpSources::read(&Value::Array(Vec::new())))
    }
}

/// Name and secret for the masters. The secret is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub principal: String,
    /// The secret.
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Kind for Credentials {
    const KIND: &'static str = "an object with the texts `principal` and `secret`";

    fn read(value: &Value) -> Result<Credentials, String> {
        // No value stands in these messages: it may be the secret.
        let wanted = "write an object with the texts \"principal\" and \"secret\"";
        let object = value.as_object().ok_or(wanted)?;
        let mut credentials = Credentials::default();
        for (name, value) in object {
            let place = match name.to_ascii_lowercase().as_str() {
                "principal" => &mut credentials.principal,
                "secret" => &mut credentials.secret,
                _ => continue,
            };
            if !value.is_null() {
                *place = value.as_str().ok_or(wanted)?.to_owned();
            }
        }
        Ok(credentials)
    }
}

/// Networks, as access lists name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<Network>);

impl Kind for Networks {
    const KIND: &'static str = "a list of IP addresses and networks (`10.0.0.0/8`)";

    fn read(value: &Value) -> Result<Networks, String> {
        let Texts(texts) = Texts::read(value)?;
        let networks =
            texts.iter().map(|text| text.parse().map_err(|e: NetworkError| e.to_string()));
        networks.collect::<Result<_, _>>().map(Networks)
    }

    fn of_null() -> Option<Result<Networks, String>> {
        Some(Ok(Networks::default()))
    }
}

/// `host:port` with a port from 1; brackets around IPv6. A host that is an address is written in
/// its usual form.
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() > 0).then(|| (address.ip().to_string(), address.port()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

/// `ip`, `ip:port`, `[v6]:port`; the port is 53 where none is given.
pub fn resolver_address(text: &str) -> Option<SocketAddr> {
    let bare = text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    bare.or_else(|| text.parse().ok()).filter(|address| address.port() > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(Port::read(&json!(0)), Ok(Number(0)));
        for value in [json!(65_536), json!(-1), json!(1.5), json!("53"), json!([1]), json!(1e3)] {
            let error = Port::read(&value).unwrap_err();
            assert!(error.contains("a whole number from 0 to 65535"), "{error}");
        }
        assert_eq!(Seconds::<1>::read(&json!(0)).ok(), None);
        assert_eq!(SoaField::read(&json!(4_294_967_295_u32)), Ok(Number(u32::MAX)));
    }

    #[test]
    fn names() {
        for (text, good) in [
            ("Mesos", true),
            ("a.b-c", true),
            ("-a-.b", true),
            ("", false),
            ("mesos.", false),
            ("a..b", false),
            ("a_b", false),
        ] {
            assert_eq!(Domain::read(&json!(text)).is_ok(), good, "{text}");
        }
        assert_eq!(Domain::read(&json!("Mesos")), Ok(Domain("mesos".to_owned())));
        let long = format!("{}.x", "a".repeat(61));
        assert!(Domain::read(&json!(long)).is_err());
        let soa = |text: &str| SoaName::read(&json!(text)).map(|name| name.0);
        assert_eq!(soa("Me@Example.org.."), Ok("Me.Example.org.".to_owned()));
        assert!(soa("").is_err() && soa("a..b").is_err());
    }

    #[test]
    fn lists() {
        assert_eq!(Texts::read(&json!(["a", null])), Ok(Texts(vec!["a".into(), String::new()])));
        assert!(Texts::read(&json!("a")).is_err() && Texts::read(&json!([1])).is_err());
        assert!(ByZone::read(&json!({"a": ["1"], "b": null})).is_ok());
        assert!(ByZone::read(&json!({"a": "1"})).is_err());
        assert!(IpSources::read(&json!(["host", "netinfo"])).is_ok());
        for value in [json!([]), json!(["host", "host"]), json!(["rkt"]), json!("host")] {
            assert!(IpSources::read(&value).is_err(), "{value}");
        }
        assert_eq!(Networks::read(&json!(["10.0.0.0/8", "::1"])).unwrap().0.len(), 2);
        for text in ["10.0.0.0/33", "x", "10.0.0.0/", "::/129", ""] {
            assert!(Networks::read(&json!([text])).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_stand_in_no_message() {
        let good = json!({"Principal": "p", "SECRET": "hush", "other": 1});
        let credentials = Credentials::read(&good).unwrap();
        assert_eq!((&*credentials.principal, &*credentials.secret), ("p", "hush"));
        assert!(!format!("{credentials:?}").contains("hush"));
        for value in [json!("hush"), json!({"secret": ["hush"]})] {
            assert!(!Credentials::read(&value).unwrap_err().contains("hush"));
        }
    }

    #[test]
    fn addresses() {
        for (text, want) in [
            ("10.0.0.1:5050", Some(("10.0.0.1", 5050))),
            ("[FD00::1]:5050", Some(("fd00::1", 5050))),
            ("master.example.org:5050", Some(("master.example.org", 5050))),
            ("10.0.0.1", None),
            ("10.0.0.1:0", None),
            ("10.0.0.1:65536", None),
            (":5050", None),
            ("fd00::1:5050", None),
            ("a b:1", None),
        ] {
            let got = host_and_port(text);
            assert_eq!(got, want.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
        for (text, want) in [
            ("8.8.8.8", Some("8.8.8.8:53")),
            ("8.8.8.8:5353", Some("8.8.8.8:5353")),
            ("fd00::1", Some("[fd00::1]:53")),
            ("[fd00::1]:5353", Some("[fd00::1]:5353")),
            ("dns.google", None),
            ("8.8.8.8:0", None),
            ("8.8.8.8:x", None),
        ] {
            let got = resolver_address(text).map(|address| address.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
