//! Which health check is a service's, what it makes of the mode, and what templates may say of it.

use waymark_model::{CheckProtocol, HealthCheck, PortReference};

use crate::labels::Rules;
use crate::template::format::{Keyed, Value};

/// The health check of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub check: HealthCheck,
    /// Whether it is another port's, by BACKEND_HEALTHCHECK_PORT_INDEX.
    pub borrowed: bool,
}

impl Check {
    /// The check of the port with this index: the first with a literal port, which serves every
    /// port, or with this index; else, if there is an index to borrow from, that one's.
    pub fn of(checks: &[HealthCheck], n: usize, borrow: Option<i64>) -> Option<Check> {
        let find = |n: usize| {
            checks.iter().find(|check| match check.port {
                Some(PortReference::Number(number)) => number != 0,
                Some(PortReference::Index(index)) => index == n,
                None => n == 0 && check.protocol != CheckProtocol::Command,
            })
        };
        if let Some(check) = find(n) {
            return Some(Check { check: check.clone(), borrowed: false });
        }
        let check = find(usize::try_from(borrow?).ok()?)?;
        Some(Check { check: check.clone(), borrowed: true })
    }

    /// Whether the templates for TCP checks apply; `None` = none do.
    pub fn is_tcp(&self, mode: &str) -> Option<bool> {
        let tcp = matches!(self.check.protocol, CheckProtocol::Tcp | CheckProtocol::MesosTcp);
        match mode {
            _ if tcp => Some(true),
            "tcp" => Some(true),
            "http" => Some(false),
            _ => None,
        }
    }

    /// The literal port.
    pub fn port(&self) -> Option<u16> {
        match self.check.port {
            Some(PortReference::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// What templates may name, when the port to be checked is this one.
    pub fn values<'a>(
        &'a self,
        port: Option<u16>,
        port_options: &'a str,
    ) -> [(&'static str, Value<'a>); 11] {
        let check = &self.check;
        let port = port.map_or(Value::Nothing, |port| Value::Number(port.into()));
        [
            ("healthCheck", Value::Keyed(self)),
            ("healthCheckPortIndex", self.port_index()),
            ("healthCheckPort", port),
            ("healthCheckProtocol", Value::Text(protocol(check.protocol))),
            ("healthCheckPath", Value::Text(check.path.as_deref().unwrap_or("/"))),
            ("healthCheckTimeoutSeconds", seconds(check.timeout)),
            ("healthCheckIntervalSeconds", seconds(check.interval)),
            ("healthCheckGracePeriodSeconds", seconds(check.grace_period)),
            (
                "healthCheckMaxConsecutiveFailures",
                Value::Number(check.max_consecutive_failures.into()),
            ),
            ("healthCheckFalls", Value::Number(i64::from(check.max_consecutive_failures) + 1)),
            ("healthCheckPortOptions", Value::Text(port_options)),
        ]
    }

    fn port_index(&self) -> Value<'_> {
        match self.check.port {
            Some(PortReference::Index(index)) => {
                Value::Number(i64::try_from(index).unwrap_or(i64::MAX))
            }
            _ => Value::Nothing,
        }
    }
}

/// The keys are those of Marathon's document.
impl Keyed for Check {
    fn get(&self, key: &str) -> Option<Value<'_>> {
        let check = &self.check;
        Some(match key {
            "protocol" => Value::Text(protocol(check.protocol)),
            "path" => Value::Text(check.path.as_deref()?),
            "portIndex" => match self.port_index() {
                Value::Nothing => return None,
                index => index,
            },
            "port" => Value::Number(self.port()?.into()),
            "command" => {
                check.command.as_ref()?;
                Value::Keyed(&check.command)
            }
            "gracePeriodSeconds" => seconds(check.grace_period),
            "intervalSeconds" => seconds(check.interval),
            "timeoutSeconds" => seconds(check.timeout),
            "delaySeconds" => seconds(check.delay),
            "maxConsecutiveFailures" => Value::Number(check.max_consecutive_failures.into()),
            "ignoreHttp1xx" => Value::Flag(check.ignore_http_1xx),
            "ipProtocol" => Value::Text(if check.ipv6 { "IPv6" } else { "IPv4" }),
            _ => return None,
        })
    }
}

/// A check's command: `{healthCheck[command][value]}`.
impl Keyed for Option<String> {
    fn get(&self, key: &str) -> Option<Value<'_>> {
        (key == "value").then_some(self.as_deref()).flatten().map(Value::Text)
    }
}

/// The mode: a borrowed HTTP check decides first, then MODE, then the service's own check, then
/// whether there are host names.
pub(crate) fn mode(check: Option<&Check>, rules: &Rules) -> String {
    use CheckProtocol::{Http, Https, MesosHttp, MesosHttps};
    let protocol = check.map(|check| check.check.protocol);
    let is_http = |protocol| matches!(protocol, Http | Https | MesosHttp | MesosHttps);
    if check.is_some_and(|check| check.borrowed) && protocol.is_some_and(is_http) {
        return String::from("http");
    }
    if let Some(mode) = &rules.mode {
        return mode.clone();
    }
    let http = protocol == Some(Http) || !rules.vhost.is_empty();
    String::from(if http { "http" } else { "tcp" })
}

fn seconds(duration: std::time::Duration) -> Value<'static> {
    Value::Number(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

fn protocol(protocol: CheckProtocol) -> &'static str {
    match protocol {
        CheckProtocol::Http => "HTTP",
        CheckProtocol::Https => "HTTPS",
        CheckProtocol::Tcp => "TCP",
        CheckProtocol::Command => "COMMAND",
        CheckProtocol::MesosHttp => "MESOS_HTTP",
        CheckProtocol::MesosHttps => "MESOS_HTTPS",
        CheckProtocol::MesosTcp => "MESOS_TCP",
    }
}
