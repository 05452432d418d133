//! Why a request goes where it goes: the data path's own decision and pick, with everything that was
//! looked at on the way, as data to be shown. Takes no seat and moves no turn.

use serde::Serialize;
use waymark_model::Version;
use waymark_routing::{Balance, HashKey, HostPattern, PathPattern};

use super::decide::{Decision, Front, Request, Trace, admit, decide_traced};
use super::hosts::{HostName, Rule, Share};
use super::pick::{Choice, Look};
use super::pool::{Affinity, Candidate, Pool, Reason};
use super::table::{RouteTable, ServiceRoute};

/// What became of a request, or would, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The catalog's version that the routes are made from.
    pub version: Version,
    /// Where the request came in: `http`, `https`, `appid`, `service 10000`.
    pub listener: String,
    /// The host name that rules were looked for with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The rules that were looked at, in order; the last one decided if it is met.
    pub rules: Vec<RuleLook>,
    /// `forward`, `pass-through`, `redirect`, `authenticate`, `forbidden`, `ambiguous`,
    /// `no-route`, `no-task`.
    pub decision: &'static str,
    /// More about the decision, for people.
    pub reason: String,
    /// The status that Waymark itself answers with; absent where a task answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where a redirect leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The service that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceLook>,
    /// The tasks of the service.
    pub candidates: Vec<CandidateLook>,
    /// The task that would get it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pick: Option<PickLook>,
}

/// A rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleLook {
    /// The host pattern: `a.test`, `*.a.test`, `*`.
    pub host: String,
    /// The path: `every`, `exactly /x`, `prefix /x`, `segments /x`, `regex x`.
    pub path: String,
    /// Its priority.
    pub priority: i32,
    /// Who gets its requests, by share: `web_10000 100`.
    pub services: Vec<String>,
    /// Whether the request meets it.
    pub met: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<&'static str>,
}

/// The service that a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceLook {
    /// The app, or the deployment group.
    pub app: String,
    /// Position of the port in the app's port list.
    pub index: usize,
    /// The service port.
    pub port: u16,
    /// The name that statistics have: `web_10000`.
    pub name: String,
    /// How a task is chosen.
    pub balance: String,
    /// The apps whose tasks are all meant, where several have the service port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared_by: Vec<String>,
}

/// A task of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CandidateLook {
    /// The task.
    pub task: String,
    /// Where it answers.
    pub address: String,
    /// Requests or connections that it has now.
    pub active: u32,
    /// Why it would not get the request; absent when it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Reason>,
}

/// The task that would get a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PickLook {
    /// The task.
    pub task: String,
    /// Where it answers.
    pub address: String,
    /// What speaks against it; it is the best there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub although: Option<Reason>,
}

/// What was looked at.
#[derive(Default)]
struct Notes {
    rules: Vec<RuleLook>,
    shared_by: Vec<String>,
}

impl Trace for Notes {
    fn rule(&mut self, host: &HostPattern, rule: &Rule, path_met: bool, met: bool) {
        let service = |share: &Share| format!("{} {}", share.pool.name, share.weight);
        let why_not = match (path_met, met) {
            (_, true) => None,
            (false, _) => Some("the path is another"),
            (true, false) => Some("every share is 0"),
        };
        self.rules.push(RuleLook {
            host: host_text(host),
            path: path_text(rule.path.as_ref()),
            priority: rule.priority,
            services: rule.shares.iter().map(service).collect(),
            met,
            why_not,
        });
    }

    fn listener(&mut self, route: &ServiceRoute) {
        if route.apps.len() > 1 {
            self.shared_by = route.apps.iter().map(ToString::to_string).collect();
        }
    }
}

/// Explains a request. `now` in milliseconds on the workers' clock, `random` any number.
pub(crate) fn explain(
    table: &RouteTable,
    request: &Request<'_>,
    affinity: &Affinity<'_>,
    now: u64,
    random: u32,
) -> Explanation {
    let mut notes = Notes::default();
    let passed = match request.front {
        Front::Https => table.passthrough(request.host),
        _ => None,
    };
    let (decision, passed) = match passed {
        Some(pool) if !pool.allows(request.source.ip()) => (Decision::Forbidden, true),
        Some(pool) => (Decision::Forward(pool), true),
        None => (decide_traced(table, request, random, &mut notes), false),
    };
    let shared = matches!(request.front, Front::Http | Front::Https);
    let host = HostName::read(request.host).filter(|_| shared);
    let mut explanation = Explanation {
        version: table.version,
        listener: listener_text(request.front),
        host: host.as_ref().map(|host| host.as_str().to_owned()),
        rules: notes.rules,
        decision: "no-route",
        reason: String::new(),
        status: None,
        location: None,
        service: None,
        candidates: Vec::new(),
        pick: None,
    };
    explanation.tell(&decision, request, passed);
    if let Some(pool) = pool_of(&decision) {
        let look =
            Look { affinity, tried: &[], peek: true, now: &|| now, below: &|n| random % n.max(1) };
        explanation.service = Some(service(pool, notes.shared_by));
        explanation.look_at(pool, &look);
    }
    explanation
}

