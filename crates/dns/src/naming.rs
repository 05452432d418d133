//! What things are called: Mesos-DNS's rules from texts (app ids, frameworks, task and agent ids)
//! to the labels of names. Pure functions of text; knows neither records nor the wire.
//!
//! Two differences from Mesos-DNS, both where it publishes names that nobody can ask for: a
//! canonical name, or a service label `_name`, that would be longer than the 63 bytes of a label
//! (RFC 1035 §2.3.4) is made to fit by cutting the name, never the hash.

use sha1::{Digest, Sha1};
use waymark_model::AppId;

/// The longest label of a DNS name, in bytes (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;

/// How free text becomes a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelRule {
    /// Up to 63 characters, digits may come first (RFC 1123): Mesos-DNS's default.
    #[default]
    Rfc1123,
    /// Up to 24 characters, a letter comes first (RFC 952): Mesos-DNS's `EnforceRFC952`.
    Rfc952,
}

impl LabelRule {
    fn limit(self) -> usize {
        match self {
            LabelRule::Rfc1123 => MAX_LABEL,
            LabelRule::Rfc952 => 24,
        }
    }

    fn stripped_from_the_left(self, c: char) -> bool {
        c == '-' || (self == LabelRule::Rfc952 && c.is_ascii_digit())
    }
}

/// Makes one label of a text: lower case, `.` and `_` become dashes, everything that is not a
/// letter, digit or dash is dropped. May be empty.
///
/// Where the cut at the rule's limit falls behind dashes, these are removed and the room is filled
/// with what comes after the cut, as Mesos-DNS does.
pub fn label(text: &str, rule: LabelRule) -> String {
    let mapped: String = text.chars().filter_map(label_char).collect();
    let stripped = mapped.trim_start_matches(|c| rule.stripped_from_the_left(c));
    let (head, behind) = stripped.split_at(stripped.len().min(rule.limit()));
    let kept = head.trim_end_matches('-');
    if kept.len() == head.len() {
        return head.to_owned();
    }
    let fill = behind.trim_start_matches('-').chars().take(head.len() - kept.len());
    kept.chars().chain(fill).collect()
}

/// What a character becomes in a label, all ASCII.
fn label_char(c: char) -> Option<char> {
    match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => Some(c),
        '-' | '.' | '_' => Some('-'),
        _ => None,
    }
}

/// Makes a dotted name of a text: each part between dots by [`label`], empty parts dropped. For
/// names of frameworks. May be empty.
pub fn dotted(text: &str, rule: LabelRule) -> String {
    let parts: Vec<String> =
        text.split('.').map(|part| label(part, rule)).filter(|part| !part.is_empty()).collect();
    parts.join(".")
}

/// The hash of a task id in canonical names: the first 25 bits of its SHA-1 in zbase32.
pub fn task_hash(task_id: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let digest = Sha1::digest(task_id.as_bytes());
    let bits = digest.iter().take(4).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
    (0..5)
        .filter_map(|n| ALPHABET.get((bits >> (27 - 5 * n) & 31) as usize))
        .map(|b| char::from(*b))
        .collect()
}

/// What makes the name of one task of all that share a name: `-<hash>-<tail of the agent's id>`.
pub fn task_suffix(task_id: &str, agent_id: &str) -> String {
    let tail = agent_id.rsplit('-').next().unwrap_or(agent_id);
    let mut suffix = String::with_capacity(7 + tail.len());
    suffix.push('-');
    suffix.push_str(&task_hash(task_id));
    suffix.push('-');
    suffix.push_str(tail);
    if tail.is_ascii() {
        suffix.make_ascii_lowercase();
        suffix
    } else {
        suffix.to_lowercase()
    }
}

/// Writes the canonical name of a task into `out`: its name, then [`task_suffix`]. The name's last
/// label is cut where the two together would be longer than a label.
pub fn canonical(name: &str, suffix: &str, out: &mut String) {
    let last = name.rfind('.').map_or(0, |dot| dot + 1);
    // Without dots in the suffix; an agent's id with dots makes several labels.
    let first_of_suffix = suffix.split('.').next().map_or(0, str::len);
    let room = MAX_LABEL.saturating_sub(first_of_suffix);
    out.clear();
    out.push_str(cut(name, last + room));
    out.push_str(suffix);
}

/// The label under which services of a name are found: `_` and the name, of whose first label
/// only what fits is used.
pub fn service_label(name: &str) -> String {
    let first = name.find('.').unwrap_or(name.len());
    format!("_{}{}", cut(&name[..first], MAX_LABEL - 1), &name[first..])
}

/// The first `bytes` of a text at most.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes.min(text.len()))]
}

/// A name from DiscoveryInfo in both its forms: as it is (`web.shop`), and as one label
/// (`web-shop`). One where both are equal.
pub fn both_forms(name: &str, rule: LabelRule) -> Vec<String> {
    let mut forms = vec![name.to_owned(), label(name, rule)];
    forms.dedup();
    forms
}

