//! The one definition of all settings. From it come the flags and their help, the keys of the
//! file, the environment variables, the typed [`Settings`] and the reference page.
//!
//! In the table, the first line of a setting's comment is its short help, all of it the long help.
//! A field `api_port` is the key `api-port`, the flag `--api-port` and the variable
//! `WAYMARK_API_PORT`. Behind a section's title stands which command has its settings.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::traffic::{
    AccessLog, AccessLogFormat, Folders, Groups, OptionalPort, Proxies, Secret, ServiceAccount,
    Urls,
};
use super::value::{
    Count, DomainName, HostName, Label, LogFilter, LogFormat, Networks, Port, PortRange, Seconds,
    Servers, ServicePort, Size, UserName, Value, ZoneServers,
};
use super::{SettingError, Surroundings, Texts};

/// A command that is set up by settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `waymark run`
    Run,
    /// `waymark lb`
    Lb,
}

impl Role {
    /// The command's name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Run => "run",
            Role::Lb => "lb",
        }
    }
}

/// Which commands have a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// `waymark run` alone.
    Run,
    /// `waymark lb` alone.
    Lb,
    /// Both.
    Both,
}

impl Of {
    /// Whether the command has it.
    pub fn has(self, role: Role) -> bool {
        matches!((self, role), (Of::Both, _) | (Of::Run, Role::Run) | (Of::Lb, Role::Lb))
    }
}

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
    /// Whether the flag may be repeated and take several values, which add up.
    pub list: bool,
    /// Whether values are shown nowhere.
    pub secret: bool,
    /// Which commands have it.
    pub of: Of,
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
    /// This text for `waymark run`, that one for `waymark lb`.
    Each(&'static str, &'static str),
    /// None; what that means.
    Unset(&'static str),
    /// Depends on the surroundings; how, and the rule.
    From(&'static str, fn(Role, &Surroundings) -> Result<String, String>),
}

impl Default {
    /// The default for people, code marked by backticks; of one command, or of both.
    pub fn describe(&self, role: Option<Role>) -> String {
        let code = |text: &str| match text {
            "" => "none".to_owned(),
            text => format!("`{text}`"),
        };
        match (self, role) {
            (Default::Text(text), _) => code(text),
            (Default::Each(run, _), Some(Role::Run)) => code(run),
            (Default::Each(_, lb), Some(Role::Lb)) => code(lb),
            (Default::Each(run, lb), None) => {
                format!("{}; {} for `waymark lb`", code(run), code(lb))
            }
            (Default::Unset(text) | Default::From(text, _), _) => (*text).to_owned(),
        }
    }
}

macro_rules! settings {
    ($($section:literal $of:ident {
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
                list: <$type as Value>::LIST,
                secret: <$type as Value>::SECRET,
                of: Of::$of,
                default: $default,
                section: $section,
                help: &[$($help),+],
                check: |text| <$type as Value>::parse(text).map(drop),
            },)+)+]
        }
    };
}

use Default::{Each, From, Text, Unset};

