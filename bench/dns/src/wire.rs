//! As much of DNS as asking takes.

/// A query for a dotted name.
pub fn query(id: u16, name: &str, qtype: &str) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend([0, 0, if qtype == "A" { 1 } else { 33 }, 0, 1]);
    packet
}

/// Whether a message is a reply without error that has an answer.
pub fn is_answer(packet: &[u8]) -> bool {
    matches!(packet, [_, _, first, second, _, _, high, low, ..]
        if first & 0x80 != 0 && second & 15 == 0 && (*high, *low) != (0, 0))
}
