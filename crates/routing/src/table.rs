//! All labels: one table that the parser, the suggestions and the reference page are made from.
//!
//! A label is known here or nowhere: what it is called, what its value is, what it means, and the
//! function that reads it stand in one entry.

mod haproxy;
mod templates;
mod waymark;

use std::fmt;
use std::sync::LazyLock;

use crate::draft::{AppDraft, Draft};

/// Whose names a label has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `HAPROXY_…`: marathon-lb's names and meaning.
    Haproxy,
    /// `WAYMARK_…`: what marathon-lb has no label for.
    Waymark,
}

/// What a label is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The whole app: `HAPROXY_GROUP`.
    App,
    /// One service port: `HAPROXY_0_VHOST`.
    Port,
}

/// What a label has no effect without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A port that carries tcp.
    Stream,
    /// A port that carries udp.
    Datagram,
    /// Mode http.
    Http,
    /// Mode http and a host name.
    HttpHost,
    /// TLS towards the tasks.
    BackendTls,
    /// A health check of the app for the port.
    Check,
}

/// What becomes of a label.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// It is read into the rules of its port.
    Port(fn(&mut Draft, &str) -> Result<(), String>),
    /// It is read into the rules of the app.
    App(fn(&mut AppDraft, &str) -> Result<(), String>),
    /// It says nothing about traffic; somebody else reads it.
    Elsewhere,
    /// It is a piece of HAProxy's configuration; the text says what to use in its place.
    Text(&'static str),
}

/// One label.
#[derive(Clone, Copy)]
pub struct Label {
    /// Whose name it is.
    pub family: Family,
    /// What it is about.
    pub scope: Scope,
    /// Its name, without family and port: `VHOST`.
    pub name: &'static str,
    /// What its value is, in a few words.
    pub value: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// What it has no effect without.
    pub need: Need,
    pub(crate) effect: Effect,
}

impl Label {
    /// Whether it means something here.
    pub fn applies(&self) -> bool {
        !matches!(self.effect, Effect::Text(_))
    }

    /// What to use in place of a label that cannot apply.
    pub fn instead(&self) -> Option<&'static str> {
        match self.effect {
            Effect::Text(instead) => Some(instead),
            _ => None,
        }
    }

    /// The label of the port at this position; of the app, where it is about that.
    pub fn at(&self, port: impl fmt::Display) -> String {
        let family = self.family.prefix();
        match self.scope {
            Scope::App => format!("{family}{}", self.name),
            Scope::Port => format!("{family}{port}_{}", self.name),
        }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at("n"))
    }
}

impl Family {
    /// What its labels begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Family::Haproxy => "HAPROXY_",
            Family::Waymark => "WAYMARK_",
        }
    }
}

/// Every label, in the order of the reference page.
pub fn labels() -> &'static [Label] {
    static TABLE: LazyLock<Vec<Label>> = LazyLock::new(|| {
        [haproxy::APP, haproxy::PORT, waymark::APP, waymark::PORT, templates::PORT].concat()
    });
    &TABLE
}

/// The label of this name.
pub(crate) fn find(family: Family, scope: Scope, name: &str) -> Option<&'static Label> {
    labels().iter().find(|l| l.name == name && l.family == family && l.scope == scope)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_label_of_marathon_lb_is_known_once() {
        let port = |l: &&Label| l.family == Family::Haproxy && l.scope == Scope::Port;
        let natively = labels().iter().filter(port).filter(|l| l.applies()).count();
        let texts = labels().iter().filter(port).filter(|l| !l.applies()).count();
        // marathon-lb v1.15.0 reads 20 settings and 39 templates, and documents 3 more in vain.
        assert_eq!((natively, texts), (20, 39 + 3));
        let names: HashSet<String> = labels().iter().map(|l| l.at("n")).collect();
        assert_eq!(names.len(), labels().len());
    }
}
