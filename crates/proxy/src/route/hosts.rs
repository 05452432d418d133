//! Host names to rules. A look-up costs the same among ten names and among ten thousand, and takes
//! no memory; a change copies a few nodes of a tree.

use std::cmp::Reverse;
use std::sync::Arc;

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use waymark_routing::{HostPattern, PathPattern};

use super::pool::{Pool, PoolId};
use super::spelling::canonical;

/// Names to anything; copies share what is equal.
pub(crate) type NameMap<T> =
    GenericHashMap<Box<str>, T, foldhash::fast::RandomState, DefaultSharedPtr>;

/// The longest host name (RFC 1035 §2.3.4, in text).
const HOST_MAX: usize = 253;

/// The rules of every host.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    exact: NameMap<Arc<HostRules>>,
    /// By what follows `*.`.
    under: NameMap<Arc<HostRules>>,
    any: Option<Arc<HostRules>>,
}

/// What is said about one host pattern.
#[derive(Clone, Debug)]
pub struct HostRules {
    /// The pattern.
    pub host: HostPattern,
    /// Rules for requests, in order; the first that matches decides.
    pub rules: Vec<Arc<Rule>>,
    /// Services that TLS connections are passed through to; the first gets them.
    pub passthrough: Vec<Arc<Pool>>,
    /// Whether any rule's service has a guard.
    guards: bool,
    /// Rules whose path is spelled with escapes and the like, by place, and how it is plain.
    escaped: Vec<(usize, PathPattern)>,
}

/// Requests of one host with a certain path.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The path; `None` = every path.
    pub path: Option<PathPattern>,
    /// Its order; greater first.
    pub priority: i32,
    /// Who gets them: one, or several by their shares.
    pub shares: Vec<Share>,
    /// Services that say the same and get nothing.
    pub shadowed: Vec<PoolId>,
}

/// A service's share of a rule's requests.
#[derive(Clone, Debug)]
pub struct Share {
    /// The service.
    pub pool: Arc<Pool>,
    /// Its weight among the others.
    pub weight: u32,
}

/// A host name in lower case, without port and without the root's dot, kept on the stack.
pub(crate) struct HostName {
    bytes: [u8; HOST_MAX],
    len: usize,
}

impl HostName {
    /// Reads `Host` or a server name. `None` when it is none, or one with characters that no host
    /// name or address has: it could not be matched, and would not be safe to repeat in an answer.
    pub(crate) fn read(text: &str) -> Option<HostName> {
        let host = without_port(text);
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut name = HostName { bytes: [0; HOST_MAX], len: host.len() };
        if host.is_empty() {
            return None;
        }
        for (to, from) in name.bytes.get_mut(..host.len())?.iter_mut().zip(host.bytes()) {
            let known = from.is_ascii_alphanumeric() || b"-._:[]".contains(&from);
            *to = known.then(|| from.to_ascii_lowercase())?;
        }
        Some(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
    }
}

/// `Host` without its port (RFC 9110 §7.2); an IPv6 address keeps its brackets.
pub(super) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

impl HostTable {
    /// The rules of the host's patterns, the most specific pattern first: the name itself, then the
    /// longest wildcard, then every name.
    pub(crate) fn matching<'t, 'h>(
        &'t self,
        host: &'h str,
    ) -> impl Iterator<Item = &'t Arc<HostRules>> + use<'t, 'h> {
        let wildcards = if self.under.is_empty() { "" } else { host };
        let parents = wildcards.match_indices('.').filter_map(|(dot, _)| wildcards.get(dot + 1..));
        self.exact
            .get(host)
            .into_iter()
            .chain(parents.filter_map(|parent| self.under.get(parent)))
            .chain(&self.any)
    }

    pub(super) fn passthrough(&self, server_name: &str) -> Option<Arc<Pool>> {
        let name = HostName::read(server_name)?;
        // The first pattern that has anything decides.
        self.matching(name.as_str()).next()?.passthrough.first().cloned()
    }

