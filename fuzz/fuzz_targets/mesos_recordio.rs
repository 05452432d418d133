//! A RecordIO stream in pieces: the first byte says how large they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_mesos_api::recordio::Decoder;

const LIMIT: usize = 1000;

fn records(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::new(LIMIT);
    let mut records = Vec::new();
    for piece in stream.chunks(piece) {
        if decoder.feed(piece, |record| records.push(record)).is_err() {
            return (records, false);
        }
    }
    (records, true)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let (whole, in_pieces) = (records(stream, usize::MAX), records(stream, usize::from(*piece) + 1));
    assert_eq!(whole, in_pieces);
    assert!(whole.0.iter().all(|record| record.len() <= LIMIT));
});
