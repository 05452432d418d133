//! `/haproxy?stats;csv`: HAProxy's statistics in its columns, for dashboards and zdd.py.
//!
//! A service is a backend with its tasks as servers, and what is listened on for it a frontend, all
//! with marathon-lb's names. In: the route table and its counters. Out: text, each line another pair
//! of `pxname` and `svname` as long as no two tasks have one address. What is not counted here stays
//! empty, as HAProxy leaves what does not apply. Rates are since statistics were asked for before,
//! and `smax` is the most that was open whenever they were. The cost is that of what is printed.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;

use waymark_routing::{Balance, HashKey, Mode};

use super::rates::{Rate, Rates};
use super::services::states;
use crate::route::{Candidate, Front, Pool, PoolId, Reason, RouteTable};
use crate::stats::{ListenerState, PortStats, listener_stats};

/// The columns, as HAProxy 2.4 and later print them.
const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,\
    eresp,wretr,wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,\
    throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,check_duration,\
    hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,req_tot,\
    cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,\
    rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,\
    check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,\
    conn_tot,intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,\
    qtime_max,ctime_max,rtime_max,ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,\
    need_conn_est,uweight,agg_server_status,agg_server_check_status,agg_check_status,";

/// Where each column stands.
static POSITIONS: LazyLock<HashMap<&str, usize>> =
    LazyLock::new(|| names().enumerate().map(|(at, name)| (name, at)).collect());

fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.split_terminator(',')
}

/// One line: what stands in which column.
#[derive(Default)]
struct Row(Vec<(usize, String)>);

impl Row {
    fn new(proxy: &str, server: &str, kind: u8, number: usize) -> Row {
        Row::default()
            .set("pxname", proxy)
            .set("svname", server)
            .set("pid", 1)
            .set("iid", number)
            .set("type", kind)
    }

    /// A column that HAProxy does not have is left out.
    fn set(mut self, column: &str, value: impl ToString) -> Row {
        self.0.extend(POSITIONS.get(column).map(|at| (*at, value.to_string())));
        self
    }

    fn rate(self, rate: Rate) -> Row {
        self.set("rate", rate.now).set("rate_max", rate.most).set("smax", rate.open)
    }

    fn write(mut self, out: &mut String) {
        self.0.sort_unstable_by_key(|(at, _)| *at);
        let mut cells = self.0.into_iter().peekable();
        for column in 0..POSITIONS.len() {
            if let Some((_, value)) = cells.next_if(|(at, _)| *at == column) {
                out.push_str(&value);
            }
            out.push(',');
        }
        out.push('\n');
    }
}

