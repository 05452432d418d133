//! Where ZooKeeper is and what it says about masters (pure).

use std::fmt;

/// Where in ZooKeeper the masters are: `zk://[user:password@]host[:port][,…]/path`.
#[derive(Clone, PartialEq, Eq)]
pub struct ZkTarget {
    /// `host:port` of each server.
    pub servers: Vec<String>,
    /// The path, without a slash at its end.
    pub path: String,
    /// `user:password` for the digest scheme.
    pub digest: Option<String>,
}

/// The port of a ZooKeeper server that is given without one.
const ZK_PORT: u16 = 2181;

/// Why a `zk` setting is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZkTargetError {
    /// It does not start with `zk://`.
    #[error("must start with zk:// (or file:// with a file that holds such a text)")]
    Scheme,
    /// There is no server or one that is not `host[:port]`.
    #[error("server {0:?} is not host[:port]")]
    Server(String),
    /// There is no path.
    #[error("needs a path, as in zk://host:2181/mesos")]
    NoPath,
    /// The file of a `file://` form cannot be read.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

impl ZkTarget {
    /// Reads a `zk` setting; `file:///path` names a file that holds it.
    pub fn read(text: &str) -> Result<ZkTarget, ZkTargetError> {
        let Some(file) = text.strip_prefix("file://") else { return ZkTarget::parse(text) };
        match std::fs::read_to_string(file) {
            Ok(text) => ZkTarget::parse(text.trim()),
            Err(e) => Err(ZkTargetError::File { file: file.to_owned(), reason: e.to_string() }),
        }
    }

    /// Reads the `zk://` form.
    pub fn parse(text: &str) -> Result<ZkTarget, ZkTargetError> {
        let rest = text.strip_prefix("zk://").ok_or(ZkTargetError::Scheme)?;
        // A password may hold an `@` or a slash.
        let (digest, place) = match rest.rsplit_once('@') {
            Some((digest, place)) => (Some(digest.to_owned()), place),
            None => (None, rest),
        };
        let (servers, path) = place.split_once('/').ok_or(ZkTargetError::NoPath)?;
        let path = path.trim_end_matches('/');
        if path.is_empty() || path.split('/').any(str::is_empty) {
            return Err(ZkTargetError::NoPath);
        }
        let servers = servers.split(',').map(server).collect::<Result<_, _>>()?;
        Ok(ZkTarget { servers, path: format!("/{path}"), digest })
    }
}

fn server(text: &str) -> Result<String, ZkTargetError> {
    let refused = || ZkTargetError::Server(text.to_owned());
    let with_port = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let fine = !bare.is_empty() && (bracketed || !bare.contains(':'));
        (fine && port.parse::<u16>().is_ok_and(|p| p > 0)).then(|| text.to_owned())
    };
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c == '@') {
        return Err(refused());
    }
    match with_port(text) {
        Some(text) => Ok(text),
        None if text.contains(':') && !text.ends_with(']') => Err(refused()),
        None => with_port(&format!("{text}:{ZK_PORT}")).ok_or_else(refused),
    }
}

impl fmt::Debug for ZkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZkTarget")
            .field("servers", &self.servers)
            .field("path", &self.path)
            .field("digest", &self.digest.as_ref().map(|_| "***"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers_path_and_credentials() {
        let read = |t: &str| ZkTarget::parse(t).map(|z| (z.servers.join(" "), z.path, z.digest));
        let plain = |s: &str, p: &str| Ok((s.to_owned(), p.to_owned(), None));
        assert_eq!(read("zk://a/mesos"), plain("a:2181", "/mesos"));
        assert_eq!(
            read("zk://a:1,b,[::1]:3,[::2]/x/y/"),
            plain("a:1 b:2181 [::1]:3 [::2]:2181", "/x/y")
        );
        let digest = Some("u:p@w".to_owned());
        assert_eq!(read("zk://u:p@w@h:1/m"), Ok(("h:1".to_owned(), "/m".to_owned(), digest)));
        assert_eq!(read("a:2181/mesos"), Err(ZkTargetError::Scheme));
        for no_path in ["zk://a", "zk://a/", "zk://a//", "zk://a/b//c"] {
            assert_eq!(read(no_path), Err(ZkTargetError::NoPath), "{no_path}");
        }
        for bad in ["", "a:x", "a:0", "a:", ":1", "a:1:2", "::1", "a b"] {
            let text = format!("zk://{bad}/m");
            assert_eq!(read(&text), Err(ZkTargetError::Server(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn reads_it_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "zk://u:secret@a/mesos\n").unwrap();
        let target = ZkTarget::read(&format!("file://{}", file.path().display())).unwrap();
        assert_eq!(target.path, "/mesos");
        assert!(!format!("{target:?}").contains("secret"));
        assert!(matches!(ZkTarget::read("file:///nowhere/zk"), Err(ZkTargetError::File { .. })));
    }
}
