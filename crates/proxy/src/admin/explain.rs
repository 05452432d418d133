//! `/v1/explain`: a question as a URL has it, asked of the code that decides.

use std::net::{IpAddr, SocketAddr};

use http::{Method, Uri};
use waymark_http::query::Query;
use waymark_routing::{Balance, HashKey};

use crate::Proxy;
use crate::route::{
    Affinity, Decision, Explanation, Front, Headers, ListenKey, Pool, Request, decide,
};

/// The headers of a question; names in lower case.
struct Given(Vec<(String, String)>);

impl Headers for Given {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_bytes())
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let headers = self.0.iter().filter(|(known, _)| known == "cookie");
        let pairs = headers.flat_map(|(_, value)| value.split(';'));
        pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_bytes())
    }
}

/// `?method=GET&url=http://host:port/path&from=ADDR&header=Name: value`; the error says what a
/// question lacks.
pub(super) fn explain(proxy: &Proxy, query: &Query) -> Result<Explanation, String> {
    let method = query.get("method").unwrap_or("GET");
    if Method::from_bytes(method.as_bytes()).is_err() {
        return Err(format!("{method:?} is not a method; write one such as GET, and then the URL"));
    }
    let url = query.get("url").ok_or("url is missing: the URL of the request to explain")?;
    let uri: Uri = url.parse().map_err(|_| wrong_url(url))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong_url(url));
    };
    if authority.as_str().contains('@') {
        return Err("a URL to explain has no user and password".to_owned());
    }
    let named = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    if !named.is_empty() && authority.port_u16().is_none() {
        return Err(format!("{:?} is not a port of a URL", named.trim_start_matches(':')));
    }
    let secure = match scheme {
        "http" => false,
        "https" => true,
        _ => return Err(wrong_url(url)),
    };
    let headers = Given(query.all("header").map(header).collect::<Result<_, _>>()?);
    let host = headers.get("host").and_then(|host| std::str::from_utf8(host).ok());
    let request = Request {
        front: front(proxy, secure, authority.port_u16()),
        secure,
        method,
        host: host.unwrap_or(authority.as_str()),
        target: uri.path_and_query().map_or("/", |target| target.as_str()),
        source: source(query.get("from"))?,
        headers: &headers,
    };
    // What a task is chosen by follows from the service, which the decision tells.
    let table = proxy.table();
    let pool = match decide(&table, &request, 0) {
        Decision::Forward(pool) | Decision::Authenticate(pool) => Some(pool),
        _ => None,
    };
    let affinity = pool.map_or_else(Affinity::default, |pool| affinity(&pool, &request));
    let mut explanation = proxy.explain(&request, &affinity);
    if let Some(closed) = closed(proxy, request.front) {
        explanation
            .reason
            .push_str(&format!("; but nothing is listened on for it: {closed} is off"));
    }
    Ok(explanation)
}

/// The setting of a shared port that is off, if the request would come there.
fn closed(proxy: &Proxy, front: Front) -> Option<&'static str> {
    let setting = match front {
        Front::Http => "http-port",
        Front::Https => "https-port",
        Front::AppId => "appid-port",
        Front::Service(_) => return None,
    };
    proxy.fronts().iter().all(|(open, _)| *open != front).then_some(setting)
}

fn wrong_url(url: &str) -> String {
    format!("{url:?} is not a URL to explain; write one such as http://shop.example.com/cart")
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is not a header; write one such as X-Version: 2"))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// An address, with or without a port; this machine's own where none is given.
fn source(text: Option<&str>) -> Result<SocketAddr, String> {
    let Some(text) = text else { return Ok(SocketAddr::from(([127, 0, 0, 1], 0))) };
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    address.or_else(|_| text.parse()).map_err(|_| {
        format!("{text:?} is not an address to come from; write one such as 192.0.2.7")
    })
}

/// Where a request with this port comes in; without one, where its scheme goes.
fn front(proxy: &Proxy, secure: bool, port: Option<u16>) -> Front {
    let Some(port) = port else { return if secure { Front::Https } else { Front::Http } };
    let fronts = proxy.fronts();
    if let Some((front, _)) = fronts.iter().find(|(_, stats)| stats.port == port) {
        return *front;
    }
    let table = proxy.table();
    let of_port = |key: &&ListenKey| key.port == port && !key.udp;
    let key = table.listeners.keys().find(of_port).copied();
    Front::Service(key.unwrap_or(ListenKey { port, udp: false, ip: None }))
}

fn affinity<'a>(pool: &Pool, request: &Request<'a>) -> Affinity<'a> {
    let rules = &pool.rules;
    let path = request.target.split('?').next().unwrap_or_default();
    Affinity {
        source: Some(request.source),
        cookie: rules.sticky.as_ref().and_then(|sticky| request.headers.cookie(&sticky.cookie)),
        key: match &rules.balance {
            Balance::Hash(HashKey::Path) => Some(path.as_bytes()),
            Balance::Hash(HashKey::Header(name)) => request.headers.get(&name.to_ascii_lowercase()),
            Balance::Hash(HashKey::Cookie(name)) => request.headers.cookie(name),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        assert_eq!(header("X-A:  b: c "), Ok(("x-a".to_owned(), "b: c".to_owned())));
        assert!(header("X-A").unwrap_err().contains("is not a header"));
        assert_eq!(source(Some("::1")).map(|a| a.ip().to_string()), Ok("::1".to_owned()));
        assert_eq!(source(Some("192.0.2.7:80")).map(|a| a.port()), Ok(80));
        assert!(source(Some("here")).is_err());
        let given =
            Given(vec![("cookie".into(), "a=1; b=2".into()), ("cookie".into(), "c=3".into())]);
        assert_eq!((given.cookie("b"), given.cookie("c")), (Some(&b"2"[..]), Some(&b"3"[..])));
        assert_eq!((given.cookie("d"), given.get("host")), (None, None));
    }
}
