//! Settings that are good each by itself but not together, and the files that they name.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use waymark_dns::MAX_SECONDARIES;
use waymark_sources::mesos::ZkTarget;

use super::kind::{Authentication, Texts, host_and_port, is_domain, resolver_address};
use super::table::Config;

/// What is outside the configuration.
pub trait Outside {
    /// The content of a file.
    fn file(&self, path: &str) -> Result<Vec<u8>, String>;
}

/// What follows from a configuration.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Masters as host and port.
    pub masters: Vec<(String, u16)>,
    /// ZooKeeper, read from a file where the setting names one.
    pub zk: Option<ZkTarget>,
    /// Resolvers for everything that no zone is given for. None: those of the system, or nothing
    /// is forwarded.
    pub resolvers: Vec<SocketAddr>,
    /// Resolvers by zone, in lower case.
    pub zone_resolvers: BTreeMap<String, Vec<SocketAddr>>,
    /// Secondaries that are notified.
    pub notify: Vec<SocketAddr>,
    /// The password of the HTTP API.
    pub http_password: Option<Secret>,
    /// The files that settings name, by setting.
    pub files: BTreeMap<&'static str, Vec<u8>>,
}

/// A text that no message and no log line shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The setting that is wrong, and what is wrong with it.
pub type Trouble = (&'static str, String);

/// Refuses what cannot work.
pub fn check(config: &Config, outside: &impl Outside) -> Result<Checked, Trouble> {
    if !config.dns_on && !config.http_on {
        return Err(("dnson", "dnson and httpon are both false; switch one of them on".to_owned()));
    }
    let mut checked = Checked::default();
    cluster(config, outside, &mut checked)?;
    if config.external_on {
        checked.resolvers = addresses("resolvers", &config.resolvers)?;
        checked.zone_resolvers = zone_resolvers(config)?;
    }
    checked.notify = addresses("notify", &config.notify)?;
    if checked.notify.len() > MAX_SECONDARIES {
        return Err(("notify", format!("the list has more than {MAX_SECONDARIES} addresses")));
    }
    files(config, outside, &mut checked)?;
    http(config, &mut checked)?;
    Ok(checked)
}

fn cluster(config: &Config, outside: &impl Outside, checked: &mut Checked) -> Result<(), Trouble> {
    for text in &config.masters.0 {
        let master = host_and_port(text).ok_or_else(|| {
            ("masters", format!("{text:?} is no master; write host:port, such as 10.0.0.1:5050"))
        })?;
        if checked.masters.contains(&master) {
            return Err(("masters", format!("{text:?} stands there twice")));
        }
        checked.masters.push(master);
    }
    let mut zk = config.zk.clone();
    if let Some(path) = config.zk.strip_prefix("file://") {
        let text = outside.file(path).map_err(|e| ("zk", format!("{path}: {e}")))?;
        zk = String::from_utf8_lossy(&text).trim().to_owned();
    }
    if zk.starts_with("zk://") {
        checked.zk = Some(ZkTarget::parse(&zk).map_err(|e| ("zk", e.to_string()))?);
    } else if let Some(master) = host_and_port(&zk) {
        // Mesos's own libraries take a single master in this place.
        if !checked.masters.contains(&master) {
            checked.masters.insert(0, master);
        }
    } else if !zk.is_empty() {
        return Err((
            "zk",
            "this is no address of ZooKeeper; write zk://host1:2181,host2:2181/mesos".to_owned(),
        ));
    } else if checked.masters.is_empty() {
        return Err((
            "masters",
            "neither masters nor zk are given; write \"masters\": [\"10.0.0.1:5050\"] or \"zk\": \
             \"zk://10.0.0.1:2181/mesos\""
                .to_owned(),
        ));
    }
    Ok(())
}

fn addresses(name: &'static str, texts: &Texts) -> Result<Vec<SocketAddr>, Trouble> {
    let mut addresses = Vec::new();
    for text in &texts.0 {
        let address = resolver_address(text).ok_or_else(|| {
            (name, format!("{text:?} is no server; write an address such as 9.9.9.9 or 9.9.9.9:53"))
        })?;
        if addresses.contains(&address) {
            return Err((name, format!("{text:?} stands there twice")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn zone_resolvers(config: &Config) -> Result<BTreeMap<String, Vec<SocketAddr>>, Trouble> {
    const NAME: &str = "zoneResolvers";
    let mut zones = BTreeMap::new();
    for (zone, texts) in &config.zone_resolvers.0 {
        if !is_domain(zone) {
            return Err((NAME, format!("{zone:?} is no zone; write one such as corp.example.org")));
        }
        if texts.0.is_empty() {
            return Err((NAME, format!("{zone:?} has no resolvers")));
        }
        if zone.eq_ignore_ascii_case(&config.domain.0) {
            return Err((NAME, format!("{zone:?} is the domain that is served here")));
        }
        let addresses = addresses(NAME, texts)
            .map_err(|(name, reason)| (name, format!("{zone:?}: {reason}")))?;
        if zones.insert(zone.to_ascii_lowercase(), addresses).is_some() {
            return Err((NAME, format!("{zone:?} stands there twice")));
        }
    }
    let all: Vec<&str> = zones.keys().map(String::as_str).chain([&*config.domain.0]).collect();
    for zone in &all {
        let above =
            |other: &&&str| zone.strip_suffix(**other).is_some_and(|rest| rest.ends_with('.'));
        if let Some(other) = all.iter().find(above) {
            return Err((NAME, format!("{zone:?} lies below {other:?}; give only one of them")));
        }
    }
    Ok(zones)
}

/// Reads every file that a setting names.
fn files(config: &Config, outside: &impl Outside, checked: &mut Checked) -> Result<(), Trouble> {
    for (name, path) in [
        ("CACertFile", &config.ca_cert_file),
        ("CertFile", &config.cert_file),
        ("KeyFile", &config.key_file),
        ("IAMConfigFile", &config.iam_config_file),
        ("httpPasswordFile", &config.http_password_file),
        ("httpCertFile", &config.http_cert_file),
        ("httpKeyFile", &config.http_key_file),
    ] {
        if !path.is_empty() {
            let content = outside.file(path).map_err(|e| (name, format!("{path}: {e}")))?;
            checked.files.insert(name, content);
        }
    }
    for (one, other) in [("CertFile", "KeyFile"), ("httpCertFile", "httpKeyFile")] {
        for (given, missing) in [(one, other), (other, one)] {
            if checked.files.contains_key(given) && !checked.files.contains_key(missing) {
                return Err((given, format!("{missing} is missing; give both or none")));
            }
        }
    }
    let credentials = &config.mesos_credentials;
    match config.mesos_authentication {
        Authentication::Basic
            if credentials.principal.is_empty() && credentials.secret.is_empty() =>
        {
            Err((
                "mesosAuthentication",
                "\"basic\" needs mesosCredentials with \"principal\" and \"secret\"".to_owned(),
            ))
        }
        Authentication::Iam if config.iam_config_file.is_empty() => {
            Err(("mesosAuthentication", "\"iam\" needs IAMConfigFile".to_owned()))
        }
        _ => Ok(()),
    }
}

fn http(config: &Config, checked: &mut Checked) -> Result<(), Trouble> {
    let password = checked.files.remove("httpPasswordFile");
    match (config.http_user.is_empty(), password) {
        (true, None) => Ok(()),
        (true, Some(_)) => {
            Err(("httpPasswordFile", "httpUser is missing; give both or none".to_owned()))
        }
        (false, None) => {
            Err(("httpUser", "httpPasswordFile is missing; give both or none".to_owned()))
        }
        (false, Some(_)) if config.http_user.contains(':') => {
            Err(("httpUser", "a colon cannot be part of a user name (RFC 7617)".to_owned()))
        }
        (false, Some(content)) => {
            let text = String::from_utf8(content)
                .map_err(|_| ("httpPasswordFile", "the file is not UTF-8".to_owned()))?;
            let password = text.strip_suffix('\n').unwrap_or(&text);
            let password = password.strip_suffix('\r').unwrap_or(password);
            if password.is_empty() {
                return Err(("httpPasswordFile", "the file has no password".to_owned()));
            }
            checked.http_password = Some(Secret(password.to_owned()));
            Ok(())
        }
    }
}

/// What is not wrong but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |applies: bool, text: &str| {
        if applies {
            warnings.push(text.to_owned());
        }
    };
    let authentication = config.mesos_authentication;
    warn(
        authentication != Authentication::Basic && !config.mesos_credentials.principal.is_empty(),
        "mesosCredentials are given but not used: mesosAuthentication is not \"basic\"",
    );
    warn(
        authentication != Authentication::Iam && !config.iam_config_file.is_empty(),
        "IAMConfigFile is given but not used: mesosAuthentication is not \"iam\"",
    );
    warn(
        config.mesos_https_on && config.ca_cert_file.is_empty(),
        "the masters' certificates are not checked: give their authority in CACertFile",
    );
    warn(
        !config.http_user.is_empty() && config.http_cert_file.is_empty(),
        "the HTTP API's password travels in clear: give httpCertFile and httpKeyFile",
    );
    let server = config.soa_mname.0.trim_end_matches('.').to_ascii_lowercase();
    let below = server.strip_suffix(&config.domain.0).is_some_and(|rest| rest.ends_with('.'));
    warn(
        server == "ns1.mesos" && !below,
        "SOAMname is still ns1.mesos: set it (and SOARname) to a name in the domain",
    );
    warnings
}
