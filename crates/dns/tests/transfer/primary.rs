//! Our side: a DNS server on a port of its own with a catalog that tests write.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype, ToName};
use domain::rdata::AllRecordData;
use waymark_catalog::{Output, Writer};
use waymark_dns::access::Network;
use waymark_dns::{Dns, DnsConfig, Server, Sockets, TransferConfig};
use waymark_model::{Agent, AppEntry, AppId, DiscoveryPort, PathId, Readiness, TaskEntry, TaskId};

const WAIT: Duration = Duration::from_secs(40);

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running server; stops when dropped.
pub struct Primary {
    pub dns: Arc<Dns>,
    pub address: SocketAddr,
    writer: Writer,
    _server: Server,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(|runtime| runtime.shutdown_background());
    }
}

impl Primary {
    /// Transfers for everybody on this machine.
    pub fn open() -> TransferConfig {
        let network: Network = "127.0.0.0/8".parse().unwrap();
        TransferConfig { allow: [network].into_iter().collect(), ..TransferConfig::default() }
    }

    /// On the address of an earlier one, or on a free one; the versions go on from `last`.
    pub fn start(address: Option<SocketAddr>, last: u64, transfer: TransferConfig) -> Primary {
        let config = DnsConfig {
            host_addresses: vec![IpAddr::from([192, 0, 2, 1])],
            transfer,
            ..DnsConfig::default()
        };
        let dns = Arc::new(Dns::new(config).unwrap());
        let address = address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let sockets = Sockets::bind(&[address], 1).unwrap();
        let address = sockets.addresses()[0];
        let server = Server::start(&dns, sockets).unwrap();
        let (writer, reader) = Writer::new(last);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (follower, notifier) = (dns.clone(), dns.clone());
        runtime.spawn(async move { follower.follow(reader).await });
        runtime.spawn(async move { notifier.notify().await });
        Primary { dns, address, writer, _server: server, runtime: Some(runtime) }
    }

    /// Publishes apps, and waits until their names are there; an app without tasks is removed.
    pub fn publish(&mut self, apps: impl IntoIterator<Item = AppEntry>) {
        let version = self.writer.publish(apps.into_iter().map(|app| {
            let id = app.id.clone();
            (id, Some(app).filter(|app| !app.tasks.is_empty()))
        }));
        wait_until("applied", || self.dns.applied() == version);
    }

    pub fn version(&self) -> u64 {
        self.writer.version()
    }
}

/// App `n` with a task on each of these agents.
pub fn app(n: u16, agents: &[u8]) -> AppEntry {
    let id: AppId = PathId::parse(&format!("/app{n}")).unwrap();
    let task = |agent: &u8| {
        Arc::new(TaskEntry {
            id: TaskId::from_text(&format!("app{n}.{agent}")),
            agent: Arc::new(Agent {
                id: format!("0b8e-S{agent}"),
                hostname: format!("host{agent}"),
                address: IpAddr::from([10, 0, 0, *agent]),
            }),
            addresses: match agent {
                1 => {
                    vec!["fd00::1".parse().unwrap(), IpAddr::from([9, 0, (n >> 8) as u8, n as u8])]
                }
                _ => Vec::new(),
            },
            host_ports: vec![31000 + n],
            discovery: vec![DiscoveryPort {
                number: 8080,
                name: Some("http".to_owned()),
                protocol: "tcp",
            }],
            endpoints: Vec::new(),
            readiness: Readiness::Ready,
        })
    };
    AppEntry { tasks: agents.iter().map(task).collect(), ..AppEntry::new(id, "marathon") }
}

/// What somebody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub rcode: Rcode,
    pub aa: bool,
    /// The answer section, sorted.
    pub records: Vec<String>,
}

/// How often a question is asked before its answer is that there is none; a busy machine lets a
/// server wait for a second now and then.
const TRIES: usize = 10;

/// Asks over UDP, again when no answer comes within a second. That there is none is an answer
/// too, so that one can be waited for.
pub fn ask(server: SocketAddr, name: &str, qtype: &str) -> Answer {
    let name: Name<Vec<u8>> = name.parse().unwrap();
    let mut query = MessageBuilder::new_vec().question();
    query.header_mut().set_random_id();
    query.push((name, qtype.parse::<Rtype>().unwrap())).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect(server).unwrap();
    let mut packet = vec![0; 4096];
    let mut ask_once = || socket.send(query.as_slice()).and_then(|_| socket.recv(&mut packet)).ok();
    let Some(length) = (0..TRIES).find_map(|_| ask_once()) else {
        return Answer { rcode: Rcode::SERVFAIL, aa: false, records: vec!["no answer".to_owned()] };
    };
    let message = Message::from_octets(&packet[..length]).unwrap();
    assert!(!message.header().tc(), "small answers only");
    let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
    let mut records: Vec<String> = records
        .map(|record| {
            let record = record.unwrap();
            let owner: Name<Vec<u8>> = record.owner().to_name();
            format!("{owner} {} {} {}", record.ttl().as_secs(), record.rtype(), record.data())
        })
        .collect();
    records.sort();
    Answer { rcode: message.header().rcode(), aa: message.header().aa(), records }
}