    /// What is said about exactly this pattern.
    pub fn get(&self, host: &HostPattern) -> Option<&Arc<HostRules>> {
        match host {
            HostPattern::Exact(name) => self.exact.get(name.as_str()),
            HostPattern::Under(parent) => self.under.get(parent.as_str()),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// Every pattern, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HostRules>> {
        self.exact.values().chain(self.under.values()).chain(&self.any)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.under.len() + usize::from(self.any.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces what is said about a pattern.
    pub(super) fn set(&mut self, host: &HostPattern, rules: Option<Arc<HostRules>>) {
        let (map, name) = match host {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Under(parent) => (&mut self.under, parent),
            HostPattern::Any => {
                self.any = rules;
                return;
            }
        };
        match rules {
            Some(rules) => map.insert(name.as_str().into(), rules),
            None => map.remove(name.as_str()),
        };
    }
}

impl HostRules {
    /// Orders the rules of the services that have the host. `services` in order of app and port.
    pub(super) fn new<'p>(
        host: HostPattern,
        services: impl Iterator<Item = &'p Arc<Pool>>,
    ) -> HostRules {
        let mut rules: Vec<Rule> = Vec::new();
        let mut passthrough: Vec<Arc<Pool>> = Vec::new();
        for pool in services {
            if pool.rules.mode == waymark_routing::Mode::Tcp {
                passthrough.push(pool.clone());
                continue;
            }
            let every = pool.rules.paths.is_empty().then_some(None);
            for path in every.into_iter().chain(pool.rules.paths.iter().map(Some)) {
                let share = Share { pool: pool.clone(), weight: pool.rules.share.unwrap_or(100) };
                rules.push(Rule {
                    path: path.cloned(),
                    priority: pool.rules.priority,
                    shares: vec![share],
                    shadowed: Vec::new(),
                });
            }
        }
        // Stable: among equals the first app, and its first port, stays first.
        rules.sort_by(|a, b| order(a).cmp(&order(b)));
        passthrough.sort_by_key(|pool| Reverse(pool.rules.priority));
        let rules: Vec<_> = merge_equals(rules).into_iter().map(Arc::new).collect();
        let guards = rules.iter().flat_map(|r| &r.shares).any(|share| share.pool.has_guard());
        let plain = |(at, rule): (usize, &Arc<Rule>)| Some((at, plain(rule.path.as_ref()?)?));
        // Nobody asks for it where there is no guard.
        let escaped =
            if guards { rules.iter().enumerate().filter_map(plain).collect() } else { Vec::new() };
        HostRules { host, rules, passthrough, guards, escaped }
    }

    /// Whether any rule's service has a guard: a password, or sources that may ask.
    pub(super) fn has_guards(&self) -> bool {
        self.guards
    }

    /// The first rule that is not spelled plainly and would have this path if it were.
    pub(super) fn escaped(&self, path: &str) -> Option<&Arc<Rule>> {
        let (at, _) = self.escaped.iter().find(|(_, plain)| meets(plain, path))?;
        self.rules.get(*at)
    }

    /// The same with a service's pool replaced by one with the same rules. Costs next to nothing for
    /// each rule that stays: a host can have one for each of ten thousand apps.
    pub(super) fn with_pool(&self, old: &Arc<Pool>, new: &Arc<Pool>) -> HostRules {
        let mut replaced = self.clone();
        for pool in replaced.passthrough.iter_mut().filter(|pool| Arc::ptr_eq(pool, old)) {
            *pool = new.clone();
        }
        let every = new.rules.paths.is_empty().then_some(None);
        for path in every.into_iter().chain(new.rules.paths.iter().map(Some)) {
            let sought = order_of(new.rules.priority, path);
            let start = replaced.rules.partition_point(|rule| order(rule) < sought);
            let equal = replaced.rules.iter_mut().skip(start);
            for rule in equal.take_while(|rule| order(rule) == sought) {
                let shares = &mut Arc::make_mut(rule).shares;
                for share in shares.iter_mut().filter(|share| Arc::ptr_eq(&share.pool, old)) {
                    share.pool = new.clone();
                }
            }
        }
        replaced
    }

    /// The rules that may have the path, in order: of many with texts of one length only those with
    /// the path's own.
    pub(super) fn candidates<'r, 'p>(
        &'r self,
        path: &'p str,
    ) -> impl Iterator<Item = &'r Arc<Rule>> + use<'r, 'p> {
        let mut rest = self.rules.as_slice();
        let mut run: &[Arc<Rule>] = &[];
        std::iter::from_fn(move || {
            while run.is_empty() {
                let first = rest.first()?;
                let (priority, kind, length, folded, _) = order(first);
                let same = |rule: &Arc<Rule>| {
                    let of_rule = order(rule);
                    (of_rule.0, of_rule.1, of_rule.2, of_rule.3) == (priority, kind, length, folded)
                };
                let end = if rest.len() <= FEW { 1 } else { rest.partition_point(same) };
                let (found, after) = rest.split_at(end);
                run = if kind < 2 && !folded { among(found, path) } else { found };
                rest = after;
            }
            let (first, after) = run.split_first()?;
            run = after;
            Some(first)
        })
    }
}

/// So many rules are simply looked at one by one.
const FEW: usize = 16;

/// Of rules whose texts have one length and count as they are, those that the path begins with.
fn among<'r>(run: &'r [Arc<Rule>], path: &str) -> &'r [Arc<Rule>] {
    let Some(first) = run.first().filter(|_| run.len() > FEW) else { return run };
    let length = order(first).2.0;
    let Some(start) = path.as_bytes().get(..length) else { return &[] };
    let from = run.partition_point(|rule| order(rule).4.as_bytes() < start);
    let to = run.partition_point(|rule| order(rule).4.as_bytes() <= start);
    run.get(from..to).unwrap_or_default()
}

