//! What a real master said (`tests/data`), read.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use waymark_mesos_api::recordio::Decoder;
use waymark_mesos_api::{Applied, Event, Hosts, State, parse};
use waymark_model::{Cluster, Readiness, TaskGroup};

struct Literals;

impl Hosts for Literals {
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        host.parse().ok().map(|address| vec![address])
    }
}

fn polled(document: &[u8]) -> Cluster {
    let mut state = State::default();
    state.replace(parse(document).unwrap());
    state.refresh(&Literals).clone()
}

/// The stream's records, in pieces of odd size.
fn records(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut decoder = Decoder::new(1 << 20);
    for piece in stream.chunks(701) {
        decoder.feed(piece, |record| records.push(record)).unwrap();
    }
    assert!(decoder.is_between_records());
    records
}

/// Applies the stream up to and without the first record that has this text.
fn streamed(stream: &[u8], until: &str) -> State {
    let mut state = State::default();
    for record in records(stream) {
        if String::from_utf8_lossy(&record).contains(until) {
            break;
        }
        assert_ne!(state.apply(Event::parse(&record).unwrap()), Applied::Gap);
    }
    state
}

fn groups(cluster: &Cluster) -> Vec<&TaskGroup> {
    cluster.groups.values().map(|group| &**group).collect()
}

fn names(cluster: &Cluster) -> Vec<&str> {
    cluster.groups.keys().map(|id| &*id.name).collect()
}

const STREAM: &[u8] = include_bytes!("data/subscribe.recordio");

#[test]
fn the_stream_and_the_document_of_one_moment_say_the_same() {
    let document = polled(include_bytes!("data/state.json"));
    let mut state = streamed(STREAM, r#""state":"TASK_KILLING""#);
    let stream = state.refresh(&Literals);
    assert_eq!(names(&document), ["net", "pod", "soon", "web.shop"]);
    assert_eq!(groups(stream), groups(&document));
    assert_eq!(stream.agents, document.agents);
    assert_eq!(stream.frameworks, document.frameworks);

    let [net, _, _, web] = groups(&document)[..] else { panic!("{:?}", names(&document)) };
    let addresses = &net.tasks[0].addresses;
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    assert_eq!(addresses.netinfo, [ip("9.0.0.7"), ip("fd01::7")]);
    assert_eq!(addresses.docker, [ip("172.17.0.2")]);
    assert_eq!(web.tasks[0].readiness, Readiness::Unhealthy);
    assert_eq!(web.tasks[0].host_ports, [31005]);
    assert_eq!(web.tasks[0].ports[0].name.as_deref(), Some("http"));
}

#[test]
fn an_agent_out_of_reach_is_gone_with_its_tasks() {
    let document = polled(include_bytes!("data/state-unreachable.json"));
    let mut state = streamed(STREAM, "AGENT_ADDED");
    let stream = state.refresh(&Literals);
    assert_eq!(names(&document), ["pod", "web.shop", "job"]);
    assert_eq!(groups(stream), groups(&document));
    assert_eq!(stream.agents, document.agents);
    assert_eq!(stream.agents.len(), 1);
    let mut state = streamed(STREAM, "no such text");
    assert_eq!(state.refresh(&Literals).agents.len(), 2, "another agent came");
}

#[test]
fn a_new_leader_does_not_take_the_tasks_of_agents_that_are_not_back() {
    let before = || streamed(STREAM, "no such text");
    let mut stay = before().refresh(&Literals).clone();
    // The framework did not come back; its agent did not either, so that its task may run on.
    assert_eq!(names(&stay), ["pod", "web.shop", "job"]);
    stay.masters = None;

    let mut by_document = before();
    by_document.refresh(&Literals);
    by_document.replace(parse(include_bytes!("data/state-recovering.json")).unwrap());
    assert_eq!(groups(by_document.refresh(&Literals)), groups(&stay));

    let mut by_stream = before();
    by_stream.refresh(&Literals);
    for record in records(include_bytes!("data/subscribe-recovering.recordio")) {
        by_stream.apply(Event::parse(&record).unwrap());
    }
    assert_eq!(groups(by_stream.refresh(&Literals)), groups(&stay));
    assert_eq!(by_stream.cluster().agents, stay.agents);
}
