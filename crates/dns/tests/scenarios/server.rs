//! Waymark with the names of one cluster, on a socket of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use waymark_catalog::Writer;
use waymark_dns::{Dns, DnsConfig, Server, Sockets};
use waymark_mesos_api::{HostPort, Hosts, State};
use waymark_model::{Cluster, Master, Masters};

/// The master that is asked where a scenario names none.
const MASTER: &str = "10.1.0.1:5050";
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// A query that is answered, for a name outside the domain.
const LAST: &[u8] = b"\xff\xff\0\0\0\x01\0\0\0\0\0\0\x04last\0\0\x01\0\x01";

pub struct Waymark {
    pub dns: Arc<Dns>,
    address: SocketAddr,
    _server: Server,
}

impl Waymark {
    /// One that knows this state and has served it from the first packet on.
    pub fn start(config: DnsConfig, masters: &[String], state: &Value) -> Waymark {
        let dns = Arc::new(Dns::new(config).unwrap());
        let (mut writer, reader) = Writer::new(0);
        writer.publish_cluster(|known| {
            *known = cluster(masters, state);
            true
        });
        // Following ends with the writer, when everything is published.
        drop(writer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(dns.follow(reader));
        let sockets = Sockets::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], 1).unwrap();
        let address = sockets.addresses()[0];
        let server = Server::start(&dns, sockets).unwrap();
        Waymark { dns, address, _server: server }
    }

    /// The reply to a packet; `None` when there is none. Another query follows it, and answers
    /// come in the order of their queries.
    pub fn ask(&self, packet: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
        if by_tcp {
            return Some(self.ask_by_tcp(packet));
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(packet).unwrap();
        socket.send(LAST).unwrap();
        let mut buffer = vec![0; 65_535];
        let mut next = || {
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        let first = next();
        if first.starts_with(&LAST[..2]) {
            return None;
        }
        assert!(next().starts_with(&LAST[..2]), "one reply for one packet");
        Some(first)
    }

    fn ask_by_tcp(&self, packet: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length, packet].concat()).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply).unwrap();
        reply
    }
}

/// What a source makes of a state document.
fn cluster(masters: &[String], state: &Value) -> Cluster {
    struct Addresses;
    impl Hosts for Addresses {
        fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
            Some(host.parse().into_iter().collect())
        }
    }
    let document = waymark_mesos_api::parse(state.to_string().as_bytes()).unwrap();
    let master = |at: HostPort| Master { addresses: vec![at.host.parse().unwrap()], port: at.port };
    let listed = |text: &String| master(waymark_mesos_api::host_port(text).unwrap());
    let leader = document.leader.leader.clone().map(master);
    let all = match masters {
        [] => vec![listed(&MASTER.to_owned())],
        masters => masters.iter().map(listed).collect(),
    };
    let mut state = State::default();
    state.replace(document);
    let cluster = state.refresh(&Addresses).clone();
    Cluster { masters: Some(Arc::new(Masters { leader, all })), ..cluster }
}
