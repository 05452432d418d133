//! The reference page of `waymark mesos-dns`, made from its flags and the table of its settings.

use super::config::table;
use super::flags;
use crate::cli::paragraphs;
use crate::reference::push;

/// The page as Markdown: `docs/mesos-dns.md`.
pub fn reference() -> String {
    let mut page = format!(
        "<!-- Made by `waymark reference --mesos-dns`; a test compares. Edit the table of settings \
         instead. -->\n\
         # waymark mesos-dns\n\n\
         DNS and the HTTP API of Mesos-DNS for a Mesos cluster. [From Mesos-DNS to \
         Waymark](migration/from-mesos-dns.md) says how to replace one by the other.\n\n\
         ## Command line\n\n```text\n{}```\n\n\
         ## The configuration file\n\n\
         One JSON object, as for Mesos-DNS: names count without regard to case, of a repeated member \
         the last one, `null` leaves the default but empties a list. Unknown members are warned \
         about. A wrong value ends the command with exit code 2 (Mesos-DNS: 1) and a message with \
         file, line and name, before anything is bound; so does what Mesos-DNS would die of at its \
         first load.\n\n\
         The same settings can stand in the table `[mesos-dns]` of a `waymark.toml`, under the key \
         given with each; unknown keys are refused there. `waymark run` passes that table over.\n\n\
         Settings marked *new* are unknown to Mesos-DNS, which ignores them.\n",
        flags::USAGE
    );
    let mut section = "";
    for setting in table() {
        if setting.section != section {
            section = setting.section;
            push(&mut page, format_args!("\n### {section}\n"));
        }
        let lines: Vec<&str> = setting.help.iter().map(|line| line.trim()).collect();
        let new = if setting.old { "" } else { " *(new)*" };
        push(
            &mut page,
            format_args!(
                "\n#### `{}`{new}\n\n{}\n\n- key in `waymark.toml`: `{}`\n- {}\n- default: `{}`\n",
                setting.name,
                paragraphs(&lines),
                setting.key,
                setting.kind,
                setting.default,
            ),
        );
    }
    page.push_str(HTTP);
    page
}

/// The HTTP API.
const HTTP: &str = "
## The HTTP API

| path | what it gives |
|---|---|
| `/v1/version` | name and version, as Mesos-DNS; then the catalog's version and how the source is doing |
| `/v1/config` | the effective settings; secrets are stars |
| `/v1/hosts/{host}` | the addresses of a name; one entry of empty texts if there are none |
| `/v1/services/{service}` | the SRV records of a name with their targets' addresses |
| `/v1/enumerate` | all records by framework and task |
| `/v1/axfr` | all records by name |
| `/v1/watch?name=…` | *new*: a name's records, once they are others than those with the `index` given |
| `/v1/lease?task=…` or `?name=…` | *new*: for how many seconds a handed-out address may still be cached |
| `/v1/ready` | *new*: 200 once names are known, else 503; needs no password |
| `/metrics` | *new*: OpenMetrics text for Prometheus |

Before the cluster's state is known for the first time, lookups and lists are answered with 503:
\"nothing found\" would be untrue.

**Watching.** `/v1/watch` takes `name`, and if wanted `type` (`A`, `AAAA` or `SRV`), `index` and `wait`
(`30s`, `5m`; 60 s unless given, at most 10 minutes). Without `index` it answers at once. With the
`index` of the last answer it answers as soon as the records differ from those, or with the same
records when the wait is over. With `Accept: text/event-stream` it answers with server-sent events:
one `records` event for each new state, whose `id` is the index.

**Leases.** Who takes a task out of service first takes its name away (stops listing it), and then
waits for as long as `/v1/lease?task=ID` says: from then on no client can have its address from a
cache. `version` is the newest catalog version that every answer is made from.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mesos-dns.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == reference(),
            "docs/mesos-dns.md is stale; run: cargo run -p waymark -- reference --mesos-dns > \
             docs/mesos-dns.md"
        );
    }
}
