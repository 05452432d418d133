//! The templates in effect for one service: its own labels before what is for everybody.

use std::borrow::Cow;

use crate::labels::LabelError;
use crate::service::Service;
use crate::template::format::{FormatError, Text, Values};
use crate::template::{Template, Templates};

#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    pub service: &'a Service,
    pub templates: &'a Templates,
}

impl<'a> Texts<'a> {
    /// The template's text, read.
    pub fn get(self, template: Template) -> Result<Cow<'a, Text>, LabelError> {
        match self.service.rules.text(template) {
            None => Ok(Cow::Borrowed(self.templates.get(template))),
            Some(text) => Text::of(template, text)
                .map(Cow::Owned)
                .map_err(|error| self.error(template, &error)),
        }
    }

    /// Fills a template in.
    pub fn fill(
        self,
        template: Template,
        values: Values<'_>,
        out: &mut String,
    ) -> Result<(), LabelError> {
        let text = self.get(template)?;
        text.fill(values, out).map_err(|error| self.error(template, &error))
    }

    /// The template filled in.
    pub fn filled(self, template: Template, values: Values<'_>) -> Result<String, LabelError> {
        let mut out = String::new();
        self.fill(template, values, &mut out).map(|()| out)
    }

    /// The line that asks a map. marathon-lb takes the label of the template without `MAP_` for it;
    /// one that was written for that other template, with other placeholders, has no effect here.
    pub fn map_line(
        self,
        map: Template,
        label: Template,
        values: Values<'_>,
    ) -> Result<String, LabelError> {
        if let Some(text) = self.service.rules.text(label) {
            let mut out = String::new();
            let filled = Text::of(label, text).and_then(|text| text.fill(values, &mut out));
            if filled.is_ok() {
                return Ok(out);
            }
        }
        let mut out = String::new();
        let filled = self.templates.get(map).fill(values, &mut out);
        filled.map(|()| out).map_err(|error| self.error(map, &error))
    }

    pub fn error(self, template: Template, error: &FormatError) -> LabelError {
        let name = template.entry().name;
        let label = match self.service.rules.text(template) {
            Some(_) => format!("HAPROXY_{}_{name}", self.service.index),
            None => format!("HAPROXY_{name}"),
        };
        LabelError { label, reason: error.to_string() }
    }
}