impl Explanation {
    /// The decision in words.
    fn tell(&mut self, decision: &Decision, request: &Request<'_>, passed: bool) {
        let (word, status, reason) = match decision {
            Decision::Forward(_) if passed => (
                "pass-through",
                None,
                "TLS for this server name goes to a task unopened".to_owned(),
            ),
            Decision::Forward(pool) if pool.rules.auth.is_some() => (
                "forward",
                None,
                "a task answers; its password (AUTH) holds on the http and https ports only, and \
                 nobody is asked for it here"
                    .to_owned(),
            ),
            Decision::Forward(_) => ("forward", None, "a task answers".to_owned()),
            Decision::Redirect(status, location) => {
                self.location = Some(location.clone());
                ("redirect", Some(*status), "its labels say so".to_owned())
            }
            Decision::Authenticate(pool) => {
                let then = match admit(pool, request) {
                    Decision::Forward(_) => "a task answers",
                    Decision::Forbidden => "this source may not ask all the same",
                    Decision::Redirect(..) => "it is redirected",
                    _ => "there is no task",
                };
                let realm = pool.rules.auth.as_ref().map_or("", |auth| auth.realm.as_str());
                let reason = format!("credentials for {realm:?} are needed; with them, {then}");
                ("authenticate", Some(401), reason)
            }
            Decision::Forbidden => {
                let reason = format!("{} is in no allowed network", request.source.ip());
                ("forbidden", Some(403), reason)
            }
            Decision::Ambiguous => {
                let reason = "servers may read this path as that of several guarded services";
                ("ambiguous", Some(400), reason.to_owned())
            }
            Decision::NoRoute => ("no-route", Some(503), self.why_no_route(request)),
            Decision::NoTask(_) => {
                ("no-task", Some(503), "the service has no task at all".to_owned())
            }
        };
        (self.decision, self.status, self.reason) = (word, status, reason);
    }

    fn why_no_route(&self, request: &Request<'_>) -> String {
        match request.front {
            Front::Service(key) => format!("no exposed service has port {}", key.port),
            Front::AppId => "no exposed app of this id has a port in mode http".to_owned(),
            _ if self.host.is_none() => format!("{:?} is no host name", request.host),
            _ if self.rules.is_empty() => "no service has this host".to_owned(),
            _ => "the host has no rule for this path".to_owned(),
        }
    }

    /// The tasks, and which of them would get it.
    fn look_at(&mut self, pool: &Pool, look: &Look<'_>) {
        let candidate = |candidate: &Candidate| {
            let endpoint = &candidate.endpoint;
            CandidateLook {
                task: endpoint.task.to_string(),
                address: endpoint.address.to_string(),
                active: endpoint.active(),
                left_out: pool.left_out(candidate, look),
            }
        };
        self.candidates = pool.candidates.iter().map(candidate).collect();
        let told = matches!(self.decision, "forward" | "pass-through" | "authenticate");
        match pool.choose(look) {
            _ if !told => {}
            Choice::Candidate(chosen) => {
                self.pick = Some(PickLook {
                    task: chosen.endpoint.task.to_string(),
                    address: chosen.endpoint.address.to_string(),
                    although: pool.left_out(chosen, look),
                });
            }
            Choice::Full => self.reason.push_str("; it waits: every task has its most"),
            Choice::Nobody => self.reason.push_str("; it is held for a moment: no task is ready"),
        }
    }
}

fn pool_of(decision: &Decision) -> Option<&Pool> {
    match decision {
        Decision::Forward(pool) | Decision::Authenticate(pool) | Decision::NoTask(pool) => {
            Some(pool)
        }
        Decision::Redirect(..) | Decision::Forbidden | Decision::Ambiguous | Decision::NoRoute => {
            None
        }
    }
}

fn service(pool: &Pool, shared_by: Vec<String>) -> ServiceLook {
    ServiceLook {
        app: pool.id.app.to_string(),
        index: pool.id.index,
        port: pool.port,
        name: pool.name.clone(),
        balance: balance_text(&pool.rules.balance),
        shared_by,
    }
}

fn listener_text(front: Front) -> String {
    match front {
        Front::Http => "http".to_owned(),
        Front::Https => "https".to_owned(),
        Front::AppId => "appid".to_owned(),
        Front::Service(key) => match key.ip {
            Some(ip) => format!("service {} on {ip}", key.port),
            None => format!("service {}", key.port),
        },
    }
}

/// How a task is chosen, in words.
pub(crate) fn balance_text(balance: &Balance) -> String {
    match balance {
        Balance::RoundRobin => "round-robin".to_owned(),
        Balance::LeastConnections => "least-connections".to_owned(),
        Balance::TwoChoices => "two-choices".to_owned(),
        Balance::Random => "random".to_owned(),
        Balance::First => "first".to_owned(),
        Balance::Hash(HashKey::Source) => "hash of the source".to_owned(),
        Balance::Hash(HashKey::Path) => "hash of the path".to_owned(),
        Balance::Hash(HashKey::Header(name)) => format!("hash of the header {name}"),
        Balance::Hash(HashKey::Cookie(name)) => format!("hash of the cookie {name}"),
    }
}

fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Under(parent) => format!("*.{parent}"),
        HostPattern::Any => "*".to_owned(),
    }
}

fn path_text(path: Option<&PathPattern>) -> String {
    match path {
        None => "every".to_owned(),
        Some(PathPattern::Exact(text)) => format!("exactly {text}"),
        Some(PathPattern::Prefix { text, ignore_case: false }) => format!("prefix {text}"),
        Some(PathPattern::Prefix { text, ignore_case: true }) => {
            format!("prefix {text} in any case")
        }
        Some(PathPattern::Segments(text)) => format!("segments {text}"),
        Some(PathPattern::Regex(regex)) => format!("regex {regex}"),
    }
}
