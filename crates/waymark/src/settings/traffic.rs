//! The kinds of values that settings of the load balancer have.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::value::{Value, choice, items};

/// A port to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionalPort {
    /// Nothing is listened on.
    Off,
    /// This one; 0 means any free one.
    Port(u16),
}

impl OptionalPort {
    /// The port, if there is one.
    pub fn number(self) -> Option<u16> {
        match self {
            OptionalPort::Off => None,
            OptionalPort::Port(port) => Some(port),
        }
    }
}

impl Value for OptionalPort {
    const KIND: &'static str = "a port, 0 to 65535 (0 = any free one), or `off`";

    fn parse(text: &str) -> Result<OptionalPort, String> {
        match text {
            "off" | "none" => Ok(OptionalPort::Off),
            _ => text.parse().map(OptionalPort::Port).map_err(|_| {
                format!(
                    "{text:?} is not a port; write a number from 0 to 65535 (0 = any free one), or \
                     off"
                )
            }),
        }
    }
}

/// URLs of one server's members, each without a slash at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Urls(pub Vec<String>);

impl Value for Urls {
    const KIND: &'static str =
        "a list of URLs, such as `http://10.0.0.1:8080,http://10.0.0.2:8080`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Urls, String> {
        items(text).map(url).collect::<Result<_, _>>().map(Urls)
    }
}

/// Checks one URL. What might be a password is not repeated.
fn url(text: &str) -> Result<String, String> {
    let example = "write one such as http://10.0.0.1:8080";
    let (Some((scheme, rest)), false) =
        (text.split_once("://"), text.contains(char::is_whitespace))
    else {
        return Err(format!("{text:?} is not a URL; {example}"));
    };
    if scheme != "http" && scheme != "https" {
        return Err(format!("{scheme:?} is not a scheme here; {example}"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a URL has no user and password here; use auth-credentials or \
                    marathon-auth-credential-file"
            .to_owned());
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|p| !p.ends_with(']'));
    let valid = port.is_none_or(|port| port.parse::<u16>().is_ok())
        && text.parse::<http::Uri>().is_ok_and(|uri| {
            uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
        });
    if !valid {
        return Err(format!("{text:?} is not a URL; {example}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Names of groups, as labels give them; `*` is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(pub Vec<String>);

impl Value for Groups {
    const KIND: &'static str = "a list of names, such as `external,internal`, or `*`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Groups, String> {
        Ok(Groups(items(text).map(str::to_owned).collect()))
    }
}

/// Networks of proxies in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(pub Vec<IpNet>);

impl Value for Proxies {
    const KIND: &'static str = "a list of IP addresses and networks, such as `10.0.0.0/8,::1`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Proxies, String> {
        items(text).map(network).collect::<Result<_, _>>().map(Proxies)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network: IpNet = address.or_else(|_| text.parse()).map_err(|_| {
        format!("{text:?} is not a network; write one such as 192.0.2.0/24, ::1 or 192.0.2.1")
    })?;
    if network.addr() != network.network() {
        return Err(format!("{text:?} has bits set behind its prefix; write {}", network.trunc()));
    }
    Ok(network)
}

/// Files and folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders(pub Vec<PathBuf>);

impl Value for Folders {
    const KIND: &'static str =
        "a list of files and folders, such as `/etc/ssl/cert.pem,/etc/certs`";
    const LIST: bool = true;

    fn parse(text: &str) -> Result<Folders, String> {
        Ok(Folders(items(text).map(PathBuf::from).collect()))
    }
}

/// A user's name and password. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name.
    pub user: String,
    /// The password; it may have colons.
    pub password: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Value for Secret {
    const KIND: &'static str = "`user:password`";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Secret, String> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Secret { user: user.to_owned(), password: password.to_owned() })
            }
            // The text may be a password.
            _ => Err("needs the form user:password".to_owned()),
        }
    }
}

/// Where a DC/OS service account is described.
#[derive(Clone, PartialEq, Eq)]
pub enum ServiceAccount {
    /// Here: a JSON object. Holds a private key.
    Json(String),
    /// In this file.
    File(PathBuf),
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceAccount::Json(_) => f.write_str("Json"),
            ServiceAccount::File(path) => write!(f, "File({path:?})"),
        }
    }
}

