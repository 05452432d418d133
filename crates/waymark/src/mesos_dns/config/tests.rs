//! Every way in which a configuration can be wrong, with the key that is named; and that old files
//! are read as they are.

use std::net::SocketAddr;

use super::kind::{Authentication, IpSource};
use super::*;

/// Files by path.
struct World;

impl Outside for World {
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = match path {
            "/zk" => "zk://z:2181/mesos\n",
            "/password" => "hush\r\n",
            "/empty" => "\n",
            "/pem" => "-----BEGIN",
            _ => return Err("No such file or directory".to_owned()),
        };
        Ok(text.into())
    }
}

fn json(text: &str) -> Result<Loaded, ConfigError> {
    load(Path::new("config.json"), text, &World)
}

fn with(member: &str) -> Result<Loaded, ConfigError> {
    json(&format!("{{\"masters\": [\"10.0.0.1:5050\"],\n{member}}}"))
}

fn addresses(list: &[SocketAddr]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn every_setting_is_described_and_has_a_good_default() {
    for setting in table() {
        let summary = setting.help[0].trim();
        assert!(!summary.is_empty() && summary.len() <= 100, "{}: {summary}", setting.name);
        let good = with(&format!("\"{}\": {}", setting.name, setting.default));
        let refused_alone = ["masters", "mesosCredentials"];
        assert!(good.is_ok() || refused_alone.contains(&setting.name), "{}", setting.name);
    }
    let names: Vec<_> = table().iter().map(|s| s.name.to_ascii_lowercase()).collect();
    assert!(names.iter().enumerate().all(|(n, name)| !names[..n].contains(name)));
}

#[test]
fn a_file_as_mesos_dns_documents_it() {
    let loaded = json(
        r#"{
  "zk": "zk://10.101.160.15:2181,10.101.160.16:2181/mesos",
  "masters": ["10.101.160.15:5050", "10.101.160.16:5050"],
  "refreshSeconds": 60, "ttl": 60, "domain": "Mesos", "ns": "ns1", "port": 53,
  "resolvers": ["169.254.169.254"], "timeout": 5, "listener": "10.101.160.16",
  "SOAMname": "root.ns1.mesos", "SOARname": "root@ns1.mesos", "SOARefresh": 60, "SOARetry": 600,
  "SOAExpire": 86400, "SOAMinttl": 60, "dnson": true, "httpon": true, "httpport": 8123,
  "externalon": true, "recurseon": true, "IPSources": ["mesos", "host"], "EnforceRFC952": false,
  "ZONERESOLVERS": {"Weave": ["172.17.0.1", "172.17.0.2:54"]}
}"#,
    )
    .unwrap();
    let (config, checked) = (&loaded.config, &loaded.checked);
    assert_eq!(loaded.warnings, ["line 4: unknown member \"ns\" is ignored"]);
    let zk = checked.zk.as_ref().unwrap();
    assert_eq!(zk.servers, ["10.101.160.15:2181", "10.101.160.16:2181"]);
    assert_eq!(checked.masters[1], ("10.101.160.16".to_owned(), 5050));
    assert_eq!(config.domain.0, "mesos");
    assert_eq!(config.soa_rname.0, "root.ns1.mesos.");
    assert_eq!(config.ip_sources.0, [IpSource::Mesos, IpSource::Host]);
    assert_eq!(addresses(&checked.resolvers), ["169.254.169.254:53"]);
    assert_eq!(addresses(&checked.zone_resolvers["weave"]), ["172.17.0.1:53", "172.17.0.2:54"]);
}

