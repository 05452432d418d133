//! The reference page of all labels, made from the table: `docs/labels.md`.

use std::fmt::{Arguments, Write};

use crate::table::{Family, Label, Need, labels};

const INTRODUCTION: &str = "\
<!-- Made by `waymark reference --labels`; a test compares. Edit the table in crates/routing instead. -->
# Labels

What an app's labels say about its traffic. `n` stands for the position of a port in the app's list of \
ports, from 0. Labels that begin with `HAPROXY_` have marathon-lb's names and meaning; `WAYMARK_` ones say \
what it has no label for, and go before their `HAPROXY_` siblings.

- *Yes* is `true`, `t`, `yes` or `y` in any case; everything else is no, as with marathon-lb (also `1` and `on`; \
those are listed).
- A label that does not exist, names a port that the app has not, or lacks what it needs has no effect. It is \
listed in `/v1/quarantine` on the stats port, with what was probably meant, and in a warning in the log.
- A value that cannot be read quarantines the change of that one app: the rules it had stay in effect, and \
go on to follow its tasks. If it had none, it gets no routes. The reason is listed there too.
- AUTH, PATH, VHOST and what else needs a host name have no effect on service ports, as with marathon-lb; \
`BACKEND_NETWORK_ALLOWED_ACL` has.
";

/// The page as Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    let sections = [
        (Family::Haproxy, true, "marathon-lb's labels"),
        (Family::Waymark, true, "Waymark's own labels"),
        (Family::Haproxy, false, "Labels that cannot apply"),
    ];
    for (family, applies, title) in sections {
        push(&mut page, format_args!("\n## {title}\n"));
        if !applies {
            page.push_str(
                "\nmarathon-lb's template labels are pieces of HAProxy's configuration, which nothing reads \
                 here. They are listed as above.\n\n| label | instead |\n|---|---|\n",
            );
        }
        for label in labels().iter().filter(|l| l.family == family && l.applies() == applies) {
            one(&mut page, label);
        }
    }
    page
}

fn one(page: &mut String, label: &Label) {
    if let Some(instead) = label.instead() {
        return push(page, format_args!("| `{}` | {instead} |\n", label.at("n")));
    }
    push(
        page,
        format_args!("\n### `{}`\n\n{}\n\n- value: {}\n", label.at("n"), label.doc, label.value),
    );
    push(page, format_args!("- default: {}\n", label.default));
    let needs = match label.need {
        Need::Nothing => return,
        Need::Stream => "a tcp port",
        Need::Datagram => "a udp port",
        Need::Http => "mode http",
        Need::HttpHost => "mode http and a host name",
        Need::BackendTls => "`WAYMARK_n_BACKEND_TLS`",
        Need::Check => "a health check of the port",
    };
    push(page, format_args!("- needs {needs}\n"));
}

fn push(page: &mut String, text: Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/labels.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == super::reference(),
            "docs/labels.md is stale; run: cargo run -p waymark -- reference --labels > docs/labels.md"
        );
    }
}
