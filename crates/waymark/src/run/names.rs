//! DNS as `waymark run` serves it, and beside it, where that is wanted, Mesos-DNS's HTTP API.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::info;
use waymark_catalog::{Output, Reader};
use waymark_dns::access::AccessList;
use waymark_dns::forward::{ForwardConfig, Forwarder};
use waymark_dns::http::{self, ConfigView, HttpConfig, HttpLimits};
use waymark_dns::rate_limit::RateLimit;
use waymark_dns::{Dns, DnsConfig, NearFirst, Policy, Sockets, TransferConfig};

use super::StartError;
use super::dns_threads::DnsThreads;
use crate::metrics;
use crate::settings::Settings;
use crate::settings::value::{Networks, Servers};

/// How often it is looked whether there are names.
const LOOK: Duration = Duration::from_millis(2);

/// Names, made and perhaps served.
pub struct Names {
    /// The names.
    pub dns: Arc<Dns>,
    /// Asks others; absent where nobody is asked.
    pub forwarder: Option<Forwarder>,
    threads: Mutex<DnsThreads>,
    http: Mutex<Option<Http>>,
}

/// Mesos-DNS's HTTP API at work.
struct Http {
    serving: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// Where names are served.
pub struct Places {
    /// The DNS server's.
    pub dns: Sockets,
    /// That of Mesos-DNS's HTTP API, where it is wanted.
    pub http: Option<TcpListener>,
}

impl Names {
    /// Makes names from now on; nobody is answered yet.
    pub fn follow(
        s: &Settings,
        host_ip: IpAddr,
        own: &[SocketAddr],
        reader: Reader,
    ) -> Result<Names, StartError> {
        let forwarder = match s.dns_external {
            true => Some(Forwarder::new(&forward_config(s, own))?),
            false => None,
        };
        let dns = Arc::new(Dns::new(dns_config(s, host_ip, forwarder.clone()))?);
        let threads = DnsThreads::start(&dns, None, reader).map_err(not_started)?;
        Ok(Names { dns, forwarder, threads: Mutex::new(threads), http: Mutex::default() })
    }

    /// Answers from now on, on the current runtime.
    pub fn serve(&self, s: &Settings, places: Places, reader: Reader) -> Result<(), StartError> {
        locked(&self.threads).serve(&self.dns, places.dns).map_err(not_started)?;
        let Some(listener) = places.http else { return Ok(()) };
        let failed = |e| StartError(format!("mesos-dns-port: {e}"));
        let address = listener.local_addr().map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        info!(%address, "serving Mesos-DNS's HTTP API");
        let (stop, stopping) = oneshot::channel();
        let config = http_config(s, address, &self.dns);
        let serving = http::serve(listener, None, config, self.dns.clone(), reader, async {
            // A dropped sender means the same.
            let _ = stopping.await;
        });
        *locked(&self.http) = Some(Http { serving: tokio::spawn(serving), stop });
        Ok(())
    }

