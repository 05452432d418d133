//! Ids of apps and groups: absolute paths such as `/shop/web`.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// The id of an app or of a group: `/`, or `/` followed by segments joined by `/`.
///
/// Always absolute and in normal form; `.` and `..` are resolved on input. Each segment matches
/// [`PathId::SEGMENT_PATTERN`] (Marathon's rule), so an id never holds `_`, upper-case letters or
/// white space. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(Arc<str>);

/// The id of an app.
pub type AppId = PathId;
/// The id of a group.
pub type GroupId = PathId;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathIdError {
    /// A segment breaks [`PathId::SEGMENT_PATTERN`]; the message is the one Marathon's clients know.
    #[error("must fully match regular expression '{}'", PathId::SEGMENT_PATTERN)]
    Segment,
    /// The id is empty, or is the root where an app's id is needed.
    #[error("must not be empty")]
    Empty,
    /// The id has more than [`PathId::MAX_LEN`] bytes.
    #[error("must not be longer than {} characters", PathId::MAX_LEN)]
    TooLong,
    /// `..` leads above the root.
    #[error("leads above the root group")]
    AboveRoot,
}

impl PathId {
    /// What a segment must match, as Marathon prints it.
    pub const SEGMENT_PATTERN: &str = "^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$";
    /// The longest id accepted, in bytes. Marathon has no limit; names, folders and log lines have.
    pub const MAX_LEN: usize = 1024;

    /// The root group, `/`.
    pub fn root() -> PathId {
        PathId(Arc::from("/"))
    }

    /// Reads an id; without a leading slash it is taken as below the root. Repeated and trailing
    /// slashes are dropped.
    pub fn parse(text: &str) -> Result<PathId, PathIdError> {
        PathId::root().resolve(text)
    }

    /// Reads an id relative to this group: `web`, `../db`, or absolute.
    pub fn resolve(&self, text: &str) -> Result<PathId, PathIdError> {
        if text.is_empty() {
            return Err(PathIdError::Empty);
        }
        let mut segments: Vec<&str> =
            if text.starts_with('/') { Vec::new() } else { self.segments().collect() };
        for segment in text.split('/').filter(|s| !s.is_empty()) {
            match segment {
                "." => {}
                ".." => {
                    segments.pop().ok_or(PathIdError::AboveRoot)?;
                }
                _ if valid_segment(segment) => segments.push(segment),
                _ => return Err(PathIdError::Segment),
            }
        }
        let id = format!("/{}", segments.join("/"));
        if id.len() > Self::MAX_LEN {
            return Err(PathIdError::TooLong);
        }
        Ok(PathId(Arc::from(id)))
    }

    /// The id as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root group.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The segments from the root down; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|s| !s.is_empty())
    }

    /// The group that holds this id; `None` for the root.
    pub fn parent(&self) -> Option<PathId> {
        if self.is_root() {
            return None;
        }
        match self.0.rfind('/') {
            Some(0) | None => Some(PathId::root()),
            Some(at) => Some(PathId(Arc::from(&self.0[..at]))),
        }
    }

    /// Whether this id lies below `group` (not equal to it).
    pub fn is_below(&self, group: &PathId) -> bool {
        if group.is_root() {
            return !self.is_root();
        }
        self.0.strip_prefix(&*group.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The name of the app's tasks and of their discovery: segments reversed, joined by dots
    /// (`/shop/web` is `web.shop`), as Marathon names them.
    pub fn task_name(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// The id without its leading slash and with `_` for `/` (`shop_web`), as it begins task ids
    /// and lines of the text form of `/v2/tasks`.
    pub fn safe_path(&self) -> String {
        self.0.trim_start_matches('/').replace('/', "_")
    }
}

fn valid_segment(segment: &str) -> bool {
    segment.split('.').all(|part| {
        let bytes = part.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    })
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_normalizes() {
        for (text, want) in [
            ("/shop/web", "/shop/web"),
            ("shop//web/", "/shop/web"),
            ("//a/b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/", "/"),
            ("/a.b/c-d", "/a.b/c-d"),
        ] {
            assert_eq!(PathId::parse(text).map(|id| id.to_string()), Ok(want.to_owned()), "{text}");
        }
        for (text, want) in [
            ("", PathIdError::Empty),
            ("/Web", PathIdError::Segment),
            ("/a_b", PathIdError::Segment),
            ("/-a", PathIdError::Segment),
            ("/a-", PathIdError::Segment),
            ("/a..b", PathIdError::Segment),
            ("/..", PathIdError::AboveRoot),
        ] {
            assert_eq!(PathId::parse(text), Err(want), "{text}");
        }
        assert_eq!(PathId::parse(&"a".repeat(2000)), Err(PathIdError::TooLong));
    }

    #[test]
    fn knows_its_place() {
        let id = PathId::parse("/shop/web").unwrap();
        let shop = PathId::parse("/shop").unwrap();
        assert_eq!(id.parent(), Some(shop.clone()));
        assert_eq!(shop.parent(), Some(PathId::root()));
        assert_eq!(PathId::root().parent(), None);
        assert!(id.is_below(&shop) && id.is_below(&PathId::root()));
        assert!(!id.is_below(&id) && !PathId::parse("/shopper").unwrap().is_below(&shop));
        assert_eq!(shop.resolve("../db").unwrap().as_str(), "/db");
        assert_eq!(id.task_name(), "web.shop");
        assert_eq!(id.safe_path(), "shop_web");
    }
}
