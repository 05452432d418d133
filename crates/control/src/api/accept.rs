//! Content negotiation (RFC 9110 §12.5.1). Pure: the `Accept` header and what is on offer in, the
//! choice out.

/// The index of the offered media type that the client likes best, the earlier of equals; `None`
/// when it takes none of them. Without a header the first is taken.
pub fn choose(accept: Option<&str>, offers: &[&str]) -> Option<usize> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else {
        return (!offers.is_empty()).then_some(0);
    };
    let weighed = offers.iter().enumerate().map(|(index, offer)| (index, weight(accept, offer)));
    let best = weighed.filter(|(_, w)| *w > 0).max_by_key(|(index, w)| (*w, usize::MAX - index));
    best.map(|(index, _)| index)
}

/// Whether the header names the media type itself, not only by a wildcard.
pub fn names(accept: Option<&str>, media_type: &str) -> bool {
    accept.is_some_and(|text| ranges(text).any(|(r, w)| r == media_type && w > 0))
}

/// The weight in thousandths of the most specific range that matches; 0 when none does.
fn weight(accept: &str, offer: &str) -> u32 {
    let family = offer.split('/').next().unwrap_or_default();
    let specificity = |range: &str| {
        if range.eq_ignore_ascii_case(offer) {
            3
        } else if range.strip_suffix("/*").is_some_and(|f| f.eq_ignore_ascii_case(family)) {
            2
        } else {
            u32::from(range == "*/*" || range == "*")
        }
    };
    let matching = ranges(accept).map(|(r, w)| (specificity(r), w)).filter(|(s, _)| *s > 0);
    matching.max().map_or(0, |(_, w)| w)
}

/// The media ranges of a header with their weights in thousandths. A weight that cannot be read
/// counts as 1.
fn ranges(accept: &str) -> impl Iterator<Item = (&str, u32)> {
    accept.split(',').map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
        let q = q.and_then(|q| q.parse::<f64>().ok()).unwrap_or(1.0).clamp(0.0, 1.0);
        // Clamped above, so the cast is exact enough and cannot overflow.
        (range, (q * 1000.0).round() as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        let offers = ["application/json", "text/plain"];
        for (accept, want) in [
            (None, Some(0)),
            (Some(""), Some(0)),
            (Some("*/*"), Some(0)),
            (Some("text/plain"), Some(1)),
            (Some("TEXT/PLAIN"), Some(1)),
            (Some("text/*"), Some(1)),
            (Some("text/plain, application/json"), Some(0)),
            (Some("text/plain, */*;q=0.1"), Some(1)),
            (Some("text/plain;q=0.5, application/json;q=0.4"), Some(1)),
            (Some("application/json;q=0, */*"), Some(1)),
            (Some("text/plain; charset=utf-8"), Some(1)),
            (Some("text/plain;q=0"), None),
            (Some("text/html"), None),
            (Some("text/html, *;q=0.2"), Some(0)),
        ] {
            assert_eq!(choose(accept, &offers), want, "{accept:?}");
        }
    }

    #[test]
    fn named() {
        let sse = "text/event-stream";
        assert!(names(Some("application/json, text/event-stream;q=0.3"), sse));
        for not in [None, Some("*/*"), Some("text/*"), Some("text/event-stream;q=0")] {
            assert!(!names(not, sse), "{not:?}");
        }
    }
}
