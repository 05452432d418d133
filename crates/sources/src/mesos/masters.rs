//! Who the masters are: what a list or ZooKeeper says, and in which order to ask them (pure).

use serde::Deserialize;
use waymark_mesos_api::{HostPort, pid};

/// What is known about the masters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detected {
    /// The one that leads, where ZooKeeper says so.
    pub leader: Option<HostPort>,
    /// All, in the order in which they are numbered.
    pub all: Vec<HostPort>,
}

impl Detected {
    /// The masters to ask, one after the other: the leader, or the one that answered last, first.
    pub fn candidates(&self, last: Option<&HostPort>) -> Vec<HostPort> {
        let first = self.leader.as_ref().or(last.filter(|last| self.all.contains(last)));
        let others = self.all.iter().filter(|master| Some(*master) != first);
        first.into_iter().chain(others).cloned().collect()
    }
}

/// A node below the path in ZooKeeper that stands for a master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    /// Nodes that hold JSON come before those that hold a protocol buffer.
    binary: bool,
    /// The lowest number leads.
    number: u64,
    /// The node's name.
    pub name: String,
}

impl Node {
    fn parse(name: &str) -> Option<Node> {
        let (binary, number) = match name.strip_prefix("json.info_") {
            Some(number) => (false, number),
            None => (true, name.strip_prefix("info_")?),
        };
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits)?;
        Some(Node { binary, number, name: name.to_owned() })
    }
}

/// The nodes that stand for masters, the leader's first. Masters that write both kinds of nodes
/// are known by their JSON.
pub(crate) fn nodes<'a>(children: impl Iterator<Item = &'a str>) -> Vec<Node> {
    let mut nodes: Vec<Node> = children.filter_map(Node::parse).collect();
    nodes.sort_unstable();
    if nodes.iter().any(|node| !node.binary) {
        nodes.retain(|node| !node.binary);
    }
    nodes
}

/// Where the master is whose node holds `data`.
pub(crate) fn master(node: &Node, data: &[u8]) -> Option<HostPort> {
    match node.binary {
        true => pid(&pid_in_protobuf(data)?),
        false => serde_json::from_slice::<MasterInfo>(data).ok()?.place(),
    }
}

#[derive(Deserialize)]
struct MasterInfo {
    address: Option<Address>,
    /// An IPv4 address as a number in the host's byte order.
    ip: Option<u32>,
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Address {
    ip: Option<String>,
    hostname: Option<String>,
    port: u16,
}

impl MasterInfo {
    fn place(self) -> Option<HostPort> {
        if let Some(Address { ip, hostname, port }) = self.address {
            let host = ip.or(hostname).filter(|host| !host.is_empty())?;
            return Some(HostPort { host: host.into(), port });
        }
        // Mesos runs on little-endian machines only.
        let ip = std::net::Ipv4Addr::from(self.ip?.to_le_bytes());
        Some(HostPort { host: ip.to_string().into(), port: self.port? })
    }
}

/// The field `pid` (number 4) of a `MasterInfo` message.
fn pid_in_protobuf(mut data: &[u8]) -> Option<String> {
    while !data.is_empty() {
        let tag = varint(&mut data)?;
        match tag & 7 {
            0 => drop(varint(&mut data)?),
            1 => data = data.get(8..)?,
            5 => data = data.get(4..)?,
            2 => {
                let length = usize::try_from(varint(&mut data)?).ok()?;
                let (field, rest) = data.split_at_checked(length)?;
                if tag >> 3 == 4 {
                    return String::from_utf8(field.to_vec()).ok();
                }
                data = rest;
            }
            _ => return None,
        }
    }
    None
}

fn varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 127).checked_shl(shift)?;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use waymark_mesos_api::host_port;

    use super::*;

    #[test]
    fn the_lowest_json_node_leads() {
        let order = |children: &[&str]| {
            nodes(children.iter().copied()).into_iter().map(|n| n.name).collect::<Vec<_>>()
        };
        let children =
            ["log_replicas", "json.info_0000000010", "info_1", "json.info_9", "json.info_x"];
        assert_eq!(order(&children), ["json.info_9", "json.info_0000000010"]);
        assert_eq!(order(&["info_0000000003", "info_2", "other"]), ["info_2", "info_0000000003"]);
    }

    #[test]
    fn reads_what_masters_write() {
        let read = |name: &str, data: &[u8]| {
            master(&Node::parse(name).unwrap(), data).map(|place| place.to_string())
        };
        let new =
            br#"{"address":{"hostname":"n","ip":"10.0.0.1","port":5050},"ip":16777343,"port":1}"#;
        assert_eq!(read("json.info_1", new).as_deref(), Some("10.0.0.1:5050"));
        let old = br#"{"hostname":"n","ip":16777343,"pid":"master@127.0.0.1:5050","port":5050}"#;
        assert_eq!(read("json.info_1", old).as_deref(), Some("127.0.0.1:5050"));
        for bad in ["", "{}", "[]", r#"{"ip":1}"#, r#"{"address":{"ip":"","port":1}}"#] {
            assert_eq!(read("json.info_1", bad.as_bytes()), None, "{bad}");
        }
        let mut binary = b"\x0a\x02id\x10\x01\x18\xba\x27\x22\x15master@10.0.0.1:5050\x2a".to_vec();
        assert_eq!(read("info_1", &binary), None);
        binary[10] = 20;
        assert_eq!(read("info_1", &binary).as_deref(), Some("10.0.0.1:5050").filter(|_| true));
        for cut in 0..10 {
            assert_eq!(read("info_1", &binary[..cut]), None);
        }
    }

    #[test]
    fn asks_the_leader_first_then_the_one_that_answered() {
        let at = |text: &str| host_port(text).unwrap();
        let all = vec![at("a:1"), at("b:1"), at("c:1")];
        let list = |leader: Option<&str>, last: Option<&str>| {
            let detected = Detected { leader: leader.map(at), all: all.clone() };
            let found = detected.candidates(last.map(at).as_ref());
            found.iter().map(|c| c.host.to_string()).collect::<String>()
        };
        assert_eq!(list(None, None), "abc");
        assert_eq!(list(None, Some("c:1")), "cab");
        assert_eq!(list(None, Some("x:1")), "abc");
        assert_eq!(list(Some("b:1"), Some("c:1")), "bac");
    }
}
