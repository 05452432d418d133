//! A process that takes over, as far as it wants to: it speaks the hand-over's protocol by hand.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The new end of a hand-over. Dropping it is the end of that process.
pub struct Successor(UnixStream);

impl Successor {
    /// Asks the `waymark run` of this data folder for its sockets, and throws them away.
    pub fn of(data: &Path) -> Successor {
        let mut stream =
            UnixStream::connect(data.join("handover.sock")).expect("somebody is there");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        stream.write_all(b"WAYMARK\x02").expect("a greeting");
        loop {
            let mut head = [0; 3];
            stream.read_exact(&mut head).expect("a message");
            let mut names = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
            stream.read_exact(&mut names).expect("names");
            if head[0] == 0 {
                return Successor(stream);
            }
        }
    }

    /// Says a word of the protocol, and reads the answer's first byte.
    pub fn say(&mut self, word: u8) -> u8 {
        self.0.write_all(&[word]).expect("the word is sent");
        let mut answer = [0];
        self.0.read_exact(&mut answer).expect("an answer");
        answer[0]
    }
}
