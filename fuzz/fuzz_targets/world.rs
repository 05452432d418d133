//! A server with one app, and what must hold of its replies.

use std::net::IpAddr;
use std::sync::Arc;

use domain::base::Message;
use domain::rdata::AllRecordData;
use waymark_catalog::Writer;
use waymark_dns::answer::Transport;
use waymark_dns::message::UDP_PAYLOAD;
use waymark_dns::{Dns, DnsConfig};
use waymark_model::{Agent, AppEntry, DiscoveryPort, PathId, Readiness, TaskEntry, TaskId};

/// A server whose only app has one task with one port, called so.
pub fn dns(app: &str, task: &str, port: &str) -> Dns {
    let dns = Dns::new(DnsConfig::default()).expect("the default settings are good");
    let (mut writer, reader) = Writer::new(0);
    let id = PathId::parse(&format!("/{app}")).or_else(|_| PathId::parse("/app"));
    let id = id.expect("a good id");
    let task = TaskEntry {
        id: TaskId::from_text(task),
        agent: Arc::new(Agent {
            id: "S1".to_owned(),
            hostname: "agent".to_owned(),
            address: IpAddr::from([10, 0, 0, 1]),
        }),
        addresses: vec![IpAddr::from([10, 1, 0, 1]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])],
        host_ports: vec![31000],
        discovery: vec![DiscoveryPort { number: 80, name: Some(port.to_owned()), protocol: "tcp" }],
        endpoints: Vec::new(),
        readiness: Readiness::Ready,
    };
    let entry = AppEntry { tasks: vec![Arc::new(task)], ..AppEntry::new(id.clone(), "marathon") };
    writer.publish([(id, Some(entry))]);
    drop(writer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(dns.follow(reader));
    dns
}

/// Asks, and looks at the reply.
pub fn ask(dns: &Dns, packet: &[u8], transport: Transport) {
    let Some(reply) = dns.reply(packet, IpAddr::from([198, 51, 100, 7]), transport) else { return };
    let limit = if transport == Transport::Udp { usize::from(UDP_PAYLOAD) } else { 65_535 };
    assert!(reply.len() <= limit);
    assert_eq!(reply.get(..2), packet.get(..2));
    let message = Message::from_octets(&reply[..]).expect("a message");
    assert!(message.header().qr());
    message.question().for_each(|question| drop(question.expect("a question")));
    let (_, answer, authority, additional) = message.sections().expect("sections");
    for section in [answer, authority, additional] {
        for record in section {
            let record = record.expect("a record");
            record.into_record::<AllRecordData<_, _>>().expect("readable data");
        }
    }
}