    /// Waits until there are names to answer with.
    pub async fn ready(&self) {
        while self.dns.applied() == 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes in nothing more, of either API; what is being answered is answered. Blocks for a tenth
    /// of a second at most.
    pub fn stop_receiving(&self) {
        locked(&self.threads).stop_receiving();
        if let Some(Http { serving, stop }) = locked(&self.http).take() {
            // It may have ended by itself.
            let _ = stop.send(());
            drop(serving);
        }
    }

    /// Ends everything; what is being answered is answered.
    pub async fn stop(self) {
        let http = locked(&self.http).take();
        if let Some(Http { serving, stop }) = http {
            // It may have ended by itself.
            let _ = stop.send(());
            let _ = serving.await;
        }
        self.threads.into_inner().unwrap_or_else(PoisonError::into_inner).stop();
    }
}

fn not_started(error: io::Error) -> StartError {
    StartError(format!("cannot start the DNS server: {error}"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is only ever replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn servers(list: &Option<Servers>) -> Vec<SocketAddr> {
    list.as_ref().map(|list| list.0.clone()).unwrap_or_default()
}

fn networks(list: &Networks) -> AccessList {
    list.0.iter().copied().collect()
}

fn forward_config(s: &Settings, own: &[SocketAddr]) -> ForwardConfig {
    let usual = ForwardConfig::default();
    let timeout = match s.dns_resolver_timeout.0 {
        0 => usual.timeout,
        seconds => Duration::from_secs(seconds.into()),
    };
    ForwardConfig {
        domain: s.domain.0.clone(),
        resolvers: servers(&s.dns_resolvers),
        zone_resolvers: s.dns_zone_resolvers.clone().unwrap_or_default().0,
        own_addresses: own.to_vec(),
        deadline: usual.deadline.max(timeout),
        timeout,
        race: s.dns_race,
        cache_entries: s.dns_cache_entries.0,
        serve_stale: Duration::from_secs(s.dns_serve_stale.0.into()),
        ..usual
    }
}

fn dns_config(s: &Settings, host_ip: IpAddr, forwarder: Option<Forwarder>) -> DnsConfig {
    let usual = Policy::default();
    // The setting's limits keep it small.
    let per_second = u32::try_from(s.dns_rate_limit.0).unwrap_or(u32::MAX);
    DnsConfig {
        domain: s.domain.0.clone(),
        ttl: s.dns_ttl.0,
        framework: s.framework_name.0.clone(),
        host_addresses: vec![host_ip],
        balancer_addresses: if s.no_proxy { Vec::new() } else { vec![host_ip] },
        // The process before this one may have told clients of the tasks that are adopted.
        leased_at_start: true,
        soa_mname: s.dns_soa_mname.as_ref().map(|name| name.0.clone()),
        soa_rname: s.dns_soa_rname.as_ref().map(|name| name.0.clone()),
        policy: Policy {
            queries: networks(&s.dns_allow_query),
            recursion: s.dns_allow_recursion.as_ref().map_or(usual.recursion, networks),
            recursion_available: forwarder.is_some(),
            rate_limit: RateLimit { per_second, ..usual.rate_limit },
            forwarder,
            set_truncate_bit: true,
        },
        transfer: TransferConfig {
            allow: s.dns_allow_transfer.as_ref().map(networks).unwrap_or_default(),
            notify: servers(&s.dns_notify),
            notify_from: Some(s.listen).filter(|ip| !ip.is_unspecified()),
            ..TransferConfig::default()
        },
        reverse: !s.dns_no_reverse,
        near_first: s.dns_near_first.then(NearFirst::default),
        seed: rand::random(),
        ..DnsConfig::default()
    }
}

fn http_config(s: &Settings, address: SocketAddr, dns: &Arc<Dns>) -> HttpConfig {
    let dns = dns.clone();
    HttpConfig {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        view: view(s, address),
        enumeration_on: true,
        auth: None,
        source: None,
        metrics: vec![Box::new(move |out| metrics::dns(out, &dns))],
        limits: HttpLimits::default(),
    }
}

/// The settings with the names that Mesos-DNS gives them.
fn view(s: &Settings, address: SocketAddr) -> ConfigView {
    let usual = DnsConfig::default();
    let texts = |list: Vec<SocketAddr>| list.iter().map(ToString::to_string).collect();
    let zones = s.dns_zone_resolvers.clone().unwrap_or_default().0;
    let soa = |name: &Option<crate::settings::value::DomainName>, usual: &str| {
        let name = name.as_ref().map(|name| name.0.clone());
        format!("{}.", name.unwrap_or_else(|| format!("{usual}.{}", s.domain.0)))
    };
    ConfigView {
        refresh_seconds: 1,
        port: s.dns_port.0,
        http_port: address.port(),
        ttl: s.dns_ttl.0,
        srv_record_default_weight: usual.srv_weight,
        soa_refresh: usual.soa_refresh,
        soa_retry: usual.soa_retry,
        soa_expire: usual.soa_expire,
        soa_minttl: s.dns_ttl.0,
        soa_mname: soa(&s.dns_soa_mname, "ns1"),
        soa_rname: soa(&s.dns_soa_rname, "root.ns1"),
        zone_resolvers: zones.into_iter().map(|(zone, list)| (zone, texts(list))).collect(),
        resolvers: texts(servers(&s.dns_resolvers)),
        domain: s.domain.0.clone(),
        listener: s.listen.to_string(),
        http_listener: s.listen.to_string(),
        recurse_on: s.dns_external,
        dns_on: true,
        http_on: true,
        external_on: s.dns_external,
        set_truncate_bit: true,
        enumeration_on: true,
        ..ConfigView::default()
    }
}
