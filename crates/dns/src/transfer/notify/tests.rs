//! NOTIFY over real sockets; time is real, so only what must happen is waited for.

use std::time::Duration;

use super::*;

const WAIT: Duration = Duration::from_secs(20);

fn announcement(version: Version) -> Announcement {
    let domain = b"\x05mesos\0";
    let soa = [&domain[..], domain, &(version as u32).to_be_bytes(), &[0; 16]].concat();
    Announcement { version, message: message(domain, 5, &soa) }
}

async fn receive_one(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = vec![0; 512];
    let received = tokio::time::timeout(WAIT, socket.recv_from(&mut packet)).await.unwrap();
    let (length, from) = received.unwrap();
    packet.truncate(length);
    (packet, from)
}

fn serial(packet: &[u8]) -> u32 {
    let numbers: &[u8; 20] = packet.last_chunk().unwrap();
    u32::from_be_bytes(*numbers.first_chunk().unwrap())
}

/// As a secondary answers: the header, with QR.
async fn acknowledge(socket: &UdpSocket, packet: &[u8], to: SocketAddr) {
    let mut reply = packet[..HEADER].to_vec();
    reply[2] |= 0x80;
    reply[7] = 0;
    socket.send_to(&reply, to).await.unwrap();
}

#[test]
fn is_a_message_as_the_rfc_says() {
    use domain::base::Message;
    use domain::base::iana::{Opcode, Rtype};
    let announcement = announcement(9);
    let message = Message::from_octets(&announcement.message[..]).unwrap();
    let header = message.header();
    assert_eq!((header.opcode(), header.aa(), header.qr()), (Opcode::NOTIFY, true, false));
    assert_eq!(message.sole_question().unwrap().qtype(), Rtype::SOA);
    let soa = message.answer().unwrap().next().unwrap().unwrap();
    assert_eq!((soa.rtype(), soa.ttl().as_secs()), (Rtype::SOA, 5));
    assert!(acknowledgment(&announcement.message).is_none(), "a query");
}

#[tokio::test]
async fn tells_until_it_is_acknowledged_and_then_of_the_next_change() {
    let secondary = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (news, receiver) = watch::channel(Announcement::default());
    let from = IpAddr::from([127, 0, 0, 2]);
    let task = tokio::spawn(tell(secondary.local_addr().unwrap(), Some(from), receiver));

    news.send_replace(announcement(7));
    let (first, asker) = receive_one(&secondary).await;
    assert_eq!((serial(&first), asker.ip()), (7, from));
    // From somebody else, with another id, or no reply at all: none of them counts.
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    acknowledge(&other, &first, asker).await;
    let mut wrong = first.clone();
    wrong[0] ^= 1;
    acknowledge(&secondary, &wrong, asker).await;
    secondary.send_to(&first, asker).await.unwrap();
    secondary.send_to(b"x", asker).await.unwrap();

    let (second, asker) = receive_one(&secondary).await;
    assert_eq!(serial(&second), 7, "told again");
    assert!(first[..2] != second[..2] || first[2..] == second[2..]);
    acknowledge(&secondary, &second, asker).await;
    news.send_replace(announcement(8));
    let (third, asker) = receive_one(&secondary).await;
    assert_eq!(serial(&third), 8);
    acknowledge(&secondary, &third, asker).await;

    drop(news);
    tokio::time::timeout(WAIT, task).await.unwrap().unwrap();
}

/// Nobody listens: the system says so, and it is tried again later.
#[tokio::test]
async fn a_secondary_that_starts_later_is_told() {
    let place = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let (_news, receiver) = watch::channel(announcement(3));
    let task = tokio::spawn(tell(address, None, receiver));
    tokio::task::yield_now().await;
    let secondary = UdpSocket::bind(address).await.unwrap();
    let (packet, _) = receive_one(&secondary).await;
    assert_eq!(serial(&packet), 3);
    task.abort();
}
