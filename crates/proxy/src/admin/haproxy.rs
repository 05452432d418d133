//! What scripts and dashboards ask HAProxy for: its statistics as CSV, and marathon-lb's maps.
//!
//! A service is a frontend, its tasks are servers, and both with a backend between them have
//! marathon-lb's names, so that zdd.py finds what it looks for. What is not counted here stays empty,
//! as HAProxy leaves what does not apply.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use waymark_routing::{Balance, HashKey, HostPattern, Mode};

use super::services::states;
use crate::Proxy;
use crate::route::{Candidate, Front, Pool, Reason, RouteTable};
use crate::stats::{ListenerState, PortStats};

/// HAProxy's page for monitors.
pub(super) const HEALTHY: &str = "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n";

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

/// One line, by column.
#[derive(Default)]
struct Row(Vec<(&'static str, String)>);

impl Row {
    fn new(proxy: &str, server: &str, kind: u8, number: usize) -> Row {
        Row::default()
            .set("pxname", proxy)
            .set("svname", server)
            .set("pid", 1)
            .set("iid", number)
            .set("type", kind)
    }

    fn set(mut self, column: &'static str, value: impl ToString) -> Row {
        self.0.push((column, value.to_string()));
        self
    }

    fn write(&self, out: &mut String) {
        for column in COLUMNS.split(',').filter(|column| !column.is_empty()) {
            if let Some((_, value)) = self.0.iter().find(|(name, _)| *name == column) {
                out.push_str(value);
            }
            out.push(',');
        }
        out.push('\n');
    }
}

/// `/haproxy?stats;csv`
pub(super) fn csv(proxy: &Proxy) -> String {
    let mut out = format!("# {COLUMNS}\n");
    let mut number = 1;
    for (front, stats) in proxy.fronts() {
        number += 1;
        let (name, mode) = match front {
            Front::Http => ("marathon_http_in", "http"),
            Front::Https => ("marathon_https_in", "http"),
            Front::AppId => ("marathon_http_appid_in", "http"),
            Front::Service(_) => continue,
        };
        frontend(name, mode, &stats, number).write(&mut out);
    }
    let table = proxy.table();
    let ports = proxy.stats();
    for pool in table.pools.values().filter(|pool| pool.id.shared.is_none()) {
        number += 1;
        for stats in ports.iter().filter(|stats| stats.port == pool.port) {
            frontend(&pool.name, mode_of(pool), stats, number).write(&mut out);
        }
        number += 1;
        for (position, (candidate, reason)) in states(proxy, pool).enumerate() {
            server(pool, candidate, reason, number).set("sid", position + 1).write(&mut out);
        }
        backend(proxy, pool, number).write(&mut out);
    }
    out
}

fn frontend(name: &str, mode: &str, stats: &PortStats, number: usize) -> Row {
    let status = if stats.listener == ListenerState::Listening { "OPEN" } else { "STOP" };
    Row::new(name, "FRONTEND", 0, number)
        .set("sid", 0)
        .set("scur", stats.active)
        .set("stot", stats.accepted)
        .set("conn_tot", stats.accepted)
        .set("bin", stats.bytes_in)
        .set("bout", stats.bytes_out)
        .set("status", status)
        .set("mode", mode)
}

fn server(pool: &Pool, candidate: &Candidate, reason: Option<Reason>, number: usize) -> Row {
    let endpoint = &candidate.endpoint;
    let counters = &endpoint.counters;
    let row = Row::new(&pool.name, &endpoint.server, 2, number)
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

fn backend(proxy: &Proxy, pool: &Pool, number: usize) -> Row {
    let counters = &pool.counters;
    let classes = [
        ("hrsp_other", 0),
        ("hrsp_1xx", 1),
        ("hrsp_2xx", 2),
        ("hrsp_3xx", 3),
        ("hrsp_4xx", 4),
        ("hrsp_5xx", 5),
    ];
    let requests = |class: usize| counters.requests.get(class).map_or(0, |n| n.load(Relaxed));
    let up = states(proxy, pool).filter(|(_, reason)| is_up(*reason)).count();
    let active: u64 = pool.candidates.iter().map(|c| u64::from(c.endpoint.active())).sum();
    let row = Row::new(&pool.name, "BACKEND", 1, number)
        .set("sid", 0)
        .set("qcur", pool.queue_len())
        .set("scur", active)
        .set("stot", counters.seats.load(Relaxed))
        .set("lbtot", counters.seats.load(Relaxed))
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
    let total = (0..6).map(requests).sum::<u64>();
    classes
        .into_iter()
        .fold(row.set("req_tot", total), |row, (name, class)| row.set(name, requests(class)))
}

/// As HAProxy would say it: zdd.py waits for `UP` and `MAINT`.
fn server_status(pool: &Pool, reason: Option<Reason>) -> &'static str {
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

fn mode_of(pool: &Pool) -> &'static str {
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

/// `/_haproxy_getvhostmap`: host names that one service has whole, with its backend.
pub(super) fn vhost_map(table: &RouteTable) -> String {
    let mut out = String::new();
    for pool in http_pools(table) {
        if !pool.rules.paths.is_empty() || pool.rules.auth.is_some() {
            continue;
        }
        for host in &pool.rules.hosts {
            let _ = match host {
                HostPattern::Exact(name) => writeln!(out, "{name} {}", pool.name),
                HostPattern::Under(parent) => writeln!(out, "*.{parent} {}", pool.name),
                HostPattern::Any => writeln!(out, "* {}", pool.name),
            };
        }
    }
    out
}

/// `/_haproxy_getappmap`: app ids with the backend of the app's first port in mode http.
pub(super) fn app_map(table: &RouteTable) -> String {
    let mut out = String::new();
    let mut last = None;
    for pool in http_pools(table) {
        if last != Some(&pool.id.app) {
            let _ = writeln!(out, "{} {}", pool.id.app, pool.name);
            last = Some(&pool.id.app);
        }
    }
    out
}

fn http_pools(table: &RouteTable) -> impl Iterator<Item = &Arc<Pool>> {
    table.pools.values().filter(|pool| pool.id.shared.is_none() && pool.rules.mode == Mode::Http)
}

/// `/haproxy?stats` for people.
pub(super) fn page(proxy: &Proxy, version: &str) -> String {
    let table = proxy.table();
    let totals = proxy.totals();
    let mut out = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>Waymark {version}</title>\
         <style>body{{font-family:sans-serif}}table{{border-collapse:collapse}}\
         td,th{{border:1px solid #ccc;padding:2px 8px;text-align:left}}\
         .down{{background:#fbb}}.maint{{background:#fea}}</style></head><body>\
         <h1>Waymark {version}</h1><p>{} services, {} connections, catalog version {}. \
         <a href=\"/haproxy?stats;csv\">CSV</a> <a href=\"/metrics\">metrics</a> \
         <a href=\"/v1/routes\">routes</a> <a href=\"/v1/services\">services</a> \
         <a href=\"/v1/quarantine\">quarantine</a> <a href=\"/v1/certificates\">certificates</a> \
         <a href=\"/v1/source\">source</a></p>\n<table><tr><th>service<th>port<th>mode<th>server\
         <th>address<th>status<th>open<th>total</tr>\n",
        table.pools.values().filter(|pool| pool.id.shared.is_none()).count(),
        totals.connections,
        table.version,
    );
    for pool in table.pools.values().filter(|pool| pool.id.shared.is_none()) {
        for (candidate, reason) in states(proxy, pool) {
            let endpoint = &candidate.endpoint;
            let status = server_status(pool, reason);
            let class = match status {
                "DOWN" => "down",
                "MAINT" => "maint",
                _ => "up",
            };
            let _ = writeln!(
                out,
                "<tr class=\"{class}\"><td>{}<td>{}<td>{}<td>{}<td>{}<td>{status}<td>{}<td>{}</tr>",
                escape(&pool.name),
                pool.port,
                mode_of(pool),
                escape(&endpoint.server),
                endpoint.address,
                endpoint.active(),
                endpoint.counters.seats.load(Relaxed),
            );
        }
    }
    out + "</table></body></html>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_column_in_order() {
        let mut out = String::new();
        Row::new("web_10000", "10_0_0_1_31000", 2, 4).set("status", "UP").write(&mut out);
        let cells: Vec<&str> = out.trim_end().split(',').collect();
        let columns: Vec<&str> = COLUMNS.split(',').collect();
        assert_eq!(cells.len(), columns.len());
        let at = |name: &str| columns.iter().position(|c| *c == name).and_then(|n| cells.get(n));
        assert_eq!((at("pxname"), at("status")), (Some(&"web_10000"), Some(&"UP")));
        assert_eq!((at("type"), at("scur")), (Some(&"2"), Some(&"")));
        assert!(columns.iter().all(|name| !name.contains(' ')), "{columns:?}");
    }
}
