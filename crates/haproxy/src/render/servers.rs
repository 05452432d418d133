//! Servers in typed form, read back from the lines that the template made: what HAProxy reads is what counts.

use crate::Server;

/// Reads the lines of servers; `None` when they are not plain ones, one a server, each with an id.
pub(super) fn read(text: &str) -> Option<Vec<Server>> {
    if text.contains(['"', '\'', '\\', '#', '$']) {
        return None;
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(read_line).collect()
}

fn read_line(line: &str) -> Option<Server> {
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("server") {
        return None;
    }
    let name = words.next()?.to_owned();
    let (address, port) = words.next()?.rsplit_once(':')?;
    let (address, port) = (address.to_owned(), port.parse().ok()?);
    let mut options = String::with_capacity(line.len());
    let (mut id, mut disabled, mut before) = (None, false, "");
    for word in words {
        if word == "disabled" {
            disabled = true;
            continue;
        }
        if before == "id" {
            id = Some(word.parse().ok()?);
        }
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str(word);
        before = word;
    }
    Some(Server { name, id: id?, address, port, options, disabled, templated: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text = "  server a_1 10.0.0.1:31001 id 7 check cookie 0badc0ffee check inter 3s fall 11 disabled\n";
        let servers = read(text).unwrap();
        let wanted = Server {
            name: "a_1".to_owned(),
            id: 7,
            address: "10.0.0.1".to_owned(),
            port: 31001,
            options: "id 7 check cookie 0badc0ffee check inter 3s fall 11".to_owned(),
            disabled: true,
            templated: false,
        };
        assert_eq!(servers, [wanted]);
        assert_eq!(read("  server b fd00::1:80 id 1\n\n").unwrap()[0].address, "fd00::1");
        for other in [
            "  option x\n",
            "server a b:c id 1\n",
            "server a\n",
            "server a 1.1.1.1:1\n",
            "server a 1.1.1.1:1 id 1 # x\n",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
