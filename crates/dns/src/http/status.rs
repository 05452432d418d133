//! What the API says of the program itself: version, settings, whether it is ready, metrics.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use waymark_catalog::{Output, Standing};

use super::answer::{self, Answer};
use super::config::{Shared, SourceView};

/// The first three members are Mesos-DNS's, and like those all values are texts, since clients read
/// them so.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version<'a> {
    service: &'static str,
    #[serde(rename = "URL")]
    url: &'static str,
    version: &'a str,
    implementation: &'static str,
    catalog_version: String,
    #[serde(flatten)]
    source: Option<Source>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Source {
    /// `fresh`, `stale` or `silent`.
    source: &'static str,
    source_mode: &'static str,
    source_age_seconds: String,
    source_trouble: String,
    leader: String,
}

impl From<SourceView> for Source {
    fn from(view: SourceView) -> Source {
        let seconds = |age: Duration| format!("{:.3}", age.as_secs_f64());
        let text = |reason: Option<&str>| reason.unwrap_or_default().to_owned();
        let (source, age, trouble) = match &view.standing {
            Standing::Silent { reason } => ("silent", String::new(), text(reason.as_deref())),
            Standing::Fresh(age) => ("fresh", seconds(*age), String::new()),
            Standing::Stale { age, reason } => ("stale", seconds(*age), text(Some(reason))),
        };
        Source {
            source,
            source_mode: view.mode,
            source_age_seconds: age,
            source_trouble: trouble,
            leader: view.leader.unwrap_or_default(),
        }
    }
}

/// `/v1/version`
pub fn version(shared: &Shared) -> Answer {
    answer::json(&Version {
        // What clients of Mesos-DNS look for.
        service: "Mesos-DNS",
        url: "https://github.com/mesosphere/mesos-dns",
        version: &shared.config.version,
        implementation: "Waymark",
        catalog_version: shared.dns.applied().to_string(),
        source: shared.config.source.as_ref().map(|source| Source::from(source())),
    })
}

/// `/v1/config`
pub fn config(shared: &Shared) -> Answer {
    let mut view = shared.config.view.clone();
    view.soa_serial = serial(shared);
    answer::json(&view)
}

/// The serial of the zone: the catalog's version, modulo 2³².
pub fn serial(shared: &Shared) -> u32 {
    shared.dns.applied() as u32
}

/// `/v1/ready`: 503 until the first state is known.
pub fn ready(shared: &Shared) -> Answer {
    #[derive(Serialize)]
    struct Ready {
        ready: bool,
    }
    let ready = shared.dns.applied() > 0;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json_as(status, &Ready { ready })
}

/// `/metrics`
pub fn metrics(shared: &Shared) -> Answer {
    let mut text = String::new();
    shared.config.metrics.iter().for_each(|source| source(&mut text));
    text.push_str("# EOF\n");
    answer::metrics(text)
}
