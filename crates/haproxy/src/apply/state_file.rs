//! The servers' state that a new worker starts with: HAProxy's own dump, made to agree with the configuration that the new
//! worker reads. Pure text.
//!
//! Without this a server that was put into maintenance by a command would come back in maintenance after a reload, although
//! the configuration says that it takes connections.

use std::collections::HashMap;

use super::answers::server_rows;
use crate::{Rendered, Server};

/// Forced into maintenance, and in maintenance by configuration.
const FORCED: u32 = 0x01;
const CONFIGURED: u32 = 0x04;
const STOPPED: &str = "0";

/// The dump (`show servers state`) without servers that `wanted` does not have in the same place, and with maintenance as
/// `wanted` says. None if the dump is not of the known format: then no state is better than a wrong one.
pub fn reconcile(dump: &str, wanted: &Rendered) -> Option<String> {
    let (header, rows) = server_rows(dump)?;
    let column = |name: &str| header.iter().position(|field| *field == name);
    let (backend, id, name) = (column("be_name")?, column("srv_id")?, column("srv_name")?);
    let (port, admin, operational) =
        (column("srv_port")?, column("srv_admin_state")?, column("srv_op_state")?);
    let known: HashMap<(&str, &str, u32), &Server> = wanted
        .backends
        .iter()
        .flat_map(|(backend, servers)| {
            servers
                .servers
                .iter()
                .map(|server| ((backend.as_str(), server.name.as_str(), server.id), server))
        })
        .collect();
    let mut text = format!("1\n# {}\n", header.join(" "));
    for row in rows {
        let mut fields: Vec<String> = row.split(' ').map(str::to_owned).collect();
        let key = (
            fields.get(backend)?.as_str(),
            fields.get(name)?.as_str(),
            fields.get(id)?.parse().ok()?,
        );
        let ours = wanted.backends.contains_key(key.0);
        match known.get(&key) {
            Some(server) if !server.templated => {
                let state: u32 = fields.get(admin)?.parse().ok()?;
                let was_out =
                    state & (FORCED | CONFIGURED) != 0 && fields.get(operational)? == STOPPED;
                if fields.get(port)? != &server.port.to_string() || was_out && !server.disabled {
                    continue;
                }
                if server.disabled {
                    *fields.get_mut(admin)? = (state | FORCED | CONFIGURED).to_string();
                }
            }
            // Servers of backends that the renderer knows nothing of keep what they have.
            None if ours => continue,
            _ => {}
        }
        text.push_str(&fields.join(" "));
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    const HEADER: &str =
        "1\n# be_id be_name srv_id srv_name srv_op_state srv_admin_state srv_port\n";

    fn wanted() -> Rendered {
        let server = |name: &str, id, disabled| Server {
            name: name.into(),
            id,
            address: "127.0.0.1".into(),
            port: 80,
            options: format!("id {id}"),
            disabled,
            templated: false,
        };
        let servers =
            vec![server("up", 1, false), server("back", 2, false), server("out", 3, true)];
        Rendered {
            backends: [("a".into(), Backend { app: "/a".into(), servers })].into(),
            ..Rendered::default()
        }
    }

    #[test]
    fn maintenance_is_what_the_configuration_says() {
        let dump = format!(
            "{HEADER}1 a 1 up 2 0 80\n1 a 2 back 0 1 80\n1 a 3 out 2 0 80\n1 a 9 gone 2 0 80\n1 a 1 gone2 2 0 80\n2 other 1 x 0 1 80\n\n"
        );
        let wanted_text =
            format!("{HEADER}1 a 1 up 2 0 80\n1 a 3 out 2 5 80\n2 other 1 x 0 1 80\n");
        assert_eq!(reconcile(&dump, &wanted()), Some(wanted_text));
    }

    #[test]
    fn another_port_is_another_server() {
        assert_eq!(
            reconcile(&format!("{HEADER}1 a 1 up 0 0 81\n"), &wanted()),
            Some(HEADER.to_owned())
        );
        assert_eq!(reconcile("Unknown command\n", &wanted()), None);
    }
}