/// The labels of a port's protocol: any text is one, none stands for both.
pub fn protocols(protocol: &str, rule: LabelRule) -> Vec<String> {
    match label(protocol, rule) {
        none if none.is_empty() => vec!["tcp".to_owned(), "udp".to_owned()],
        protocol => vec![protocol],
    }
}

/// The name under which people look for an app: `/shop/web` of `marathon` in `mesos` is
/// `web-shop.marathon.mesos`.
pub fn app_name(app: &AppId, framework: &str, domain: &str) -> String {
    let rule = LabelRule::default();
    format!("{}.{}.{domain}", label(&app.task_name(), rule), dotted(framework, rule))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waymark_model::PathId;

    use super::*;

    #[test]
    fn labels() {
        let q = "q".repeat(22);
        let a = "a".repeat(62);
        let q_tail = format!("{q}----tail22");
        let a_tail = format!("{a}--tail");
        let rows: [(&str, &str, &str); 13] = [
            ("Web_Front.end", "web-front-end", "web-front-end"),
            ("my app!", "myapp", "myapp"),
            ("9lives", "9lives", "lives"),
            ("1-2-3a", "1-2-3a", "a"),
            ("--a--", "a", "a"),
            ("a..b", "a--b", "a--b"),
            (&q_tail, &q_tail, &format!("{q}ta")),
            (&a_tail, &format!("{a}t"), &"a".repeat(24)),
            (
                "ct:1413913764000:0:Weekly Report",
                "ct14139137640000weeklyreport",
                "ct14139137640000weeklyre",
            ),
            ("straße", "strae", "strae"),
            ("日本語", "", ""),
            ("", "", ""),
            ("---", "", ""),
        ];
        for (text, default, rfc952) in rows {
            assert_eq!(label(text, LabelRule::Rfc1123), default, "{text}");
            assert_eq!(label(text, LabelRule::Rfc952), rfc952, "{text}");
        }
    }

    #[test]
    fn dotted_names() {
        for (text, want) in
            [("prod.marathon", "prod.marathon"), ("a..b", "a.b"), ("...", ""), ("My_F.W", "my-f.w")]
        {
            assert_eq!(dotted(text, LabelRule::Rfc1123), want, "{text}");
        }
    }

    #[test]
    fn hashes() {
        for (text, want) in [("test", "iffe9"), ("web.1", "e844k"), ("", "5eh48")] {
            assert_eq!(task_hash(text), want, "{text:?}");
        }
    }

    #[test]
    fn canonical_names() {
        for (agent, tail) in [
            ("20140803-194712-3041283216-2116-S12", "s12"),
            ("20140827-000744-3041283216-2116-1", "1"),
            ("nodash", "nodash"),
            ("ends-", ""),
        ] {
            assert_eq!(task_suffix("web.1", agent), format!("-e844k-{tail}"));
        }
        let canonical = |name: &str, suffix: &str| {
            let mut out = String::new();
            super::canonical(name, suffix, &mut out);
            out
        };
        assert_eq!(canonical("web.shop", "-e844k-s3"), "web.shop-e844k-s3");
        let long = "n".repeat(63);
        assert_eq!(canonical(&long, "-e844k-s3"), format!("{}-e844k-s3", "n".repeat(54)));
        assert_eq!(
            canonical(&format!("a.{long}"), "-e844k-s3"),
            format!("a.{}-e844k-s3", "n".repeat(54))
        );
        assert_eq!(service_label("web.shop"), "_web.shop");
        assert_eq!(service_label(&long), format!("_{}", "n".repeat(62)));
    }

    #[test]
    fn names_of_apps() {
        let app = |text| PathId::parse(text).unwrap();
        let names = |text| both_forms(&app(text).task_name(), LabelRule::Rfc1123);
        assert_eq!(names("/web"), ["web"]);
        assert_eq!(names("/shop/web"), ["web.shop", "web-shop"]);
        assert_eq!(names("/a.b/c-d"), ["c-d.a.b", "c-d-a-b"]);
        assert_eq!(app_name(&app("/shop/web"), "Marathon", "mesos"), "web-shop.marathon.mesos");
    }

    #[test]
    fn protocols_of_ports() {
        for (text, want) in [
            ("tcp", &["tcp"][..]),
            ("UDP", &["udp"]),
            ("udp,tcp", &["udptcp"]),
            ("", &["tcp", "udp"]),
            ("-", &["tcp", "udp"]),
        ] {
            assert_eq!(protocols(text, LabelRule::Rfc1123), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_label_is_always_one(text in ".{0,100}", strict: bool) {
            let rule = if strict { LabelRule::Rfc952 } else { LabelRule::Rfc1123 };
            let label = label(&text, rule);
            prop_assert!(label.len() <= rule.limit());
            prop_assert!(!label.starts_with('-'));
            prop_assert!(label.bytes().all(|b| b == b'-' || b.is_ascii_lowercase() || b.is_ascii_digit()));
        }

        #[test]
        fn canonical_names_fit(name in "[a-z.]{1,200}", agent in ".{0,20}") {
            let suffix = task_suffix("t", &agent);
            let mut out = String::new();
            canonical(&name, &suffix, &mut out);
            let name = out;
            prop_assert!(name.ends_with(&suffix));
        }
    }
}
