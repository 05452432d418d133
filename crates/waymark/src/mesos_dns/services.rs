//! The parts at work: source ─► catalog ─► DNS and HTTP.
//!
//! Both answer from the first moment: names of the own domain are SERVFAIL (HTTP: 503) until the
//! cluster's state is known, be it from the masters or from the last run's file.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use waymark_catalog::{Freshness, Writer};
use waymark_dns::forward::Forwarder;
use waymark_dns::http::{self, HttpConfig, MetricsSource, SourceView};
use waymark_dns::{Dns, Sockets};
use waymark_http::Tls;
use waymark_sources::client::ClientError;
use waymark_sources::mesos::{MesosConfig, MesosConfigError, MesosSource, MesosStatus};

use super::config::{Config, Loaded};
use super::{StartError, machine, parts};
use crate::endpoints::Endpoints;
use crate::metrics;
use crate::run::data_dir::DataDir;
use crate::run::dns_threads::DnsThreads;
use crate::settings::Surroundings;

/// Everything that can be wrong has been looked at, everything is bound.
pub struct Prepared {
    source: MesosSource,
    /// For the log: where the source looks.
    masters: String,
    domain: String,
    dns: Arc<Dns>,
    sockets: Option<Sockets>,
    http: Option<(TcpListener, Option<Tls>, HttpConfig)>,
    data: Option<DataDir>,
}

/// Looks at everything that can be wrong, then binds the sockets.
pub fn prepare(
    loaded: &Loaded,
    path: &Path,
    around: &Surroundings,
) -> Result<Prepared, StartError> {
    let wrong = StartError::Configuration;
    let config = &loaded.config;
    let data = machine::data_dir(config, around).map_err(wrong)?;
    let kept_in = data.as_ref().map(|data| data.path().to_owned());
    let mesos = parts::mesos(loaded, kept_in).map_err(wrong)?;
    let masters = masters(&mesos);
    let source = MesosSource::new(mesos).map_err(|e| wrong(named(config, &e)))?;
    let tls = parts::http_tls(&loaded.checked).map_err(wrong)?;
    // A resolver that is this server itself can only be told with the sockets bound.
    let sockets = match config.dns_on {
        true => Some(bind_dns(config)?),
        false => None,
    };
    let own = sockets.as_ref().map_or(&[][..], Sockets::addresses);
    let forwarder =
        Forwarder::new(&parts::forward(loaded, own)).map_err(|e| wrong(e.to_string()))?;
    let dns = Dns::new(parts::dns(loaded, source.freshness(), &forwarder))
        .map_err(|e| wrong(e.to_string()))?;
    let dns = Arc::new(dns);
    let http = match config.http_on {
        true => {
            let view = source_view(source.freshness(), source.status());
            let metrics = metrics_of(&dns, forwarder, &source);
            let http = parts::http(loaded, path, view, metrics);
            Some((bind_http(config)?, tls, http))
        }
        false => None,
    };
    let domain = config.domain.0.clone();
    Ok(Prepared { source, masters, domain, dns, sockets, http, data })
}

/// Where the source looks, without secrets.
fn masters(mesos: &MesosConfig) -> String {
    match &mesos.zk {
        Some(zk) => format!("ZooKeeper {}{}", zk.servers.join(","), zk.path),
        None => mesos.masters.join(", "),
    }
}

/// The source's error with the setting that it is about.
fn named(config: &Config, error: &MesosConfigError) -> String {
    let MesosConfigError::Client(ClientError::File { file, .. }) = error else {
        return error.to_string();
    };
    let settings = [
        ("CACertFile", &config.ca_cert_file),
        ("CertFile", &config.cert_file),
        ("KeyFile", &config.key_file),
    ];
    match settings.into_iter().find(|(_, path)| Path::new(path) == file) {
        Some((name, _)) => format!("{name}: {error}"),
        None => error.to_string(),
    }
}

fn source_view(
    freshness: Freshness,
    status: MesosStatus,
) -> impl Fn() -> SourceView + Send + Sync + 'static {
    move || {
        let report = status.report();
        SourceView {
            standing: freshness.standing(Instant::now()),
            mode: report.mode.as_str(),
            leader: report.leader,
        }
    }
}

