//! The templates in effect for everybody: environment, else file, else default.

use thiserror::Error;

use super::format::{FormatError, Text};
use super::table::{Template, templates};
use super::{head, table::LabelUse};
use crate::Settings;

/// The templates that all services share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    texts: Vec<Text>,
}

/// Why templates cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// One cannot be read.
    #[error("template HAPROXY_{name}: {error}")]
    Format {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        error: FormatError,
    },
    /// marathon-lb refuses such a head as well: reloads would lose connections, or the supervisor
    /// HAProxy.
    #[error(
        "template HAPROXY_HEAD must not contain the word `daemon`, and must have a `stats socket … expose-fd listeners`"
    )]
    Head,
}

impl Templates {
    /// Takes every template from the first source that has it. `environment` and `file` are asked
    /// for names like `HAPROXY_HEAD`; an empty variable counts as none, and `\n` in a variable is a
    /// line's end.
    ///
    /// # Errors
    /// The first template that cannot be read, or a `HEAD` that marathon-lb would refuse.
    pub fn new(
        settings: &Settings,
        environment: impl Fn(&str) -> Option<String>,
        file: impl Fn(&str) -> Option<String>,
    ) -> Result<Templates, TemplateError> {
        let mut texts = Vec::with_capacity(templates().len());
        for entry in templates() {
            let name = format!("HAPROXY_{}", entry.name);
            let variable = environment(&name).filter(|text| !text.is_empty());
            let given = variable
                .map(|text| text.replace("\\n", "\n"))
                .or_else(|| file(&name).map(|text| text.replace("\r\n", "\n")));
            if entry.template == Template::Head && given.as_deref().is_some_and(is_bad_head) {
                return Err(TemplateError::Head);
            }
            let text = match (given, entry.template) {
                (Some(text), _) => text,
                (None, Template::Head) => head::text(&settings.head),
                (None, _) => entry.default(settings.haproxy).to_owned(),
            };
            let text = Text::of(entry.template, &text);
            texts.push(text.map_err(|error| TemplateError::Format { name: entry.name, error })?);
        }
        Ok(Templates { texts })
    }

    /// The defaults alone.
    ///
    /// # Errors
    /// None, unless a default were wrong.
    pub fn defaults(settings: &Settings) -> Result<Templates, TemplateError> {
        Templates::new(settings, |_| None, |_| None)
    }

    pub(crate) fn get(&self, template: Template) -> &Text {
        // One text for each entry of the table.
        &self.texts[template as usize]
    }
}

/// The template whose label this is: `MODE` is none.
pub(crate) fn of_label(name: &str) -> Option<Template> {
    let found = templates().iter().find(|entry| entry.name == name);
    found.filter(|entry| entry.label == LabelUse::Yes).map(|entry| entry.template)
}

fn is_bad_head(text: &str) -> bool {
    text.split_whitespace().any(|word| word == "daemon") || !text.contains("expose-fd listeners")
}
