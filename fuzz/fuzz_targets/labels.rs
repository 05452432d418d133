//! Labels of an app with three ports: names and values, each up to a line feed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waymark_model::{AppEntry, AppId, Protocol, Service};

fuzz_target!(|text: &str| {
    let mut app = AppEntry::new(AppId::parse("/web").unwrap(), "marathon");
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Both];
    app.services = protocols.into_iter().enumerate().map(|(index, protocol)| {
        let (name, labels) = (None, Default::default());
        Service { index, port: 10_000 + index as u16, protocol, name, labels }
    }).collect();
    let mut lines = text.lines();
    while let (Some(label), Some(value)) = (lines.next(), lines.next()) {
        app.labels.insert(label.to_owned(), value.to_owned());
    }
    match waymark_routing::read(&app) {
        Ok(routing) => assert_eq!(routing.ports.len(), 3),
        Err(errors) => assert!(errors.iter().all(|e| !e.reason.is_empty())),
    }
});
