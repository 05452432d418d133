//! The reference of labels and templates: `docs/haproxy/templates.md`, made from the tables.

use std::fmt::Write;

use crate::SettingLabel;
use crate::apply::Version;
use crate::labels::SETTING_LABELS;
use crate::template::{LabelUse, templates};

const INTRODUCTION: &str = "\
<!-- Made from the tables in crates/haproxy; a test compares (WAYMARK_WRITE_DOCS=1 writes it anew). -->
# Labels and templates for HAProxy

What apps' labels say, and the pieces of text that the configuration is made of, when Waymark drives HAProxy in
marathon-lb's place. `n` is the position of a port in the app's list of ports, from 0. *Yes* is `true`, `t`, `yes` or
`y` in any case; everything else is no.
";

const TEMPLATES: &str = "
## Templates

The text of each is the first that there is of

1. the label `HAPROXY_n_NAME`, where the table says so;
2. the variable `HAPROXY_NAME`, in which `\\n` is a line's end; an empty one counts as none;
3. the file `templates/HAPROXY_NAME`;
4. the default.

`{name}` is filled in as Python's `str.format` does it, so that braces that are meant as such are doubled;
`{healthCheck[path]}`, `{port:05d}` and `{backend!s:>20}` work. *Raw* ones are printed as they are.
A label with a placeholder that there is none of refuses that app's change; the app's last accepted form stays.
";

/// The page as Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for (of_app, title) in [(true, "Labels of an app"), (false, "Labels of a port")] {
        let _ = writeln!(
            page,
            "\n## {title}\n\n| label | value | default | meaning |\n|---|---|---|---|"
        );
        for label in SETTING_LABELS.iter().filter(|label| label.of_app == of_app) {
            let SettingLabel { name, value, default, doc, .. } = label;
            let n = if of_app { "" } else { "n_" };
            let _ = writeln!(page, "| `HAPROXY_{n}{name}` | {value} | {default} | {doc} |");
        }
    }
    page.push_str(TEMPLATES);
    for entry in templates() {
        let label = match entry.label {
            LabelUse::No => "no label",
            LabelUse::Yes => "label",
            LabelUse::Ignored => "its label has no effect, as in marathon-lb",
        };
        let _ = writeln!(page, "\n### `{}`\n\n{} ({label})\n", entry.name, entry.doc);
        match entry.placeholders {
            None => page.push_str("Raw.\n"),
            Some(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let _ = writeln!(page, "Placeholders: {}.", names.join(", "));
            }
        }
        let now = entry.default(Version { major: 2, minor: 1 });
        let old = entry.default(Version::MARATHON_LB);
        push_text(&mut page, "", now);
        if now != old {
            push_text(&mut page, "Up to HAProxy 2.0:\n\n", old);
        }
    }
    page
}

fn push_text(page: &mut String, title: &str, text: &str) {
    let text = text.trim_start_matches('\n');
    if !text.is_empty() {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        let _ = write!(page, "\n{title}```haproxy\n{text}{end}```\n");
    }
}
