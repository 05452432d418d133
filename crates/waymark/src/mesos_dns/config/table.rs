//! The one definition of all settings of `waymark mesos-dns`. From it come the members of the JSON
//! file, the keys of the table `[mesos-dns]` in `waymark.toml`, the typed [`Config`] and the
//! reference page.
//!
//! In the table, the first line of a setting's comment is its summary. Behind the field stands the
//! name in the JSON file; the key in `waymark.toml` is the field's name with dashes. `old` settings
//! are Mesos-DNS's own, `new` ones are beyond it. Defaults are written as JSON.

use super::ConfigError;
use super::given::Given;
use super::kind::{
    Authentication, ByZone, Credentials, Domain, IpSources, Kind, Listen, LogForm, Networks,
    Number, Port, Seconds, SoaField, SoaName, Texts,
};

/// What is known about one setting.
pub struct Setting {
    /// Its name in the JSON file.
    pub name: &'static str,
    /// Its key in `waymark.toml`.
    pub key: String,
    /// How values are written.
    pub kind: &'static str,
    /// The value when nobody sets it, as JSON.
    pub default: &'static str,
    /// The heading it stands under.
    pub section: &'static str,
    /// Whether Mesos-DNS has it.
    pub old: bool,
    /// Lines of help; the first is the summary.
    pub help: &'static [&'static str],
}

macro_rules! origin {
    (old) => {
        true
    };
    (new) => {
        false
    };
}