impl Value for ServiceAccount {
    const KIND: &'static str = "a JSON object, or the path of a file with one";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<ServiceAccount, String> {
        if text.trim().is_empty() {
            return Err("is empty; write a JSON object or the path of a file with one".to_owned());
        }
        Ok(match text.trim_start().starts_with('{') {
            true => ServiceAccount::Json(text.to_owned()),
            false => ServiceAccount::File(PathBuf::from(text)),
        })
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

impl Value for AccessLog {
    const KIND: &'static str = "`off`, `stdout`, or a file's path";

    fn parse(text: &str) -> Result<AccessLog, String> {
        match text {
            "" => Err("is empty; write off, stdout or a file's path".to_owned()),
            "off" => Ok(AccessLog::Off),
            "stdout" | "-" => Ok(AccessLog::Stdout),
            path => Ok(AccessLog::File(PathBuf::from(path))),
        }
    }
}

choice! {
    /// How lines of the access log look.
    AccessLogFormat {
        /// As web servers write them, with the service, the task and times behind.
        Common = "common",
        /// As web servers write them, with `Referer` and `User-Agent` behind.
        Combined = "combined",
        /// One JSON object a line.
        Json = "json",
    }
    "`common`, `combined` or `json`"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_may_be_off() {
        assert_eq!(OptionalPort::parse("off"), Ok(OptionalPort::Off));
        assert_eq!(OptionalPort::parse("0").map(OptionalPort::number), Ok(Some(0)));
        for text in ["", "65536", "-1", "no"] {
            assert!(OptionalPort::parse(text).unwrap_err().contains("is not a port"), "{text}");
        }
    }

    #[test]
    fn urls() {
        let urls = Urls::parse("http://a:8080/, https://[::1]:8443/marathon/").unwrap();
        assert_eq!(urls.0, ["http://a:8080", "https://[::1]:8443/marathon"]);
        assert_eq!(Urls::parse(""), Ok(Urls::default()));
        for (text, part) in [
            ("a:8080", "is not a URL"),
            ("zk://a:2181/m", "\"zk\" is not a scheme here"),
            ("http://", "is not a URL"),
            ("http://a b", "is not a URL"),
            ("http://a:8080?x=1", "is not a URL"),
            ("http://:8080", "is not a URL"),
            ("http://a:80800", "is not a URL"),
        ] {
            let error = Urls::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn networks() {
        let networks = Proxies::parse("10.0.0.0/8, ::1,192.0.2.1").unwrap().0;
        assert_eq!(networks[1].to_string(), "::1/128");
        assert!(Proxies::parse("10.0.0.1/8").unwrap_err().ends_with("write 10.0.0.0/8"));
        assert!(Proxies::parse("proxy").unwrap_err().contains("is not a network"));
    }

    #[test]
    fn secrets_are_in_no_message() {
        let error = Urls::parse("http://ann:swordfish@a:8080").unwrap_err();
        assert!(!error.contains("swordfish") && error.contains("auth-credentials"), "{error}");
        assert!(!Secret::parse("swordfish").unwrap_err().contains("swordfish"));
        let secret = Secret::parse("ann:sword:fish").unwrap();
        assert_eq!((secret.user.as_str(), secret.password.as_str()), ("ann", "sword:fish"));
        assert_eq!(format!("{secret:?}"), "Secret");
        let account = ServiceAccount::parse("{\"private_key\": \"swordfish\"}").unwrap();
        assert!(!format!("{account:?}").contains("swordfish"));
        assert_eq!(ServiceAccount::parse("/run/key"), Ok(ServiceAccount::File("/run/key".into())));
    }

    #[test]
    fn access_logs() {
        assert_eq!(AccessLog::parse("-"), Ok(AccessLog::Stdout));
        assert_eq!(AccessLog::parse("/var/log/a"), Ok(AccessLog::File("/var/log/a".into())));
        assert!(AccessLog::parse("").is_err() && AccessLogFormat::parse("clf").is_err());
    }
}
