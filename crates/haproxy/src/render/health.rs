//! What a service's health check adds to its backend and to its servers.

use super::texts::Texts;
use crate::labels::LabelError;
use crate::service::Service;
use crate::service::check::Check;
use crate::template::Template;

/// The health check of a service, among all services of its app that have servers.
pub(super) struct Health<'a> {
    texts: Texts<'a>,
    /// By number.
    siblings: &'a [Service],
    /// The check, and whether the templates for TCP apply.
    check: Option<(&'a Check, bool)>,
}

impl<'a> Health<'a> {
    pub fn new(texts: Texts<'a>, siblings: &'a [Service]) -> Health<'a> {
        let service = texts.service;
        let check = service.check.as_ref();
        let check = check.and_then(|check| Some((check, check.is_tcp(&service.mode)?)));
        Health { texts, siblings, check }
    }

    /// The lines in the backend; they go by its first server.
    pub fn push_backend_options(&self, out: &mut String) -> Result<(), LabelError> {
        let Some((check, tcp)) = self.check else { return Ok(()) };
        let template = match tcp {
            true => Template::BackendTcpHealthcheckOptions,
            false => Template::BackendHttpHealthcheckOptions,
        };
        self.fill(template, check, self.port_of(0), out)
    }

    /// The words on the line of the server at this place.
    pub fn push_server_options(&self, at: usize, out: &mut String) -> Result<(), LabelError> {
        let Some((check, tcp)) = self.check else { return Ok(()) };
        let template = match tcp {
            true => Template::BackendServerTcpHealthcheckOptions,
            false => Template::BackendServerHttpHealthcheckOptions,
        };
        let port = match self.texts.service.rules.check_index {
            Some(_) => self.port_of(at),
            None => check.port(),
        };
        self.fill(template, check, port, out)
    }

    fn fill(
        &self,
        template: Template,
        check: &Check,
        port: Option<u16>,
        out: &mut String,
    ) -> Result<(), LabelError> {
        let text = self.texts.get(template)?;
        if text.is_empty() {
            return Ok(());
        }
        let options = port.map(|port| format!(" port {port}")).unwrap_or_default();
        let filled = text.fill(&check.values(port, &options), out);
        filled.map_err(|error| self.texts.error(template, &error))
    }

    /// The port on which the server at this place is checked: that of the server at the same place
    /// of the service that BACKEND_HEALTHCHECK_PORT_INDEX means, else its own. (marathon-lb stops
    /// when the index is the number of services or that service has fewer servers.)
    fn port_of(&self, at: usize) -> Option<u16> {
        let count = i64::try_from(self.siblings.len()).ok()?;
        let meant = self.texts.service.rules.check_index.and_then(|index| {
            let place = if index < 0 { count.checked_add(index)? } else { index };
            self.siblings.get(usize::try_from(place).ok()?)
        });
        let meant = meant.and_then(|service| service.servers.get(at));
        meant.or_else(|| self.texts.service.servers.get(at)).map(|server| server.port)
    }
}
