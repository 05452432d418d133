//! Whatever comes in, what goes out can be read by `domain`, another implementation, and is never
//! longer than the client takes.

use std::net::IpAddr;
use std::sync::OnceLock;

use domain::base::Message;
use domain::rdata::AllRecordData;
use proptest::prelude::*;
use waymark_catalog::Writer;

use crate::answer::Transport;
use crate::fixtures::*;
use crate::{Dns, DnsConfig};

/// A server with a name of many addresses, one of many services, and one of few.
fn dns() -> &'static Dns {
    static DNS: OnceLock<Dns> = OnceLock::new();
    DNS.get_or_init(|| {
        let many = (0..200u8).map(|n| {
            let mut task = task(&format!("big.{n}"), &format!("10.0.1.{n}"));
            task.discovery = vec![port(8000 + u16::from(n), Some("http"), "tcp")];
            task
        });
        let dns = Dns::new(DnsConfig { host_addresses: vec![HOST], ..config() }).unwrap();
        let (mut writer, reader) = Writer::new(0);
        let apps = [app("/big", many), web()];
        writer.publish(apps.into_iter().map(|app| (app.id.clone(), Some(app))));
        drop(writer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(dns.follow(reader));
        dns
    })
}

/// What a client takes over UDP.
fn limit(packet: &[u8]) -> usize {
    let message = Message::from_octets(packet).ok();
    let payload = message.and_then(|message| message.opt().map(|opt| opt.udp_payload_size()));
    usize::from(payload.unwrap_or(512).clamp(512, 1232))
}

fn check(packet: &[u8], transport: Transport) -> Result<(), TestCaseError> {
    let client = IpAddr::from([198, 51, 100, 7]);
    let Some(reply) = dns().reply(packet, client, transport) else {
        let is_query = packet.len() >= 12 && packet[2] & 0x80 == 0;
        prop_assert!(!is_query, "every query gets a reply");
        return Ok(());
    };
    let longest = if transport == Transport::Udp { limit(packet) } else { 65_535 };
    prop_assert!(reply.len() <= longest, "{} bytes of {longest}", reply.len());
    prop_assert_eq!(&reply[..2], &packet[..2]);
    let message = Message::from_octets(&reply[..]).unwrap();
    prop_assert!(message.header().qr());
    for question in message.question() {
        prop_assert!(question.is_ok());
    }
    let (_, answer, authority, additional) = message.sections().unwrap();
    let mut records = 0;
    for record in [answer, authority, additional].into_iter().flatten() {
        let record = record.unwrap();
        prop_assert!(record.into_record::<AllRecordData<_, _>>().is_ok());
        records += 1;
    }
    let counts = message.header_counts();
    let counted = counts.ancount() + counts.nscount() + counts.arcount();
    prop_assert_eq!(records, counted);
    Ok(())
}

/// A query that is nearly right: any flags, types, classes and EDNS, for names of the zone and
/// others.
fn query() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("big.marathon.mesos"),
        Just("_big._tcp.marathon.mesos"),
        Just("WEB-shop.marathon.mesos"),
        Just("_http._web-shop._tcp.marathon.mesos"),
        Just("mesos"),
        Just("slave.mesos"),
        Just("no.mesos"),
        Just("example.org"),
    ];
    let qtype = prop_oneof![
        prop::sample::select(vec![1u16, 2, 5, 6, 12, 16, 28, 33, 41, 43, 249, 250, 251, 252, 255]),
        any::<u16>()
    ];
    let edns =
        prop::option::of((any::<u16>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..60)));
    (any::<[u8; 4]>(), name, qtype, prop_oneof![4 => Just(1u16), 1 => any::<u16>()], edns).prop_map(
        |(head, name, qtype, class, edns)| {
            let [id, low, first, second] = head;
            let mut packet = vec![id, low, first & 0x7f, second, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                packet.push(label.len() as u8);
                packet.extend_from_slice(label.as_bytes());
            }
            packet.push(0);
            packet.extend(qtype.to_be_bytes());
            packet.extend(class.to_be_bytes());
            if let Some((payload, ttl, data)) = edns {
                packet[11] = 1;
                packet.extend([0, 0, 41]);
                packet.extend(payload.to_be_bytes());
                packet.extend(ttl.to_be_bytes());
                // One option with this data.
                packet.extend((data.len() as u16 + 4).to_be_bytes());
                packet.extend([0, 10]);
                packet.extend((data.len() as u16).to_be_bytes());
                packet.extend(data);
            }
            packet
        },
    )
}

proptest! {
    #[test]
    fn of_any_bytes(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&packet, Transport::Udp)?;
        check(&packet, Transport::Tcp)?;
    }

    #[test]
    fn of_queries(packet in query()) {
        check(&packet, Transport::Udp)?;
        check(&packet, Transport::Tcp)?;
    }

    /// Queries with some bytes changed, cut, or with more behind.
    #[test]
    fn of_damaged_queries(
        mut packet in query(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in 0usize..200,
        more in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        for (place, byte) in changes {
            let place = place.index(packet.len());
            packet[place] = byte;
        }
        packet.truncate(length);
        packet.extend(more);
        check(&packet, Transport::Udp)?;
        check(&packet, Transport::Tcp)?;
    }
}
