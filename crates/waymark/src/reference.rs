//! The reference page, made from the command line and the settings table.

use std::fmt::Write;

use clap::Command;

use crate::cli::{command, paragraphs};
use crate::exit;
use crate::settings::{Of, Setting, table};

/// The page as Markdown: `docs/reference.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "<!-- Made by `waymark reference`; a test compares. Edit the settings table instead. -->\n\
         # Reference\n\n\
         ## Settings\n\n\
         Every setting can be given in the file named by `--config` (TOML, keys at the top level), \
         by an environment variable and by a flag of `waymark run` or `waymark lb`, whichever has \
         the setting. A variable wins over the file, a flag over both. Unknown keys and variables, \
         and values that are wrong, end with exit code 2 before anything has started.\n",
    );
    let mut section = "";
    for setting in table() {
        if setting.section != section {
            section = setting.section;
            push(&mut page, format_args!("\n### {section}\n"));
        }
        one_setting(&mut page, &setting);
    }
    page.push_str("\n## Commands\n");
    let root = command();
    for sub in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        one_command(&mut page, "waymark", sub);
    }
    push(&mut page, format_args!("\n## Exit codes\n\n```text\n{}\n```\n", exit::HELP));
    page
}

fn one_setting(page: &mut String, setting: &Setting) {
    let commands = match setting.of {
        Of::Run => "`waymark run`",
        Of::Lb => "`waymark lb`",
        Of::Both => "`waymark run`, `waymark lb`",
    };
    let repeated = if setting.list { "; may be repeated" } else { "" };
    let lines: Vec<&str> = setting.help.iter().map(|line| line.trim()).collect();
    push(
        page,
        format_args!(
            "\n#### `{name}`\n\n{help}\n\n- flag `--{name}{value}`{repeated}, variable \
             `{variable}`, of {commands}\n- {kind}\n- default: {default}\n",
            name = setting.name,
            help = paragraphs(&lines),
            value = if setting.switch { String::new() } else { format!(" {}", setting.value_name) },
            variable = setting.variable,
            kind = setting.kind,
            default = setting.default.describe(None),
        ),
    );
}

/// A command with its own arguments; settings are described above.
fn one_command(page: &mut String, parent: &str, command: &Command) {
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about());
    push(page, format_args!("\n### `{name}`\n\n"));
    if let Some(about) = about {
        push(page, format_args!("{}\n", about.to_string().replace("\n/", "\n- /")));
    }
    let settings = table();
    let own = command
        .get_arguments()
        .filter(|arg| {
            let of_settings = name == "waymark run" || name == "waymark lb";
            !(of_settings && settings.iter().any(|s| s.name == arg.get_id().as_str()))
        })
        .filter(|arg| !arg.is_hide_set());
    for (n, arg) in own.enumerate() {
        let values: Vec<&str> =
            arg.get_value_names().unwrap_or_default().iter().map(|v| v.as_str()).collect();
        let takes = if arg.get_action().takes_values() { values.join(" ") } else { String::new() };
        let form = match arg.get_long() {
            Some(long) => format!("--{long} {takes}"),
            None => takes,
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let start = if n == 0 { "\n" } else { "" };
        push(page, format_args!("{start}- `{}`: {help}\n", form.trim()));
    }
    for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        one_command(page, &name, sub);
    }
}

/// Appends to a page.
pub(crate) fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = page.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == reference(),
            "docs/reference.md is stale; run: cargo run -p waymark -- reference > docs/reference.md"
        );
    }
}