macro_rules! settings {
    ($($section:literal {
        $($(#[doc = $help:literal])+ $origin:ident $field:ident $name:literal: $type:ty = $default:literal;)+
    })+) => {
        /// Everything that can be set, each value good by itself.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($($(#[doc = $help])+ pub $field: $type,)+)+
        }

        impl Config {
            /// Defaults, and what is given in its order: of a repeated setting the last counts.
            pub(super) fn build(given: &Given) -> Result<Config, ConfigError> {
                Ok(Config { $($($field: given.value($name, $default)?,)+)+ })
            }
        }

        /// All settings in the order of the reference page.
        pub fn table() -> Vec<Setting> {
            vec![$($(Setting {
                name: $name,
                key: stringify!($field).replace('_', "-"),
                kind: <$type as Kind>::KIND,
                default: $default,
                section: $section,
                old: origin!($origin),
                help: &[$($help),+],
            },)+)+]
        }
    };
}

settings! {
    "The Mesos cluster" {
        /// Masters as `host:port`.
        ///
        /// They are asked in this order until one answers; a master that does not lead says who
        /// does. Either this or `zk` is needed. The order also numbers the names `master0`,
        /// `master1`.
        old masters "masters": Texts = "[]";

        /// ZooKeeper where the masters elect their leader: `zk://host1:port1,host2:port2/path`.
        ///
        /// `zk://user:password@…` gives credentials. `file:///path` names a file that holds the
        /// text.
        old zk "zk": String = r#""""#;

        /// After so many seconds without a leader in ZooKeeper, that is told as an error; 0 = never.
        ///
        /// Mesos-DNS ends then. Waymark goes on with what it knows, and looks further.
        old zk_detection_timeout "zkDetectionTimeout": Seconds<0> = "30";

        /// Seconds between two looks at the state, where the master gives no stream of events.
        old refresh_seconds "refreshSeconds": Seconds<1> = "60";

        /// How many seconds fetching the state may take, all in all.
        old state_timeout_seconds "stateTimeoutSeconds": Seconds<1> = "300";

        /// Follow the master's stream of events instead of looking again and again.
        ///
        /// Changes are then served within milliseconds. A master that has no such stream (before
        /// Mesos 1.0) or refuses it is looked at every `refreshSeconds`.
        new subscribe "subscribe": bool = "true";

        /// Speak HTTPS with the masters.
        old mesos_https_on "MesosHTTPSOn": bool = "false";

        /// File (PEM) with the certificates that masters' certificates are checked against.
        ///
        /// Without it they are not checked at all, as with Mesos-DNS; a warning says so at start.
        old ca_cert_file "CACertFile": String = r#""""#;

        /// File (PEM) with the client certificate that is shown to masters.
        old cert_file "CertFile": String = r#""""#;

        /// File (PEM) with the key of `CertFile`.
        old key_file "KeyFile": String = r#""""#;

        /// How to log in at the masters.
        ///
        /// `basic` uses `mesosCredentials`, `iam` the DC/OS service account in `IAMConfigFile`.
        old mesos_authentication "mesosAuthentication": Authentication = r#""""#;

        /// Name and secret for `basic`.
        old mesos_credentials "mesosCredentials": Credentials = "{}";

        /// File (JSON) with `uid`, `private_key` and `login_endpoint` for `iam`.
        old iam_config_file "IAMConfigFile": String = r#""""#;

        /// Folder where the last known state is kept, so that a restart serves it at once.
        ///
        /// Empty: `$STATE_DIRECTORY` where systemd gives one, else `/var/lib/waymark-mesos-dns` for
        /// root, else nothing is kept. Mesos-DNS keeps nothing.
        new data_dir "dataDir": String = r#""""#;
    }
    "Names" {
        /// Domain that all names end in.
        old domain "domain": Domain = r#""mesos""#;

        /// Where a task's addresses are looked for, in this order; the first place that has any
        /// gives all.
        old ip_sources "IPSources": IpSources = r#"["netinfo", "mesos", "host"]"#;

        /// Make labels by the old rule of RFC 952: at most 24 characters, none begins with a digit.
        old enforce_rfc952 "EnforceRFC952": bool = "false";

        /// Leave out tasks whose health check fails, or whose first result is not known yet.
        new health_aware "healthAware": bool = "false";

        /// Answer which names the addresses of tasks, agents and masters have (PTR). Those of other
        /// addresses are forwarded.
        new reverse "reverse": bool = "true";

        /// Put addresses in the client's own network first: one /24, or one /64 with IPv6.
        new near_first "nearFirst": bool = "false";
    }
    "Records" {
        /// Seconds for which clients may keep a record.
        old ttl "ttl": Seconds<0> = "60";

        /// Weight of every SRV record.
        old srv_record_default_weight "srvRecordDefaultWeight": Number<0, 65_535> = "1";

        /// Primary name server in SOA and NS.
        ///
        /// With another `domain` this is to be set too, as with Mesos-DNS.
        old soa_mname "SOAMname": SoaName = r#""ns1.mesos""#;

        /// Mail address of whoever is responsible, in the SOA; an `@` counts as a dot.
        old soa_rname "SOARname": SoaName = r#""root.ns1.mesos""#;

        /// Taken and not used: the serial follows the catalog's version.
        old soa_serial "SOASerial": SoaField = "0";

        /// SOA: seconds after which secondaries ask again.
        old soa_refresh "SOARefresh": SoaField = "60";

        /// SOA: seconds after which secondaries try again when that failed.
        old soa_retry "SOARetry": SoaField = "600";

        /// SOA: seconds after which secondaries give up.
        old soa_expire "SOAExpire": SoaField = "86400";

        /// SOA: seconds for which clients may remember that a name does not exist.
        ///
        /// Mesos-DNS shows this in its API and then uses `ttl`; Waymark uses the smaller of the two.
        old soa_minttl "SOAMinttl": SoaField = "60";
    }
    "The DNS server" {
        /// Serve DNS.
        old dns_on "dnson": bool = "true";

        /// Address that the DNS server listens on; `0.0.0.0` is every IPv4 address, `::` every one.
        ///
        /// It is also the address under the name in `SOAMname`; for `0.0.0.0` all addresses of this
        /// machine are.
        old listener "listener": Listen = r#""0.0.0.0""#;

        /// Port of the DNS server, for UDP and TCP; 0 = any free one.
        old port "port": Port = "53";

        /// Whether answers from the own domain say that recursion is available.
        ///
        /// It does not switch forwarding: that is `externalon`.
        old recurse_on "recurseon": bool = "true";

        /// Tell clients (with the TC bit) when an answer had to be cut.
        ///
        /// False is for clients that can neither do TCP nor bear the bit.
        old set_truncate_bit "SetTruncateBit": bool = "true";

        /// Threads that answer queries; 0 = one for each CPU.
        new dns_workers "dnsWorkers": Number<0, 256> = "0";

        /// Networks whose queries are answered; others are refused.
        new allow_query "allowQuery": Networks = r#"["0.0.0.0/0", "::/0"]"#;

        /// Replies a second by UDP for each network of clients and kind of answer; 0 = no limit.
        ///
        /// Beyond it some replies are small ones that make true clients come by TCP, others are left
        /// out, so that nobody can be flooded in a forged name. Loopback and private networks have
        /// no limit.
        new rate_limit "rateLimit": Number<0, 10_000_000> = "0";
    }
    "Forwarding" {
        /// Forward queries for names outside the domain; false refuses them.
        old external_on "externalon": bool = "true";

        /// Resolvers that queries are forwarded to: `ip` or `ip:port`.
        ///
        /// An empty list means those of `/etc/resolv.conf` that are not this machine.
        old resolvers "resolvers": Texts = r#"["8.8.8.8"]"#;

        /// Resolvers for single zones and what is below them: `{"zone": ["ip"]}`.
        old zone_resolvers "zoneResolvers": ByZone = "{}";

        /// Seconds that one resolver may take; 0 = 5.
        old timeout "timeout": Seconds<0> = "5";

        /// Networks whose queries are forwarded, of those in `allowQuery`; others are refused.
        new allow_recursion "allowRecursion": Networks = r#"["0.0.0.0/0", "::/0"]"#;

        /// Ask the two best resolvers at once; the first answer counts.
        new race "race": bool = "false";

        /// Answers of resolvers that are kept; 0 = none.
        new cache_entries "cacheEntries": Number<0, 10_000_000> = "10000";

        /// For how many seconds after its time a kept answer is still given when no resolver can be
        /// reached; 0 = never.
        new serve_stale "serveStale": Seconds<0> = "86400";
    }
    "Transfers" {
        /// Networks that may fetch the whole zone (AXFR, IXFR); nobody unless named.
        new allow_transfer "allowTransfer": Networks = "[]";

        /// Secondaries that are told of every change (NOTIFY): `ip` or `ip:port`.
        new notify "notify": Texts = "[]";
    }
    "The HTTP API" {
        /// Serve the HTTP API.
        old http_on "httpon": bool = "true";

        /// Address that the HTTP API listens on.
        old http_listener "httplistener": Listen = r#""0.0.0.0""#;

        /// Port of the HTTP API; 0 = any free one.
        old http_port "httpport": Port = "8123";

        /// Offer the lists of everything, `/v1/enumerate` and `/v1/axfr`.
        old enumeration_on "EnumerationOn": bool = "true";

        /// User name that clients of the API must give (HTTP Basic); empty = none.
        new http_user "httpUser": String = r#""""#;

        /// File with the password for `httpUser`; a line break at its end does not count.
        new http_password_file "httpPasswordFile": String = r#""""#;

        /// File (PEM) with the API's certificate and those up to the authority: HTTPS instead of
        /// HTTP.
        new http_cert_file "httpCertFile": String = r#""""#;

        /// File (PEM) with the key of `httpCertFile`.
        new http_key_file "httpKeyFile": String = r#""""#;
    }
    "Log" {
        /// How log lines look.
        new log_format "logFormat": LogForm = r#""text""#;
    }
}
