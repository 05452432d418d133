//! A small DNS client.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa, Srv, Txt};

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `NOERROR`, `NXDOMAIN`, …
    pub rcode: String,
    /// Addresses in the answer section, sorted.
    pub addresses: Vec<IpAddr>,
    /// Targets and ports of SRV records in the answer section, sorted.
    pub services: Vec<(String, u16)>,
    /// Texts of TXT records in the answer section, each record's strings put together.
    pub texts: Vec<String>,
    /// Serial of the SOA record in the authority section.
    pub serial: Option<u32>,
    /// The smallest TTL in the answer section, in seconds.
    pub ttl: Option<u32>,
}

/// Asks `server` over UDP for records of type `kind` (`A`, `SRV`, …); asks again when no answer
/// comes within a second.
pub fn resolve(server: SocketAddr, name: &str, kind: &str) -> Answer {
    let name = Name::<Vec<u8>>::from_str(name).expect("a name");
    let kind = Rtype::from_str(kind).expect("a record type");
    let mut query = MessageBuilder::new_vec().question();
    query.header_mut().set_random_id();
    query.push((&name, kind)).expect("a question fits");
    let query = query.finish();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
    let mut buffer = vec![0; 65535];
    for _ in 0..10 {
        socket.send_to(&query, server).expect("the query is sent");
        if let Ok(length) = socket.recv(&mut buffer) {
            buffer.truncate(length);
            return read(Message::from_octets(buffer).expect("a DNS message"));
        }
    }
    panic!("no answer from {server}");
}

fn read(message: Message<Vec<u8>>) -> Answer {
    let mut answer = Answer {
        rcode: rcode_text(message.header().rcode()),
        addresses: Vec::new(),
        services: Vec::new(),
        texts: Vec::new(),
        serial: None,
        ttl: None,
    };
    let section = message.answer().expect("an answer section");
    for record in section {
        let ttl = record.expect("a record").ttl().as_secs();
        answer.ttl = Some(answer.ttl.map_or(ttl, |t| t.min(ttl)));
    }
    for record in section.limit_to::<A>() {
        answer.addresses.push(record.expect("a record").data().addr().into());
    }
    for record in section.limit_to::<Aaaa>() {
        answer.addresses.push(record.expect("a record").data().addr().into());
    }
    for record in section.limit_to::<Srv<_>>() {
        let record = record.expect("a record");
        let srv = record.data();
        answer.services.push((srv.target().to_string(), srv.port()));
    }
    for record in section.limit_to::<Txt<_>>() {
        let text: Vec<u8> = record.expect("a record").data().text();
        answer.texts.push(String::from_utf8_lossy(&text).into_owned());
    }
    let authority = message.authority().expect("an authority section");
    for record in authority.limit_to::<domain::rdata::Soa<_>>() {
        answer.serial = Some(record.expect("a record").data().serial().into_int());
    }
    answer.addresses.sort();
    answer.services.sort();
    answer
}

fn rcode_text(rcode: Rcode) -> String {
    rcode.to_string()
}