/// What came in at the listeners of one service together: one that is for TCP and UDP has two.
#[derive(Default)]
struct Came {
    listens: bool,
    active: usize,
    accepted: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Came {
    fn add(&mut self, stats: &PortStats) {
        self.listens |= stats.listener == ListenerState::Listening;
        self.active += stats.active;
        self.accepted += stats.accepted;
        self.bytes_in += stats.bytes_in;
        self.bytes_out += stats.bytes_out;
    }
}

/// All lines. `fronts` are the shared ports; `now` is in milliseconds on the workers' clock.
pub(super) fn csv(
    table: &RouteTable,
    fronts: &[(Front, PortStats)],
    now: u64,
    rates: &mut Rates,
) -> String {
    rates.begin(now);
    let mut out = format!("# {COLUMNS}\n");
    let mut number = 1;
    for (front, stats) in fronts {
        number += 1;
        let (name, mode) = match front {
            Front::Http => ("marathon_http_in", "http"),
            Front::Https => ("marathon_https_in", "http"),
            Front::AppId => ("marathon_http_appid_in", "http"),
            Front::Service(_) => continue,
        };
        let mut came = Came::default();
        came.add(stats);
        frontend(name, mode, &came, number, rates).write(&mut out);
    }
    let listeners = listeners(table);
    let mut used = HashMap::new();
    for pool in table.pools.values().filter(|pool| pool.id.shared.is_none()) {
        let name = unused(&mut used, &pool.name);
        number += 1;
        if let Some(came) = listeners.get(&pool.id) {
            frontend(&name, mode_of(pool), came, number, rates).write(&mut out);
        }
        number += 1;
        let mut up = 0;
        for (position, (candidate, reason)) in states(pool, now).enumerate() {
            up += usize::from(is_up(reason));
            let endpoint = &candidate.endpoint;
            let seats = endpoint.counters.seats.load(Relaxed);
            let rate = rates.of(&name, &endpoint.server, seats, endpoint.active().into());
            let row = server(&name, pool, candidate, reason, number).rate(rate);
            row.set("sid", position + 1).write(&mut out);
        }
        backend(&name, pool, up, number, rates).write(&mut out);
    }
    rates.end();
    out
}

/// What came in for each service that is listened for. A port that several services have is the
/// first one's, or sums over frontends would count it twice.
fn listeners(table: &RouteTable) -> HashMap<PoolId, Came> {
    let mut found: HashMap<PoolId, Came> = HashMap::with_capacity(table.listeners.len());
    for route in table.listeners.values() {
        let id = PoolId { shared: None, ..route.pool.id.clone() };
        found.entry(id).or_default().add(&listener_stats(&route.port));
    }
    found
}

/// The name, with a number behind it where another service has it already: an app's ports for TCP
/// and for UDP may have one number.
fn unused(used: &mut HashMap<String, usize>, name: &str) -> String {
    let times = used.entry(name.to_owned()).or_default();
    *times += 1;
    match *times {
        1 => name.to_owned(),
        n => format!("{name}:{n}"),
    }
}

fn frontend(name: &str, mode: &str, came: &Came, number: usize, rates: &mut Rates) -> Row {
    let rate = rates.of(name, "FRONTEND", came.accepted, came.active as u64);
    Row::new(name, "FRONTEND", 0, number)
        .rate(rate)
        .set("conn_rate", rate.now)
        .set("conn_rate_max", rate.most)
        .set("sid", 0)
        .set("scur", came.active)
        .set("stot", came.accepted)
        .set("conn_tot", came.accepted)
        .set("bin", came.bytes_in)
        .set("bout", came.bytes_out)
        .set("status", if came.listens { "OPEN" } else { "STOP" })
        .set("mode", mode)
}

fn server(
    name: &str,
    pool: &Pool,
    candidate: &Candidate,
    reason: Option<Reason>,
    number: usize,
) -> Row {
    let endpoint = &candidate.endpoint;
    let counters = &endpoint.counters;
    let row = Row::new(name, &endpoint.server, 2, number)
        .set("qcur", 0)
        .set("scur", endpoint.active())
        .set("stot", counters.seats.load(Relaxed))
        .set("lbtot", counters.seats.load(Relaxed))
        .set("bin", counters.bytes_in.load(Relaxed))
        .set("bout", counters.bytes_out.load(Relaxed))
        .set("econ", counters.connect_errors.load(Relaxed))
        .set("eresp", counters.response_errors.load(Relaxed))
        .set("chkdown", counters.ejections.load(Relaxed))
        .set("status", server_status(pool, reason))
        .set("weight", 1)
        .set("act", 1)
        .set("bck", 0)
        .set("addr", endpoint.address)
        .set("mode", mode_of(pool));
    match pool.rules.sticky {
        Some(_) => row.set("cookie", endpoint.sticky()),
        None => row,
    }
}

/// `up` is the number of its servers that get something.
fn backend(name: &str, pool: &Pool, up: usize, number: usize, rates: &mut Rates) -> Row {
    let counters = &pool.counters;
    let classes = ["hrsp_other", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx"];
    let requests = || counters.requests.iter().map(|count| count.load(Relaxed));
    let active: u64 = pool.candidates.iter().map(|c| u64::from(c.endpoint.active())).sum();
    let seats = counters.seats.load(Relaxed);
    let row = Row::new(name, "BACKEND", 1, number)
        .rate(rates.of(name, "BACKEND", seats, active))
        .set("sid", 0)
        .set("qcur", pool.queue_len())
        .set("scur", active)
        .set("stot", seats)
        .set("lbtot", seats)
        .set("bin", counters.bytes_in.load(Relaxed))
        .set("bout", counters.bytes_out.load(Relaxed))
        .set("econ", counters.connect_errors.load(Relaxed))
        .set("eresp", counters.response_errors.load(Relaxed))
        .set("wredis", counters.retries.load(Relaxed))
        .set("status", if up > 0 { "UP" } else { "DOWN" })
        .set("weight", up)
        .set("act", up)
        .set("bck", 0)
        .set("mode", mode_of(pool))
        .set("algo", algorithm(&pool.rules.balance));
    if pool.rules.mode != Mode::Http {
        return row;
    }
    let row = row.set("req_tot", requests().sum::<u64>());
    classes.into_iter().zip(requests()).fold(row, |row, (name, count)| row.set(name, count))
}

/// As HAProxy would say it: zdd.py waits for `UP` and `MAINT`.
pub(super) fn server_status(pool: &Pool, reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::Draining) => "MAINT",
        reason if !is_up(reason) => "DOWN",
        _ if pool.check.is_none() => "no check",
        _ => "UP",
    }
}

fn is_up(reason: Option<Reason>) -> bool {
    matches!(reason, None | Some(Reason::Full | Reason::Tried))
}

pub(super) fn mode_of(pool: &Pool) -> &'static str {
    match pool.rules.mode {
        Mode::Http => "http",
        Mode::Tcp => "tcp",
    }
}

fn algorithm(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "roundrobin",
        Balance::LeastConnections => "leastconn",
        Balance::First => "first",
        Balance::Hash(HashKey::Source) => "source",
        Balance::Hash(HashKey::Path) => "uri",
        Balance::Hash(_) => "hash",
        // HAProxy's `random` also draws two.
        Balance::Random | Balance::TwoChoices => "random",
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