#[test]
fn defaults_are_those_of_mesos_dns() {
    let loaded = with("\"ttl\": null").unwrap();
    let c = &loaded.config;
    assert_eq!((c.port.0, c.http_port.0, c.ttl.0, c.refresh_seconds.0), (53, 8123, 60, 60));
    assert_eq!((c.listener.0.to_string(), &*c.domain.0), ("0.0.0.0".to_owned(), "mesos"));
    assert_eq!((&*c.soa_mname.0, &*c.soa_rname.0), ("ns1.mesos.", "root.ns1.mesos."));
    assert_eq!(c.ip_sources.0, [IpSource::Netinfo, IpSource::Mesos, IpSource::Host]);
    assert_eq!(addresses(&loaded.checked.resolvers), ["8.8.8.8:53"]);
    assert!(c.dns_on && c.http_on && c.external_on && c.recurse_on && c.enumeration_on);
    assert!(c.set_truncate_bit && !c.enforce_rfc952 && !c.mesos_https_on);
    assert_eq!(c.mesos_authentication, Authentication::None);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn repeated_members_and_null() {
    let loaded = with("\"ttl\": 1, \"TTL\": 2, \"ttl\": null").unwrap();
    assert_eq!(loaded.config.ttl.0, 2);
    let loaded = with("\"resolvers\": [\"1.1.1.1\"], \"resolvers\": null").unwrap();
    assert!(loaded.checked.resolvers.is_empty(), "lists are emptied");
    let loaded = json(r#"{"masters": null, "zk": "10.0.0.9:5050"}"#).unwrap();
    assert_eq!(loaded.checked.masters, [("10.0.0.9".to_owned(), 5050)]);
    let loaded = json(r#"{"zk": "file:///zk"}"#).unwrap();
    assert_eq!(loaded.checked.zk.unwrap().servers, ["z:2181"]);
    // Nothing is forwarded: what is not used is not looked at.
    let loaded = with(r#""externalon": false, "resolvers": ["x"], "zoneResolvers": {"": []}"#);
    assert!(loaded.unwrap().checked.resolvers.is_empty());
}

#[test]
fn what_is_refused_and_the_key_that_is_named() {
    for (member, name) in [
        (r#""zk": "10.0.0.1""#, "zk"),
        (r#""zk": "file:///none""#, "zk"),
        (r#""zk": "zk://10.0.0.1:2181""#, "zk"),
        (r#""masters": ["10.0.0.1"]"#, "masters"),
        (r#""masters": ["10.0.0.1:0"]"#, "masters"),
        (r#""masters": ["[::1]:5050", "[0::1]:5050"]"#, "masters"),
        (r#""masters": [], "ttl": 1"#, "masters"),
        (r#""masters": "10.0.0.1:5050""#, "masters"),
        (r#""zkDetectionTimeout": -1"#, "zkDetectionTimeout"),
        (r#""refreshSeconds": 0"#, "refreshSeconds"),
        (r#""refreshSeconds": 1.5"#, "refreshSeconds"),
        (r#""stateTimeoutSeconds": 0"#, "stateTimeoutSeconds"),
        (r#""domain": "mesos.""#, "domain"),
        (r#""domain": "a_b""#, "domain"),
        (r#""domain": """#, "domain"),
        (r#""port": 70000"#, "port"),
        (r#""port": "53""#, "port"),
        (r#""listener": """#, "listener"),
        (r#""listener": "localhost""#, "listener"),
        (r#""httplistener": "x""#, "httplistener"),
        (r#""httpport": -1"#, "httpport"),
        (r#""dnson": 1"#, "dnson"),
        (r#""dnson": false, "httpon": false"#, "dnson"),
        (r#""ttl": -1"#, "ttl"),
        (r#""ttl": 2147483648"#, "ttl"),
        (r#""srvRecordDefaultWeight": 65536"#, "srvRecordDefaultWeight"),
        (r#""SOAMname": "a..b""#, "SOAMname"),
        (r#""SOARname": """#, "SOARname"),
        (r#""SOARefresh": 4294967296"#, "SOARefresh"),
        (r#""resolvers": ["dns.google"]"#, "resolvers"),
        (r#""resolvers": ["8.8.8.8", "8.8.8.8:53"]"#, "resolvers"),
        (r#""resolvers": "8.8.8.8""#, "resolvers"),
        (r#""zoneResolvers": {"a": []}"#, "zoneResolvers"),
        (r#""zoneResolvers": {"mesos": ["1.1.1.1"]}"#, "zoneResolvers"),
        (r#""zoneResolvers": {"a.mesos": ["1.1.1.1"]}"#, "zoneResolvers"),
        (r#""zoneResolvers": {"a": ["1.1.1.1"], "b.a": ["1.1.1.1"]}"#, "zoneResolvers"),
        (r#""zoneResolvers": {"a.": ["1.1.1.1"]}"#, "zoneResolvers"),
        (r#""zoneResolvers": {"a": ["b"]}"#, "zoneResolvers"),
        (r#""zoneResolvers": {"a": ["1.1.1.1"], "A": ["1.1.1.1"]}"#, "zoneResolvers"),
        (r#""timeout": -1"#, "timeout"),
        (r#""IPSources": null"#, "IPSources"),
        (r#""IPSources": []"#, "IPSources"),
        (r#""IPSources": ["rkt"]"#, "IPSources"),
        (r#""CACertFile": "/none""#, "CACertFile"),
        (r#""CertFile": "/pem""#, "CertFile"),
        (r#""KeyFile": "/pem""#, "KeyFile"),
        (r#""mesosAuthentication": "digest""#, "mesosAuthentication"),
        (r#""mesosAuthentication": "basic""#, "mesosAuthentication"),
        (r#""mesosAuthentication": "iam""#, "mesosAuthentication"),
        (r#""mesosCredentials": "x""#, "mesosCredentials"),
        (r#""IAMConfigFile": "/none""#, "IAMConfigFile"),
        (r#""allowQuery": ["10.0.0.0/40"]"#, "allowQuery"),
        (r#""allowTransfer": ["x"]"#, "allowTransfer"),
        (r#""notify": ["secondary.example.org"]"#, "notify"),
        (r#""httpUser": "a""#, "httpUser"),
        (r#""httpUser": "a:b", "httpPasswordFile": "/password""#, "httpUser"),
        (r#""httpPasswordFile": "/password""#, "httpPasswordFile"),
        (r#""httpUser": "a", "httpPasswordFile": "/empty""#, "httpPasswordFile"),
        (r#""httpCertFile": "/pem""#, "httpCertFile"),
        (r#""logFormat": "xml""#, "logFormat"),
    ] {
        let error = with(member).unwrap_err();
        assert_eq!((error.name.as_str(), error.line), (name, Some(2)), "{member}: {error}");
    }
    let error = json("{}").unwrap_err().to_string();
    assert!(error.starts_with("masters: neither masters nor zk are given"), "{error}");
    let error = json("[]").unwrap_err().to_string();
    assert!(error.starts_with("line 1: ") && error.contains("a JSON object"), "{error}");
    assert!(json(&" ".repeat(MAX_BYTES + 1)).is_err());
}

#[test]
fn what_is_warned_about() {
    for (member, part) in [
        (r#""MesosHTTPSOn": true"#, "CACertFile"),
        (r#""mesosCredentials": {"principal": "p", "secret": "s"}"#, "mesosCredentials"),
        (r#""IAMConfigFile": "/pem""#, "IAMConfigFile"),
        (r#""domain": "cluster.local""#, "SOAMname"),
        (r#""httpUser": "a", "httpPasswordFile": "/password""#, "in clear"),
        (r#""resolver": []"#, "\"resolver\" is ignored; did you mean \"resolvers\"?"),
    ] {
        let warnings = with(member).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}");
    }
}

#[test]
fn the_same_settings_in_toml() {
    let load = |text: &str| super::load(Path::new("waymark.toml"), text, &World);
    let loaded = load(
        "[mesos-dns]\nmasters = [\"10.0.0.1:5050\"]\nsoa-mname = \"ns.mesos\"\n\
         enforce-rfc952 = true\nzone-resolvers = { corp = [\"192.0.2.9\"] }\n\
         mesos-credentials = { principal = \"p\", secret = \"s\" }\nmesos-authentication = \"basic\"\n",
    )
    .unwrap();
    assert_eq!(loaded.config.soa_mname.0, "ns.mesos.");
    assert!(loaded.config.enforce_rfc952);
    assert_eq!(loaded.config.mesos_credentials.secret, "s");
    assert_eq!(addresses(&loaded.checked.zone_resolvers["corp"]), ["192.0.2.9:53"]);
    let error = load("[mesos-dns]\nmaster = [\"10.0.0.1:5050\"]\n").unwrap_err().to_string();
    assert_eq!(error, "line 2: master: there is no such setting; did you mean \"masters\"?");
}

#[test]
fn the_password_is_that_of_the_file_and_is_shown_nowhere() {
    let loaded = with(r#""httpUser": "a", "httpPasswordFile": "/password""#).unwrap();
    assert_eq!(loaded.checked.http_password.as_ref().unwrap().0, "hush");
    assert!(!format!("{loaded:?}").contains("hush"));
}
