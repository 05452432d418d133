//! `TXT version` of the domain: which catalog answers are made from, and what its source's word is
//! worth. Never cached.

use std::time::Duration;

use waymark_catalog::Standing;

use crate::lease::Moment;
use crate::message::{QUESTION_NAME, Reply, Section, qtype};
use crate::zone::Zone;

/// Writes `version=<number>` and, where a source fills the catalog, `age=<seconds>` and
/// `source=fresh`, `stale` or `silent`, each a text of its own; says whether they fitted.
pub(super) fn text(zone: &Zone, now: Moment, reply: &mut Reply<'_>) -> bool {
    let mut texts = vec![format!("version={}", zone.version())];
    if let Some(freshness) = &zone.apex().freshness {
        let (source, age) = match freshness.standing(now.instant) {
            Standing::Silent { .. } => ("silent", None),
            Standing::Fresh(age) => ("fresh", Some(age)),
            Standing::Stale { age, .. } => ("stale", Some(age)),
        };
        texts.extend(age.as_ref().map(Duration::as_secs).map(|age| format!("age={age}")));
        texts.push(format!("source={source}"));
    }
    let place = reply.record(Section::Answer, QUESTION_NAME, qtype::TXT, 0, |data| {
        for text in texts {
            // Far below 255 bytes.
            data.push(text.len() as u8);
            data.extend_from_slice(text.as_bytes());
        }
    });
    place.is_some()
}
