//! The one definition of all settings. From it come the flags and their help, the keys of the
//! file, the environment variables, the typed [`Settings`] and the reference page.
//!
//! In the table, the first line of a setting's comment is its short help, all of it the long help.
//! A field `api_port` is the key `api-port`, the flag `--api-port` and the variable
//! `WAYMARK_API_PORT`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::value::{
    Count, DomainName, HostName, Label, LogFilter, LogFormat, Networks, Port, PortRange, Seconds,
    Servers, ServicePort, Size, UserName, Value, ZoneServers,
};
use super::{SettingError, Surroundings, Texts};

/// What is known about one setting.
pub struct Setting {
    /// The key in the file, and the flag without its dashes.
    pub name: String,
    /// The environment variable.
    pub variable: String,
    /// What stands for the value in help texts.
    pub value_name: &'static str,
    /// How values are written.
    pub kind: &'static str,
    /// Whether the flag may stand without a value.
    pub switch: bool,
    /// The value when nobody sets it.
    pub default: Default,
    /// The heading it stands under.
    pub section: &'static str,
    /// Lines of help; the first is the short one.
    pub help: &'static [&'static str],
    /// Whether a text is a value for it.
    pub check: fn(&str) -> Result<(), String>,
}

/// The value of a setting that nobody sets.
pub enum Default {
    /// This text.
    Text(&'static str),
    /// None; what that means.
    Unset(&'static str),
    /// Depends on the surroundings; how, and the rule.
    From(&'static str, fn(&Surroundings) -> Result<String, String>),
}

macro_rules! settings {
    ($($section:literal {
        $($(#[doc = $help:literal])+ $field:ident: $type:ty = $default:expr, $value_name:literal;)+
    })+) => {
        /// Everything that can be set, typed and each value valid by itself.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($($(#[doc = $help])+ pub $field: $type,)+)+
        }

        impl Settings {
            /// Settings from texts in the table's order.
            pub(super) fn build(texts: &Texts) -> Result<Settings, SettingError> {
                Ok(Settings { $($($field: texts.read(stringify!($field))?,)+)+ })
            }
        }

        /// All settings in the order of the help text.
        pub fn table() -> Vec<Setting> {
            vec![$($(Setting {
                name: stringify!($field).replace('_', "-"),
                variable: format!("WAYMARK_{}", stringify!($field).to_ascii_uppercase()),
                value_name: $value_name,
                kind: <$type as Value>::KIND,
                switch: <$type as Value>::SWITCH,
                default: $default,
                section: $section,
                help: &[$($help),+],
                check: |text| <$type as Value>::parse(text).map(drop),
            },)+)+]
        }
    };
}

use Default::{From, Text, Unset};

settings! {
    "Places and addresses" {
        /// Folder for everything Waymark keeps: store, task sandboxes, endpoints.json.
        ///
        /// It is made when missing. One instance at a time may use it.
        data_dir: PathBuf = From(
            "`/var/lib/waymark` for root, else `$XDG_STATE_HOME/waymark` or \
             `~/.local/state/waymark`",
            default_data_dir,
        ), "DIR";

        /// Address that the API, DNS and all service ports listen on.
        ///
        /// `0.0.0.0` or `::` means every address of this machine. The API has no access control
        /// yet: whoever reaches it can run commands here.
        listen: IpAddr = Text("127.0.0.1"), "ADDR";

        /// Address at which tasks are reached: what DNS answers and where traffic goes.
        host_ip: Option<IpAddr> = Unset(
            "the address of `listen`; when that means every address, the one of the default route",
        ), "ADDR";

        /// Name of this machine in the API and in the tasks' `HOST` variable.
        hostname: Option<HostName> = Unset("the text of `host-ip`, which needs no look-up"), "NAME";

        /// Port of the REST API.
        api_port: Port = Text("8080"), "PORT";

        /// Port of the DNS server, for UDP and TCP.
        dns_port: Port = Text("8053"), "PORT";
    }
    "Service ports" {
        /// First service port given to apps that ask for any.
        local_port_min: ServicePort = Text("10000"), "PORT";

        /// Last service port given to apps that ask for any.
        local_port_max: ServicePort = Text("20000"), "PORT";

        /// Refuse an app whose explicit service port another app has.
        ///
        /// Marathon accepts this, and so does Waymark by default, with a warning in the log, in the
        /// API's answer and in `waymark status`. With this switch the answer is 422.
        strict_service_ports: bool = Text("false"), "BOOL";
    }
    "Names" {
        /// Start no DNS server.
        no_dns: bool = Text("false"), "BOOL";

        /// Domain that all names end in.
        domain: DomainName = Text("mesos"), "NAME";

        /// Name of this framework: the label before the domain, as in `web.marathon.mesos`.
        framework_name: Label = Text("marathon"), "NAME";

        /// How long DNS clients may keep an answer; whole seconds.
        ///
        /// A task that is stopped waits until every answer that named it has outlived this time.
        dns_ttl: Seconds = Text("5s"), "TIME";

        /// Threads that answer DNS queries; 0 = one for each CPU.
        dns_workers: Count<0, 256> = Text("0"), "N";

        /// Primary name server in the zone's SOA and NS records.
        dns_soa_mname: Option<DomainName> = Unset("`ns1` in the domain"), "NAME";

        /// Mail address of whoever is responsible, in the SOA record, with a dot for the `@`.
        dns_soa_rname: Option<DomainName> = Unset("`root.ns1` in the domain"), "NAME";

        /// Networks whose DNS queries are answered; others are refused.
        dns_allow_query: Networks = Text("0.0.0.0/0,::/0"), "LIST";

        /// DNS replies a second by UDP for each network of clients and kind of answer; 0 = no limit.
        ///
        /// Loopback and private networks have no limit.
        dns_rate_limit: Count<0, 10_000_000> = Text("1000"), "N";

        /// Do not answer which names the addresses of tasks and agents have (PTR).
        dns_no_reverse: bool = Text("false"), "BOOL";

        /// Put addresses in the client's own network first: one /24, or one /64 with IPv6.
        dns_near_first: bool = Text("false"), "BOOL";

        /// Ask other DNS servers for names outside the domain, for those in `dns-allow-recursion`.
        ///
        /// Without it such names are refused.
        dns_external: bool = Text("false"), "BOOL";

        /// DNS servers that are asked for names outside the domain.
        dns_resolvers: Option<Servers> = Unset(
            "those of /etc/resolv.conf that are not this machine",
        ), "LIST";

        /// DNS servers for single zones and what is below them.
        dns_zone_resolvers: Option<ZoneServers> = Unset("none"), "LIST";

        /// Networks for which other DNS servers are asked; others are refused.
        dns_allow_recursion: Option<Networks> = Unset("loopback and private networks"), "LIST";

        /// How long another DNS server may be silent; the next one is asked meanwhile.
        ///
        /// 0s means 5s, as in Mesos-DNS.
        dns_resolver_timeout: Seconds = Text("5s"), "TIME";

        /// Ask the first two DNS servers of a list at once; the first answer counts.
        dns_race: bool = Text("false"), "BOOL";

        /// Answers of other DNS servers that are kept; 0 = none.
        dns_cache_entries: Count<0, 10_000_000> = Text("10000"), "N";

        /// How long after its time a kept answer is still given when no DNS server can be reached.
        ///
        /// 0s means never.
        dns_serve_stale: Seconds = Text("24h"), "TIME";

        /// Networks that may fetch the whole zone (AXFR, IXFR).
        dns_allow_transfer: Option<Networks> = Unset("nobody"), "LIST";

        /// Secondaries that are told of every change of the zone (NOTIFY).
        dns_notify: Option<Servers> = Unset("none"), "LIST";

        /// Port of Mesos-DNS's HTTP API (`/v1/hosts/…`), with `/v1/watch` and `/v1/lease`.
        ///
        /// Tools that ask Mesos-DNS by HTTP find Waymark's names there; 0 = any free port.
        mesos_dns_port: Option<Port> = Unset("it is not served"), "PORT";
    }
    "Load balancing" {
        /// Listen on no service ports.
        no_proxy: bool = Text("false"), "BOOL";

        /// Threads that forward connections; 0 = one for each CPU.
        proxy_workers: Count<0, 256> = Text("0"), "N";

        /// Connections open at once over all service ports; more wait to be accepted.
        ///
        /// Where the limit of open files (`ulimit -n`) is too low for it, that counts.
        max_connections: Count<1, 10_000_000> = Text("100000"), "N";

        /// How long a client may wait, from being accepted, until a task has its connection.
        connect_timeout: Duration = Text("5s"), "TIME";

        /// How long one task may take to accept a connection while another is left to be tried.
        try_timeout: Duration = Text("1s"), "TIME";

        /// A forwarded connection on which nothing moves for this long is closed.
        idle_timeout: Duration = Text("1h"), "TIME";

        /// How long a client is held while no task of its service accepts; 0 = reset at once.
        ///
        /// This bridges the moment between a task's end and its replacement.
        hold: Duration = Text("1s"), "TIME";
    }
    "Tasks" {
        /// Host ports given to tasks.
        task_ports: PortRange = Text("31000-32000"), "FIRST-LAST";

        /// User of tasks whose app names none; needs root.
        task_user: Option<UserName> = Unset("the user that Waymark runs as"), "USER";

        /// How long a task may go on serving after it was taken out of names and traffic.
        ///
        /// Before a task gets SIGTERM, Waymark takes it out of DNS and load balancing and waits
        /// until its connections have ended and DNS answers that named it have expired, but not
        /// longer than this. A task that fails its health checks does not wait.
        drain_timeout: Duration = Text("10s"), "TIME";

        /// Leave tasks running when Waymark stops; the next start takes them back.
        keep_tasks: bool = Text("false"), "BOOL";

        /// Hold tasks to their `cpus` even when the machine is idle.
        ///
        /// Without it, `cpus` is a share that counts when tasks compete. Limits are made with
        /// cgroup v2; `waymark status` says where that is not possible.
        cpu_hard_limit: bool = Text("false"), "BOOL";

        /// Size at which a task's stdout or stderr file is rotated.
        task_log_size: Size = Text("10MiB"), "SIZE";

        /// Files kept of each task's stdout and stderr, the current one included.
        task_log_files: Count<1, 100> = Text("5"), "N";

        /// Sandboxes of ended tasks that are kept, for each app.
        keep_sandboxes: Count<0, 1000> = Text("5"), "N";
    }
    "Log" {
        /// What is logged, to stderr.
        log_level: Option<LogFilter> = Unset(
            "`info`; `warn` while the live display is on a terminal",
        ), "LEVEL";

        /// How log lines look.
        log_format: LogFormat = Text("text"), "FORMAT";
    }
}

fn default_data_dir(around: &Surroundings) -> Result<String, String> {
    if around.root {
        return Ok("/var/lib/waymark".to_owned());
    }
    // The XDG rules: a relative path in the variable is to be ignored.
    let absolute = |name| around.variable(name).filter(|v| v.starts_with('/'));
    absolute("XDG_STATE_HOME")
        .map(|state| format!("{state}/waymark"))
        .or_else(|| absolute("HOME").map(|home| format!("{home}/.local/state/waymark")))
        .ok_or_else(|| "neither XDG_STATE_HOME nor HOME is set; say --data-dir DIR".to_owned())
}
