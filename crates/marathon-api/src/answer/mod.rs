//! A Marathon's answers and events, read: what a follower of somebody else's Marathon needs of them.
//!
//! ```text
//! GET /v2/apps, /v2/apps/{id} ─► Listing, AppFacts
//! GET /v2/info                ─► Info
//! /v2/events                  ─► Notice
//! ```
//!
//! Both generations of the JSON are understood: Marathon 0.11 to 1.4 (`ports`, `ipAddress`,
//! `docker.network`, explicit nulls) and 1.5 to 1.11. Reading is lenient by the app: one that makes
//! no sense is named with the reason and the others stay. A text that is not a whole list is
//! refused, so that half an answer or an error's body is never mistaken for an empty Marathon.
//! Nothing panics on any input.

mod app;
mod networking;
mod notice;
mod task;

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use waymark_model::{AppId, PathId};

pub use app::{AppFacts, PortFacts};
pub use notice::Notice;
pub use task::{Phase, TaskFacts};

use crate::reader::{Errors, Node, Path};

/// Why an answer is refused as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AnswerError(String);

/// The answer to `GET /v2/apps`.
#[derive(Debug, Default, PartialEq)]
pub struct Listing {
    /// The apps that were understood.
    pub apps: Vec<AppFacts>,
    /// The elements that were not.
    pub unreadable: Vec<Unreadable>,
}

/// An app in an answer that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which one, when that much can be read.
    pub id: Option<AppId>,
    /// What is wrong with it: the first thing found.
    pub reason: String,
}

/// The answer to `GET /v2/info`, as far as a follower cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The framework's name.
    pub name: Option<String>,
    /// The version.
    pub version: Option<String>,
    /// Where the leader is, as `host:port`; `None` while nobody leads.
    pub leader: Option<String>,
}

/// Reads the answer to `GET /v2/apps?embed=apps.tasks&…`.
pub fn listing(text: &[u8]) -> Result<Listing, AnswerError> {
    #[derive(Deserialize)]
    struct Whole {
        apps: Listing,
    }
    serde_json::from_slice::<Whole>(text).map(|whole| whole.apps).map_err(refused)
}

/// Reads the answer to `GET /v2/apps/{id}?embed=…`.
pub fn app(text: &[u8]) -> Result<Result<AppFacts, Unreadable>, AnswerError> {
    #[derive(Deserialize)]
    struct Whole {
        app: Value,
    }
    serde_json::from_slice::<Whole>(text).map(|whole| facts(&whole.app)).map_err(refused)
}

/// Reads the answer to `GET /v2/info`.
pub fn info(text: &[u8]) -> Result<Info, AnswerError> {
    let value: Value = serde_json::from_slice(text).map_err(refused)?;
    if !value.is_object() {
        return Err(AnswerError("not an object".to_owned()));
    }
    let text = |name: &str| {
        value.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    Ok(Info { name: text("name"), version: text("version"), leader: text("leader") })
}

/// Whether the body of an answer with status 404 is Marathon's word that an app does not exist,
/// rather than that of something in between that knows no such path.
pub fn says_gone(text: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(text).ok();
    let message = value.as_ref().and_then(|value| value.get("message")?.as_str());
    message.is_some_and(|message| message.contains("does not exist"))
}

fn refused(error: serde_json::Error) -> AnswerError {
    AnswerError(error.to_string())
}

fn facts(value: &Value) -> Result<AppFacts, Unreadable> {
    let id = value.get("id").and_then(Value::as_str).and_then(|id| PathId::parse(id).ok());
    let Some(id) = id.filter(|id| !id.is_root()) else {
        return Err(Unreadable {
            id: None,
            reason: "it has no id, or none that is one".to_owned(),
        });
    };
    let mut errors = Errors::new();
    let read = app::facts(&id, Node { value, path: &Path::Root }, &mut errors);
    match (read, errors.first()) {
        (Some(facts), None) => Ok(facts),
        (_, Some(first)) => {
            let reason = format!("{}: {}", first.path, first.message);
            Err(Unreadable { id: Some(id), reason })
        }
        (None, None) => Err(Unreadable { id: Some(id), reason: "it makes no sense".to_owned() }),
    }
}

/// Element by element, so that a long list never stands in memory as JSON values.
impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listing, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Listing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of apps")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listing, A::Error> {
                let mut listing = Listing::default();
                while let Some(value) = list.next_element::<Value>().map_err(de::Error::custom)? {
                    match facts(&value) {
                        Ok(facts) => listing.apps.push(facts),
                        Err(unreadable) => listing.unreadable.push(unreadable),
                    }
                }
                Ok(listing)
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}