/// Priority, then exact paths, longest prefixes, expressions, every path; the text last, so that
/// equal paths are neighbours.
type Order<'r> = (Reverse<i32>, u8, Reverse<usize>, bool, &'r str);

fn order(rule: &Rule) -> Order<'_> {
    order_of(rule.priority, rule.path.as_ref())
}

fn order_of(priority: i32, path: Option<&PathPattern>) -> Order<'_> {
    let (kind, text, folded) = match path {
        Some(PathPattern::Exact(text)) => (0, text.as_str(), false),
        Some(PathPattern::Prefix { text, ignore_case }) => (1, text.as_str(), *ignore_case),
        Some(PathPattern::Segments(text)) => (1, text.trim_end_matches('/'), false),
        Some(PathPattern::Regex(regex)) => (2, regex.as_str(), false),
        None => (3, "", false),
    };
    // How long an expression is says nothing about how much it matches.
    let length = if kind == 2 { 0 } else { text.len() };
    (Reverse(priority), kind, Reverse(length), folded, text)
}

/// Makes one rule of those that say the same: requests are shared by weight if one of the services
/// asks for it, else the first gets all.
fn merge_equals(rules: Vec<Rule>) -> Vec<Rule> {
    let mut merged: Vec<Rule> = Vec::with_capacity(rules.len());
    for rule in rules {
        match merged.last_mut() {
            Some(last) if last.priority == rule.priority && last.path == rule.path => {
                last.shares.extend(rule.shares);
            }
            _ => merged.push(rule),
        }
    }
    for rule in &mut merged {
        if rule.shares.iter().all(|share| share.pool.rules.share.is_none()) {
            let shadowed = rule.shares.drain(1..);
            rule.shadowed = shadowed.map(|share| share.pool.id.clone()).collect();
        }
    }
    merged
}

/// Whether a path is a pattern's.
fn meets(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(text) => path == text,
        PathPattern::Prefix { text, ignore_case: false } => {
            path.as_bytes().starts_with(text.as_bytes())
        }
        PathPattern::Prefix { text, ignore_case: true } => path
            .as_bytes()
            .get(..text.len())
            .is_some_and(|p| p.eq_ignore_ascii_case(text.as_bytes())),
        PathPattern::Segments(text) => path
            .strip_prefix(text.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        PathPattern::Regex(regex) => regex.is_match(path),
    }
}

/// A pattern that is not spelled plainly as one that is; expressions stay what they are.
fn plain(pattern: &PathPattern) -> Option<PathPattern> {
    Some(match pattern {
        PathPattern::Exact(text) => PathPattern::Exact(canonical(text)?),
        PathPattern::Prefix { text, ignore_case } => {
            PathPattern::Prefix { text: canonical(text)?, ignore_case: *ignore_case }
        }
        PathPattern::Segments(text) => PathPattern::Segments(canonical(text)?),
        PathPattern::Regex(_) => return None,
    })
}

impl Rule {
    /// Whether a path (without its query) is this rule's.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|pattern| meets(pattern, path))
    }

    /// Whether it is looked at before another one of its host.
    pub(super) fn is_before(&self, other: &Rule) -> bool {
        order(self) < order(other)
    }

    /// Who gets a request; `random` decides between several. Weights of 0 get nothing.
    pub(crate) fn share(&self, random: u32) -> Option<&Arc<Pool>> {
        if let [only] = self.shares.as_slice() {
            return Some(&only.pool);
        }
        let total: u64 = self.shares.iter().map(|share| u64::from(share.weight)).sum();
        let mut left = u64::from(random).checked_rem(total)?;
        let drawn = self.shares.iter().find(|share| {
            let weight = u64::from(share.weight);
            let hit = left < weight;
            left = left.saturating_sub(weight);
            hit
        });
        drawn.map(|share| &share.pool)
    }
}
