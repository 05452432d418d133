//! The name of a label taken apart, and what was probably meant by one that does not exist.

use crate::table::{Family, Label, Scope, find, labels};

/// A label's name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub family: Family,
    /// The port's position; `None` = it is about the app.
    pub port: Option<usize>,
    pub name: &'a str,
}

impl<'a> Name<'a> {
    /// Takes apart `HAPROXY_GROUP` or `HAPROXY_0_VHOST`. `None` when it has neither form; then it is
    /// no known label either. A port is written as marathon-lb writes it: `00` is none.
    pub fn parse(label: &'a str) -> Option<Name<'a>> {
        let family = [Family::Haproxy, Family::Waymark];
        let (family, rest) =
            family.into_iter().find_map(|f| Some((f, label.strip_prefix(f.prefix())?)))?;
        if let Some((digits, name)) = rest.split_once('_')
            && let Ok(port) = digits.parse::<usize>()
            && (digits == "0" || !digits.starts_with(['0', '+']))
        {
            return Some(Name { family, port: Some(port), name });
        }
        Some(Name { family, port: None, name: rest })
    }

    /// The table's entry.
    pub fn label(&self) -> Option<&'static Label> {
        let scope = if self.port.is_some() { Scope::Port } else { Scope::App };
        find(self.family, scope, self.name)
    }
}

/// Whether somebody meant one of our labels: `haproxy_0_vhost` and `HAPROXY-0-VHOST` as well.
pub(crate) fn is_ours(label: &str) -> bool {
    let begins = |word: &str| label.get(..word.len()).is_some_and(|l| l.eq_ignore_ascii_case(word));
    begins("HAPROXY") || begins("WAYMARK")
}

/// The label that was probably meant by one that does not exist.
pub(crate) fn suggest(unknown: &str) -> Option<String> {
    let text = unknown.to_ascii_uppercase().replace(['-', '.'], "_");
    let (words, digits) = without_port(&text);
    let distance_to = |label: &Label| {
        let whole = format!("{}{}", label.family.prefix(), label.name);
        // The right name with the wrong family or without its port is nearer than any other name.
        let named = words.split_once('_').is_some_and(|(_, name)| name == label.name);
        if named { 0 } else { distance(&words, &whole) }
    };
    let (nearest, label) = labels().iter().map(|l| (distance_to(l), l)).min_by_key(|(d, _)| *d)?;
    let allowed = (words.len() / 8).max(1);
    (nearest <= allowed).then(|| label.at(digits.unwrap_or_else(|| String::from("n"))))
}

/// The name without the port in it, and the port: `HAPROXY_0_VHOST` → `HAPROXY_VHOST`, `0`.
fn without_port(label: &str) -> (String, Option<String>) {
    let begin = label.find(|c: char| c.is_ascii_digit());
    let (Some(begin), true) = (begin, label.len() > 7) else {
        return (label.to_owned(), None);
    };
    let end = label[begin..].find(|c: char| !c.is_ascii_digit()).map_or(label.len(), |n| begin + n);
    let (before, digits, after) = (&label[..begin], &label[begin..end], &label[end..]);
    let (before, after) = (before.trim_end_matches('_'), after.trim_start_matches('_'));
    let port = digits.trim_start_matches('0');
    (format!("{before}_{after}"), Some(if port.is_empty() { "0" } else { port }.to_owned()))
}

/// Insertions, removals and replacements of letters between two texts, with swaps of neighbours
/// as one. Unknown labels alone pay for it; they are cut at 64 letters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<u8> = a.bytes().take(64).collect();
    let b: Vec<u8> = b.bytes().take(64).collect();
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<_>>()];
    let mut before_last = rows[0].clone();
    for (i, x) in a.iter().enumerate() {
        let [row, last] = &mut rows;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut least = last[j] + usize::from(x != y);
            least = least.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                least = least.min(before_last[j - 1] + 1);
            }
            row[j + 1] = least;
        }
        before_last.clone_from(last);
        rows.swap(0, 1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |text| Name::parse(text).map(|n| (n.family, n.port, n.name));
        assert_eq!(parse("HAPROXY_GROUP"), Some((Family::Haproxy, None, "GROUP")));
        assert_eq!(parse("WAYMARK_12_PATH"), Some((Family::Waymark, Some(12), "PATH")));
        assert_eq!(parse("HAPROXY_00_PATH"), Some((Family::Haproxy, None, "00_PATH")));
        assert_eq!(parse("HAPROXY_+1_PATH"), Some((Family::Haproxy, None, "+1_PATH")));
        assert_eq!(parse("haproxy_0_VHOST"), None);
        assert_eq!(parse("owner"), None);
    }

    #[test]
    fn suggestions() {
        for (unknown, meant) in [
            ("HAPROXY_0_VHOTS", Some("HAPROXY_0_VHOST")),
            ("HAPROXY_1_VHOSTS", Some("HAPROXY_1_VHOST")),
            ("HAPROXY_VHOST", Some("HAPROXY_n_VHOST")),
            ("HAPROXY0_VHOST", Some("HAPROXY_0_VHOST")),
            ("HAPROXY_00_VHOST", Some("HAPROXY_0_VHOST")),
            ("HAPROXY_0_DEPLOYMENT_GROUP", Some("HAPROXY_DEPLOYMENT_GROUP")),
            ("haproxy_0_vhost", Some("HAPROXY_0_VHOST")),
            ("HAPROXY-0-REDIRECT-TO-HTTPS", Some("HAPROXY_0_REDIRECT_TO_HTTPS")),
            ("HAPROXY_2_REDIRECT_TO_HTTP", Some("HAPROXY_2_REDIRECT_TO_HTTPS")),
            ("WAYMARK_0_VHOST", Some("HAPROXY_0_VHOST")),
            ("HAPROXY_0_TIMEOUT_CONNECT", Some("WAYMARK_0_TIMEOUT_CONNECT")),
            ("HAPROXY_GROUPS", Some("HAPROXY_GROUP")),
            ("HAPROXY_0_SOMETHING_ELSE", None),
            ("HAPROXY", None),
            ("HAPROXY_0", None),
        ] {
            assert_eq!(suggest(unknown).as_deref(), meant, "{unknown}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, d) in [("", "", 0), ("a", "", 1), ("ab", "ba", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
