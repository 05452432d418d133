//! The balancers: which there are, and what their statistics say.

use std::net::SocketAddr;
use std::time::Duration;

use waymark_bluegreen::{View, rows};
use waymark_sources::client::{Auth, Rest, TlsConfig};

use super::ending::Ending;

/// marathon-lb's statistics are there.
const PORT: u16 = 9090;

/// One request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most processes that HAProxy has when it is not reloading: a master and a worker.
const SETTLED: usize = 2;

/// Where balancers are, each address of each name being one. Names are looked up at each look, since
/// balancers come and go.
pub struct Balancers {
    names: Vec<Name>,
}

struct Name {
    secure: bool,
    host: String,
    port: u16,
    /// What its paths begin with.
    base: String,
}

impl Balancers {
    /// Of URLs parted by commas.
    pub fn new(urls: &str) -> Result<Balancers, Ending> {
        let names: Option<Vec<Name>> = urls.split(',').map(|url| Name::read(url.trim())).collect();
        let names = names.filter(|names| !names.is_empty()).ok_or_else(|| {
            Ending::Usage(format!("--marathon-lb: {urls:?} is not http://host:9090"))
        })?;
        Ok(Balancers { names })
    }

    /// What each balancer says about a backend, and why those that say nothing do so.
    pub async fn look(&self, backend: &str) -> Result<(Vec<View>, Vec<String>), Ending> {
        let (mut views, mut troubles) = (Vec::new(), Vec::new());
        for url in self.urls().await? {
            match look(&url, backend).await {
                Ok(view) => views.push(view),
                Err(reason) => {
                    views.push(View::Silent);
                    troubles.push(format!("{url}: {reason}"));
                }
            }
        }
        Ok((views, troubles))
    }

    async fn urls(&self) -> Result<Vec<String>, Ending> {
        let mut urls = Vec::new();
        for name in &self.names {
            urls.extend(name.urls().await?);
        }
        urls.sort();
        urls.dedup();
        Ok(urls)
    }
}

impl Name {
    fn read(url: &str) -> Option<Name> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, base) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, PORT),
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let sound = !host.is_empty() && port > 0 && !host.contains('@');
        sound.then(|| Name { secure, host, port, base: base.trim_end_matches('/').to_owned() })
    }

    /// One URL an address. A certificate is for the name, so there the name is asked.
    async fn urls(&self) -> Result<Vec<String>, Ending> {
        if self.secure {
            return Ok(vec![format!("https://{}:{}{}", self.host, self.port, self.base)]);
        }
        let lost = |reason: String| {
            Ending::Balancer(format!("the balancers' name {} has no address: {reason}", self.host))
        };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|e| lost(e.to_string()))?.collect();
        // One machine often has an address of each kind.
        let of_kind = |v4: bool| found.iter().filter(move |address| address.is_ipv4() == v4);
        let kind = of_kind(true).next().is_some();
        let urls: Vec<String> =
            of_kind(kind).map(|address| format!("http://{address}{}", self.base)).collect();
        if urls.is_empty() { Err(lost("none was found".to_owned())) } else { Ok(urls) }
    }
}

async fn look(url: &str, backend: &str) -> Result<View, String> {
    let rest =
        Rest::new(url, &TlsConfig::default(), &Auth::None, TIMEOUT).map_err(|e| e.to_string())?;
    let pids = rest.get("/_haproxy_getpids").await.map_err(|e| e.to_string())?;
    // A HAProxy without marathon-lb's scripts does not know this page.
    let reloading = pids.status == 200
        && String::from_utf8_lossy(&pids.body).split_whitespace().count() > SETTLED;
    let stats = rest.get("/haproxy?stats;csv").await.map_err(|e| e.to_string())?;
    if stats.status != 200 {
        return Err(format!("/haproxy?stats;csv was answered with {}", stats.status));
    }
    let rows = rows(&String::from_utf8_lossy(&stats.body), backend).map_err(|e| e.to_string())?;
    Ok(View::Seen { reloading, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports() {
        let read = |url: &str| {
            Name::read(url).map(|n| format!("{} {} {} {}", n.secure, n.host, n.port, n.base))
        };
        for (url, want) in [
            ("http://lb:9090", "false lb 9090 "),
            ("http://lb", "false lb 9090 "),
            ("https://lb:1/x/", "true lb 1 /x"),
            ("http://[::1]:7", "false ::1 7 "),
            ("http://[::1]", "false ::1 9090 "),
        ] {
            assert_eq!(read(url).as_deref(), Some(want), "{url}");
        }
        for bad in
            ["lb:9090", "ftp://lb", "http://", "http://lb:0", "http://u:p@lb:1", "http://lb:x"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(Balancers::new("http://a:1, http://b:2").unwrap().names.len(), 2);
        assert!(Balancers::new("").is_err());
    }
}
