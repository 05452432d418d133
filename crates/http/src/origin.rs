//! Who may ask: a page of another site, opened in a browser on this machine, may not.
//!
//! Where there is no password, two ways are closed by which a browser would be somebody's hand.
//! A name of the attacker's that leads to 127.0.0.1 (DNS rebinding): what listens on loopback is
//! asked for by address or as `localhost`. A link, a form or a script of another site's page: what
//! changes something looks at what browsers say about where a request comes from. Programs say nothing of it and pass.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderName, Uri, header};

/// Whether the request names this machine in a way that cannot be forged by DNS, where that
/// matters.
pub fn names_this_machine(request: &Parts, local: IpAddr) -> bool {
    if !local.to_canonical().is_loopback() {
        return true;
    }
    match authority(request) {
        // HTTP/1.0 without a host is no browser.
        None => true,
        Some(authority) => {
            let host = host_of(authority).trim_end_matches('.').to_ascii_lowercase();
            host == "localhost"
                || host.ends_with(".localhost")
                || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        }
    }
}

/// Whether nothing says that the request was made by another site's page.
pub fn is_own(request: &Parts) -> bool {
    let text = |name: HeaderName| request.headers.get(name)?.to_str().ok();
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let own = authority(request);
    [header::ORIGIN, header::REFERER].into_iter().all(|name| match request.headers.get(&name) {
        None => true,
        Some(value) => {
            let page = value.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
            let page = page.as_ref().and_then(Uri::authority).map(|a| a.as_str());
            page.is_some() && page == own
        }
    })
}

fn authority(request: &Parts) -> Option<&str> {
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.or_else(|| request.uri.authority().map(|authority| authority.as_str()))
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get("/_mlb_signal/hup");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn loopback_is_asked_by_address() {
        let local = IpAddr::from([127, 0, 0, 1]);
        for (host, want) in [
            ("127.0.0.1:9090", true),
            ("localhost:9090", true),
            ("LOCALHOST", true),
            ("[::1]:9090", true),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:9090", false),
        ] {
            assert_eq!(names_this_machine(&request(&[("host", host)]), local), want, "{host}");
        }
        let named = request(&[("host", "lb.example:9090")]);
        assert!(names_this_machine(&named, IpAddr::from([192, 0, 2, 1])));
        assert!(names_this_machine(&request(&[]), local));
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let host = ("host", "127.0.0.1:9090");
        for (header, want) in [
            (("accept", "*/*"), true),
            (("origin", "http://127.0.0.1:9090"), true),
            (("origin", "http://127.0.0.1:8000"), false),
            (("origin", "null"), false),
            (("referer", "http://evil.example/page"), false),
            (("referer", "http://127.0.0.1:9090/haproxy?stats"), true),
            (("sec-fetch-site", "cross-site"), false),
            (("sec-fetch-site", "same-site"), false),
            (("sec-fetch-site", "none"), true),
        ] {
            assert_eq!(is_own(&request(&[host, header])), want, "{header:?}");
        }
    }
}