fn metrics_of(dns: &Arc<Dns>, forwarder: Forwarder, source: &MesosSource) -> Vec<MetricsSource> {
    let (dns, freshness, status) = (dns.clone(), source.freshness(), source.status());
    vec![Box::new(move |out: &mut String| {
        metrics::dns(out, &dns);
        metrics::forward(out, &forwarder.stats());
        metrics::source(out, &freshness.standing(Instant::now()), &status.report());
    })]
}

fn bind_dns(config: &Config) -> Result<Sockets, StartError> {
    let workers = match config.dns_workers.0 {
        0 => available_parallelism().map_or(1, usize::from),
        n => n as usize,
    };
    let address = SocketAddr::new(config.listener.0, port(config.port.0));
    Sockets::bind(&[address], workers)
        .map_err(|e| not_bound(["port", "listener"], &e.source, &e.to_string()))
}

fn bind_http(config: &Config) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(config.http_listener.0, port(config.http_port.0));
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|e| {
        let text = format!("cannot listen on tcp {address}: {e}");
        not_bound(["httpport", "httplistener"], &e, &text)
    })
}

/// The kind of the setting keeps it in this range.
fn port(number: u32) -> u16 {
    u16::try_from(number).unwrap_or_default()
}

fn not_bound([port, listener]: [&str; 2], error: &io::Error, text: &str) -> StartError {
    let fix = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "stop what listens there (`ss -lnp` shows it), or set {listener} to one address or \
             {port} to another port"
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => format!("check {listener} and {port}"),
    };
    StartError::Refused(format!("{port}: {text}; {fix}"))
}

/// Everything at work.
pub struct Services {
    source: JoinHandle<()>,
    dns: DnsThreads,
    http: Option<(JoinHandle<()>, oneshot::Sender<()>)>,
    data: Option<DataDir>,
}

impl Services {
    /// Starts everything on the current runtime.
    pub fn start(prepared: Prepared) -> Result<Services, StartError> {
        let Prepared { source, masters, domain, dns, sockets, http, data } = prepared;
        let refused = |what: &str, e: io::Error| StartError::Refused(format!("{what}: {e}"));
        let (writer, reader) = Writer::new(source.last_version());
        let mut endpoints = Endpoints::of_this_process(String::new());
        endpoints.dns =
            sockets.as_ref().and_then(|s| s.addresses().first()).map(ToString::to_string);
        if let Some(address) = &endpoints.dns {
            info!(address, domain, "serving DNS");
        }
        let threads = DnsThreads::start(&dns, sockets, reader.clone())
            .map_err(|e| refused("cannot serve DNS", e))?;
        let http = match http {
            None => None,
            Some((listener, tls, config)) => {
                let address = listener.local_addr().map_err(|e| refused("cannot serve HTTP", e))?;
                let scheme = if tls.is_some() { "https" } else { "http" };
                endpoints.api = format!("{scheme}://{address}");
                endpoints.mesos_dns = Some(endpoints.api.clone());
                info!(api = endpoints.api, "serving HTTP");
                let listener = tokio::net::TcpListener::from_std(listener)
                    .map_err(|e| refused("cannot serve HTTP", e))?;
                let (stop, stopping) = oneshot::channel();
                let shutdown = async {
                    // A dropped sender means the same.
                    let _ = stopping.await;
                };
                let serving = http::serve(listener, tls, config, dns, reader, shutdown);
                Some((tokio::spawn(serving), stop))
            }
        };
        info!(masters, "following the Mesos cluster");
        let source = tokio::spawn(source.run(writer));
        if let Some(data) = &data
            && let Err(error) = endpoints.write(data.path())
        {
            warn!(%error, "endpoints.json cannot be written");
        }
        Ok(Services { source, dns: threads, http, data })
    }

    /// Waits until the source has ended by itself, which it does only when it fails.
    pub async fn source_ended(&mut self) {
        // The reason of a panic has been written where it happened.
        let _ = (&mut self.source).await;
    }

    /// Stops everything: what is being answered is answered.
    pub async fn stop(self) {
        if let Some(data) = &self.data
            && let Err(error) = Endpoints::remove(data.path())
        {
            warn!(%error, "endpoints.json is left behind");
        }
        if !self.source.is_finished() {
            self.source.abort();
            // What it has not kept on disk yet it writes now.
            let _ = self.source.await;
        }
        if let Some((serving, stop)) = self.http {
            // It may have ended by itself.
            let _ = stop.send(());
            let _ = serving.await;
        }
        self.dns.stop();
    }
}
