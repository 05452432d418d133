//! RecordIO, the framing of Mesos's streams: the length of a record in decimal digits, a line feed,
//! the record.

/// The longest length line: what a 64-bit number has.
const MAX_DIGITS: usize = 20;

/// Takes a stream apart, in whatever pieces it comes.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Reading the length.
    Length { value: usize, digits: usize },
    /// Reading a record that lacks so many bytes.
    Record { lacks: usize, record: Vec<u8> },
    /// The stream was not RecordIO.
    Broken(Broken),
}

/// Why a stream is no RecordIO. Nothing can be read from it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// There is something else where a length must stand.
    #[error("no record's length where one must stand")]
    NoLength,
    /// A record is longer than allowed.
    #[error("record of {0} bytes is longer than allowed")]
    TooLong(usize),
}

/// The most that is reserved for a record before any of it has come.
const RESERVED: usize = 64 * 1024 * 1024;

impl Decoder {
    /// Reads records of up to `limit` bytes; a longer one breaks the stream.
    pub fn new(limit: usize) -> Decoder {
        Decoder { limit, step: Step::Length { value: 0, digits: 0 } }
    }

    /// Takes the next piece and gives every record that it completes to `each`.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(Vec<u8>)) -> Result<(), Broken> {
        while let Some((&first, rest)) = piece.split_first() {
            match &mut self.step {
                Step::Broken(broken) => return Err(*broken),
                Step::Length { value, digits } => {
                    piece = rest;
                    let step = after(first, *value, *digits, self.limit);
                    self.step = step.unwrap_or_else(Step::Broken);
                }
                Step::Record { lacks, record } => {
                    let (part, rest) = piece.split_at((*lacks).min(piece.len()));
                    record.extend_from_slice(part);
                    *lacks -= part.len();
                    piece = rest;
                }
            }
            if let Step::Record { lacks: 0, record } = &mut self.step {
                each(std::mem::take(record));
                self.step = Step::Length { value: 0, digits: 0 };
            }
        }
        match self.step {
            Step::Broken(broken) => Err(broken),
            _ => Ok(()),
        }
    }

    /// Whether the stream could end here without a record being cut.
    pub fn is_between_records(&self) -> bool {
        matches!(self.step, Step::Length { digits: 0, .. })
    }
}

/// The step after one more byte of a length.
fn after(byte: u8, value: usize, digits: usize, limit: usize) -> Result<Step, Broken> {
    match byte {
        b'0'..=b'9' if digits < MAX_DIGITS => {
            let digit = usize::from(byte - b'0');
            let value = value.saturating_mul(10).saturating_add(digit);
            Ok(Step::Length { value, digits: digits + 1 })
        }
        b'\n' if digits > 0 && value > limit => Err(Broken::TooLong(value)),
        b'\n' if digits > 0 => {
            Ok(Step::Record { lacks: value, record: Vec::with_capacity(value.min(RESERVED)) })
        }
        _ => Err(Broken::NoLength),
    }
}

/// Frames one record.
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut framed = format!("{}\n", record.len()).into_bytes();
    framed.extend_from_slice(record);
    framed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_out_however_the_stream_is_cut(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            cuts in prop::collection::vec(1usize..30, 1..60),
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|r| encode(r)).collect();
            let (mut decoder, mut found, mut rest) = (Decoder::new(40), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                decoder.feed(piece, |record| found.push(record)).unwrap();
                rest = after;
            }
            prop_assert_eq!(found, records);
            prop_assert!(decoder.is_between_records());
        }

        #[test]
        fn nothing_panics_and_what_is_broken_stays_so(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..8),
        ) {
            let mut decoder = Decoder::new(16);
            let mut broken = None;
            for piece in pieces {
                let result = decoder.feed(&piece, |record| assert!(record.len() <= 16));
                if let Some(first) = broken { prop_assert_eq!(result, Err(first)) }
                broken = broken.or(result.err());
            }
        }
    }

    #[test]
    fn refuses_what_is_no_recordio() {
        let feed = |text: &str| Decoder::new(9).feed(text.as_bytes(), |_| {});
        assert_eq!(feed("<html>"), Err(Broken::NoLength));
        assert_eq!(feed("\n"), Err(Broken::NoLength));
        assert_eq!(feed("10\n"), Err(Broken::TooLong(10)));
        assert_eq!(feed("99999999999999999999\n"), Err(Broken::TooLong(usize::MAX)));
        assert_eq!(feed("000000000000000000001"), Err(Broken::NoLength));
        assert_eq!(feed("9\n123"), Ok(()));
    }
}