settings! {
    "Places and addresses" Both {
        /// Folder for everything Waymark keeps: store, task sandboxes, endpoints.json.
        ///
        /// It is made when missing. One instance at a time may use it. `waymark lb` keeps the last
        /// state of Marathon there, so that a restart serves it at once.
        data_dir: PathBuf = From(
            "`/var/lib/waymark` for root, else `$XDG_STATE_HOME/waymark` or \
             `~/.local/state/waymark`; `waymark-lb` in place of `waymark` for `waymark lb`",
            default_data_dir,
        ), "DIR";

        /// Address that everything for clients listens on.
        ///
        /// `0.0.0.0` is every IPv4 address of this machine, `::` every address. With `waymark run`
        /// that is the API too, which has no access control yet: whoever reaches it can run commands
        /// here.
        listen: IpAddr = Each("127.0.0.1", "0.0.0.0"), "ADDR";
    }
    "Places and addresses" Run {
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
    "Following a Marathon" Lb {
        /// URLs of one Marathon; the next is asked when one does not answer.
        ///
        /// The flag takes several, may be repeated, and takes a list with commas. They are the
        /// members of one cluster; another cluster needs another `waymark lb`.
        marathon: Urls = Text(""), "URL";

        /// `user:password` for Marathon; whoever sees the process list sees it too.
        ///
        /// Better are the variable or `marathon-auth-credential-file`, which counts where both are
        /// given.
        auth_credentials: Option<Secret> = Unset("none"), "USER:PASSWORD";

        /// File whose first line is `user:password` for Marathon.
        marathon_auth_credential_file: Option<PathBuf> = Unset("none"), "FILE";

        /// A DC/OS service account as JSON, or a file with it, to log in to Marathon.
        ///
        /// `uid`, `private_key` and `login_endpoint` are needed.
        dcos_auth_credentials: Option<ServiceAccount> = Unset(
            "`$DCOS_SERVICE_ACCOUNT_CREDENTIAL`, else none",
        ), "JSON|FILE";

        /// File (PEM) with the authorities that sign Marathon's certificate.
        ///
        /// Certificates are always verified.
        marathon_ca_cert: Option<PathBuf> = Unset("those of this machine"), "FILE";

        /// First service port for apps with an address for each task that name none.
        ///
        /// Marathon 0.14 to 1.2 gives such apps no service port; marathon-lb and Waymark make one
        /// from the app's id. 0 for this and the next setting makes none.
        min_serv_port_ip_per_task: Count<0, 65_535> = Text("10050"), "PORT";

        /// Last service port for such apps.
        max_serv_port_ip_per_task: Count<0, 65_535> = Text("10100"), "PORT";
    }
    "What is exposed" Both {
        /// Groups whose services get traffic; `*` is all, also those without a group.
        ///
        /// A service's groups stand in its app's label `HAPROXY_n_GROUP`, else `HAPROXY_GROUP`. The
        /// flag may be repeated and takes a list with commas. `waymark lb` needs one.
        group: Groups = Each("*", ""), "GROUP";

        /// Expose only services whose label `HAPROXY_n_ENABLED` is true.
        strict_mode: bool = Text("false"), "BOOL";
    }
    "What is exposed" Lb {
        /// Give no traffic to tasks whose health checks have not passed.
        ///
        /// Without it, tasks that have not been checked yet get traffic as if they were healthy;
        /// those that failed a check are the last resort either way.
        health_check: bool = Text("false"), "BOOL";
    }
    "Service ports" Run {
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
    "Names" Run {
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
    "Listeners" Run {
        /// Listen on no service ports, and on none of the ports below.
        no_proxy: bool = Text("false"), "BOOL";
    }
    "Listeners" Both {
        /// Take over from the Waymark that runs on the data folder, without a failed connection.
        ///
        /// The new process gets the old one's sockets; as soon as it serves, the old one stops
        /// accepting and ends when its connections have, or after its `stop-timeout`. With
        /// `waymark run` it gets the tasks as well, which go on. Where none runs it starts as ever.
        takeover: bool = Text("false"), "BOOL";

        /// How long connections may go on by themselves after another process has taken over.
        ///
        /// With `waymark lb` also when it is told to stop.
        stop_timeout: Duration = Text("10s"), "TIME";

        /// Port for requests by host name and path; `off` for none, 0 for any free one.
        http_port: Option<OptionalPort> = Unset(
            "80 for `waymark lb`, and for root with `listen` off loopback; 8000 else",
        ), "PORT";

        /// The same over TLS; it also passes TLS on by server name.
        https_port: Option<OptionalPort> = Unset(
            "443 for `waymark lb`, and for root with `listen` off loopback; 8443 else",
        ), "PORT";

        /// Port for requests by the header `X-Marathon-App-Id`.
        appid_port: OptionalPort = Text("9091"), "PORT";

        /// Port for statistics, metrics, and what is routed where.
        stats_port: OptionalPort = Text("9090"), "PORT";

        /// Address that the stats port listens on.
        ///
        /// It has no access control and tells everything about routes; marathon-lb listens on every
        /// address there.
        stats_listen: IpAddr = Text("127.0.0.1"), "ADDR";

        /// Listen neither on `http-port` nor on `https-port`.
        dont_bind_http_https: bool = Text("false"), "BOOL";

        /// Threads that forward; 0 = one for each CPU.
        workers: Count<0, 256> = Text("0"), "N";

        /// Certificates for `https-port`: files (PEM, with the key), and folders of such files.
        ///
        /// They are watched: what changes is taken over, and a file that is wrong or expired keeps
        /// nobody else from being served. Which one is shown follows from the client's SNI; the
        /// first is for whoever names none that fits.
        ssl_certs: Folders = Text(""), "LIST";

        /// Connections to `http-port`, `https-port` and `appid-port` begin with a PROXY header.
        ///
        /// For a load balancer in front that speaks the PROXY protocol (1 or 2). A connection without
        /// the header is closed.
        accept_proxy: bool = Text("false"), "BOOL";

        /// Networks of proxies in front whose `X-Forwarded-*` and `Forwarded` headers are believed.
        ///
        /// Everybody else's are replaced.
        trusted_proxies: Proxies = Text(""), "LIST";
    }
    "Tasks behind the load balancer" Both {
        /// How long a client may wait, from being accepted, until a task has its connection.
        connect_timeout: Duration = Text("5s"), "TIME";

        /// How long one task may take to accept a connection while another is left to be tried.
        try_timeout: Duration = Text("1s"), "TIME";

        /// How long a task may take to begin its answer; then the client gets 504.
        response_timeout: Duration = Text("60s"), "TIME";

        /// How often a request or connection may go to yet another task after one failed.
        ///
        /// A request only while nothing of an answer has gone to the client, and only if it may be
        /// repeated or had not been sent.
        retries: Count<0, 100> = Text("10"), "N";

        /// The share of a service's traffic that may be retries, in percent; a few a second are free.
        retry_budget: Count<0, 100> = Text("20"), "PERCENT";

        /// How long a client is held while no task of its service accepts; 0 = reset at once.
        ///
        /// This bridges the moment between a task's end and its replacement.
        hold: Duration = Text("1s"), "TIME";

        /// How many clients may be held at once; one more is refused at once.
        max_held: Count<0, 1_000_000> = Text("1024"), "N";

        /// How long a request may wait while every task of its service has its most; then 503.
        queue_timeout: Duration = Text("30s"), "TIME";

        /// How many requests may wait for one service; one more gets 503 at once.
        queue_length: Count<0, 1_000_000> = Text("1024"), "N";

        /// How long an unused connection to a task is kept.
        task_idle_timeout: Duration = Text("30s"), "TIME";

        /// Unused connections to one task that a thread keeps.
        task_idle_connections: Count<0, 65_536> = Text("256"), "N";

        /// Check tasks from here too, by the health checks of their apps.
        ///
        /// A task gets nothing new after `check-fall` failures in a row, and does again after
        /// `check-rise` successes. Failures of requests and connections count in any case.
        active_checks: bool = Text("false"), "BOOL";

        /// Time from one check of a task to the next.
        check_interval: Duration = Text("2s"), "TIME";

        /// How long a task may take to answer a check.
        check_timeout: Duration = Text("2s"), "TIME";

        /// Failed checks in a row after which a task gets nothing new.
        check_fall: Count<1, 1000> = Text("3"), "N";

        /// Passed checks in a row after which it does again.
        check_rise: Count<1, 1000> = Text("2"), "N";
    }
    "Limits for clients" Both {
        /// Connections open at once over all service ports; more wait to be accepted.
        ///
        /// Where the limit of open files (`ulimit -n`) is too low for it, that counts.
        max_connections: Count<1, 10_000_000> = Text("100000"), "N";

        /// Connections from one address (IPv6: from one /64); 0 = no limit. One more is reset.
        connections_per_source: Count<0, 10_000_000> = Text("0"), "N";

        /// A forwarded connection on which nothing moves for this long is closed.
        idle_timeout: Duration = Text("1h"), "TIME";

        /// How long a client may take to send a request's line and headers; then 408.
        head_timeout: Duration = Text("15s"), "TIME";

        /// Bytes of a request's or an answer's line and headers; more gets 431 or 502.
        head_size: Size = Text("64KiB"), "SIZE";

        /// Headers of a request or an answer; more gets 431 or 502.
        max_headers: Count<8, 4096> = Text("128"), "N";

        /// How long a request's or an answer's body may stand still.
        body_timeout: Duration = Text("60s"), "TIME";

        /// How long a kept connection may be without a request.
        keep_alive_timeout: Duration = Text("60s"), "TIME";

        /// Requests on one connection; after them it is closed in order.
        requests_per_connection: Count<1, 4_294_967_295> = Text("1000000"), "N";

        /// Streams of one HTTP/2 connection at a time.
        http2_streams: Count<1, 65_536> = Text("128"), "N";

        /// How long a client may take for a PROXY header or the first message of TLS.
        hello_timeout: Duration = Text("5s"), "TIME";

        /// How long a client may take for TLS as a whole.
        tls_timeout: Duration = Text("10s"), "TIME";

        /// How long a peer may acknowledge nothing until its connection counts as gone.
        peer_timeout: Duration = Text("60s"), "TIME";

        /// How long a UDP session lives without a datagram.
        udp_timeout: Duration = Text("30s"), "TIME";

        /// UDP sessions of all services; at most half of the balancer's open files.
        ///
        /// One more takes the place of another one of its service.
        udp_sessions: Count<1, 1_000_000> = Text("65536"), "N";

        /// UDP sessions of one service; one more takes the place of the one idle for longest.
        ///
        /// Those of clients that went on after an answer stay longest. Where open files are too few
        /// for `udp-sessions`, this shrinks with it.
        udp_service_sessions: Count<1, 1_000_000> = Text("16384"), "N";
    }
    "Access log" Both {
        /// Where a line for every request goes: `off`, `stdout`, or a file.
        access_log: AccessLog = Text("off"), "off|stdout|FILE";

        /// How its lines look.
        access_log_format: AccessLogFormat = Text("common"), "FORMAT";
    }
    "Tasks" Run {
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
    "Log" Both {
        /// What is logged, to stderr.
        log_level: Option<LogFilter> = Unset(
            "`info`; `warn` while the live display is on a terminal",
        ), "LEVEL";

        /// How log lines look.
        log_format: LogFormat = Text("text"), "FORMAT";
    }
}

fn default_data_dir(role: Role, around: &Surroundings) -> Result<String, String> {
    let name = match role {
        Role::Run => "waymark",
        Role::Lb => "waymark-lb",
    };
    if around.root {
        return Ok(format!("/var/lib/{name}"));
    }
    // The XDG rules: a relative path in the variable is to be ignored.
    let absolute = |name| around.variable(name).filter(|v| v.starts_with('/'));
    absolute("XDG_STATE_HOME")
        .map(|state| format!("{state}/{name}"))
        .or_else(|| absolute("HOME").map(|home| format!("{home}/.local/state/{name}")))
        .ok_or_else(|| "neither XDG_STATE_HOME nor HOME is set; say --data-dir DIR".to_owned())
}
