//! What a Mesos master says: states, operator events, masters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_mesos_api::{Event, State, parse, parse_master};

fuzz_target!(|bytes: &[u8]| {
    let mut state = State::default();
    if let Ok(document) = parse(bytes) {
        state.replace(document);
    }
    if let Ok(event) = Event::parse(bytes) {
        state.apply(event);
        state.settle();
    }
    let _ = parse_master(bytes);
});
