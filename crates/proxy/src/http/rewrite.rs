//! What changes of a request's path on its way to the task, and of the task's `Location` on its way
//! back.

use std::borrow::Cow;

use waymark_routing::Rewrite;

/// The target (path and query) as the task sees it. The result begins with a slash and holds no
/// byte that the target could not hold.
pub(crate) fn target<'a>(rewrite: &Rewrite, target: &'a str) -> Cow<'a, str> {
    match rewrite {
        Rewrite::Keep => Cow::Borrowed(target),
        Rewrite::Strip(prefix) => match target.strip_prefix(prefix.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => {
                slashed(Cow::Borrowed(rest))
            }
            _ => Cow::Borrowed(target),
        },
        Rewrite::Replace { pattern, with } => {
            let end = target.find('?').unwrap_or(target.len());
            let (path, query) = target.split_at_checked(end).unwrap_or((target, ""));
            match pattern.replace(path, with.as_str()) {
                Cow::Borrowed(_) => Cow::Borrowed(target),
                Cow::Owned(mut path) => {
                    path.retain(|c| c.is_ascii_graphic() && c != '#');
                    path.push_str(query);
                    slashed(Cow::Owned(path))
                }
            }
        }
    }
}

fn slashed(target: Cow<'_, str>) -> Cow<'_, str> {
    if target.starts_with('/') { target } else { Cow::Owned(format!("/{target}")) }
}

/// The task's `Location` as the client sees it: where it points to the service's own host (or is a
/// path), `prefix` stands before its path, unless it does already. `None` = as it is.
///
/// marathon-lb's `HTTP_BACKEND_REVPROXY_GLUE` put the prefix in the place of the whole location and
/// lost the path; with HAProxy 2.1 and later it could not be used at all.
pub(crate) fn location(prefix: &str, hosts: &[&str], location: &str) -> Option<String> {
    let after_scheme =
        location.strip_prefix("http://").or_else(|| location.strip_prefix("https://"));
    let path = match after_scheme {
        None => location,
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at_checked(end)?;
            let name = without_port(authority);
            let own = hosts.iter().any(|host| without_port(host).eq_ignore_ascii_case(name));
            own.then_some(path)?
        }
    };
    let prefix = prefix.trim_end_matches('/');
    let relative = after_scheme.is_none() && !path.starts_with('/');
    let inside = path
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    // `//host/…` is another host's.
    if relative || path.starts_with("//") || inside {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{prefix}{slash}{path}"))
}

/// A host without its port.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_stripped_with_one_slash() {
        let strip = Rewrite::Strip("/p".into());
        for (from, to) in [
            ("/p/x", "/x"),
            ("/p", "/"),
            ("/p/", "/"),
            ("/p?q", "/?q"),
            ("/x", "/x"),
            ("/px", "/px"),
        ] {
            assert_eq!(target(&strip, from), to, "{from}");
        }
    }

    #[test]
    fn a_pattern_is_replaced_in_the_path_alone() {
        let replace = |pattern: &str, with: &str| Rewrite::Replace {
            pattern: regex::Regex::new(pattern).unwrap(),
            with: with.into(),
        };
        assert_eq!(target(&replace("^/v1/(.*)$", "/api/$1"), "/v1/x?v1=/v1/"), "/api/x?v1=/v1/");
        assert_eq!(target(&replace("^/v1", ""), "/v1"), "/");
        assert_eq!(target(&replace("x", "a b\r\n#"), "/x"), "/ab");
        assert_eq!(target(&replace("nothing", ""), "/x?y"), "/x?y");
    }

    #[test]
    fn locations_get_the_prefix_once() {
        let hosts = ["app.test", "10.0.0.1:31000"];
        let cases = [
            ("/login", Some("/svc/login")),
            ("/svc/login", None),
            ("/svc", None),
            ("/svcx", Some("/svc/svcx")),
            ("http://app.test/login?x=1", Some("/svc/login?x=1")),
            ("https://APP.test:8080/login", Some("/svc/login")),
            ("http://10.0.0.1:31000", Some("/svc/")),
            ("http://other.test/login", None),
            ("//other.test/x", None),
            ("login", None),
        ];
        for (from, to) in cases {
            assert_eq!(location("/svc", &hosts, from).as_deref(), to, "{from}");
            assert_eq!(location("/svc/", &hosts, from).as_deref(), to, "{from}");
        }
    }
}
