//! Following a cluster: polled and streamed, one step or many at a time, the catalog gets the same.

#![allow(clippy::unwrap_used)]

mod master;

use std::net::IpAddr;
use std::sync::Arc;

use master::{Master, Step};
use proptest::prelude::*;
use serde_json::{Value, json};
use waymark_mesos_api::{Applied, Event, Hosts, State, parse};
use waymark_model::{Cluster, Readiness};

struct Literals;

impl Hosts for Literals {
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        host.parse().ok().map(|address| vec![address])
    }
}

fn event(value: &Value) -> Event {
    Event::parse(value.to_string().as_bytes()).unwrap()
}

/// What one full state makes of a cluster.
fn afresh(master: &Master) -> Cluster {
    let mut state = State::default();
    state.replace(parse(master.state().to_string().as_bytes()).unwrap());
    state.refresh(&Literals).clone()
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0usize..6;
    prop_oneof![
        2 => (1usize..6).prop_map(Step::Agent),
        1 => (1usize..6).prop_map(Step::AgentGone),
        2 => n.clone().prop_map(Step::Framework),
        1 => n.clone().prop_map(Step::FrameworkGone),
        6 => (n.clone(), 0usize..3, n.clone(), n.clone(), any::<bool>()).prop_map(
            |(id, name, framework, agent, odd)| Step::Launch { id, name, framework, agent, odd }),
        12 => (any::<usize>(), 0usize..14, any::<Option<bool>>(), 0u8..3, any::<bool>()).prop_map(
            |(task, state, healthy, address, back)| {
                Step::Update { task, state, healthy, address, back }
            }),
    ]
}

proptest! {
    #[test]
    fn polled_and_streamed_are_the_same(
        before in prop::collection::vec(step(), 0..30),
        steps in prop::collection::vec(step(), 1..60),
        batch in 1usize..5,
    ) {
        let mut master = Master::default();
        for step in &before {
            master.step(step);
        }
        let mut streamed = State::default();
        streamed.apply(event(&master.subscribed()));
        let mut polled = State::default();
        for steps in steps.chunks(batch) {
            for told in steps.iter().flat_map(|step| master.step(step)) {
                let applied = streamed.apply(event(&told));
                prop_assert_ne!(applied, Applied::Gap, "{}", told);
            }
            polled.replace(parse(master.state().to_string().as_bytes()).unwrap());
            let fresh = afresh(&master);
            prop_assert_eq!(streamed.refresh(&Literals), &fresh);
            prop_assert_eq!(polled.refresh(&Literals), &fresh);
        }
        // A new subscription says the same and changes nothing.
        let before = streamed.cluster().clone();
        streamed.apply(event(&master.subscribed()));
        prop_assert_eq!(streamed.refresh(&Literals).group_changes_since(&before).count(), 0);
        prop_assert!(before.agents.ptr_eq(&streamed.cluster().agents));
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (parse(text.as_bytes()), parse(&bytes), Event::parse(&bytes));
    }

    /// Any value in the place of any other spoils that element at most.
    #[test]
    fn odd_values_panic_nowhere(cut in any::<prop::sample::Index>(), odd in 0usize..8) {
        let mut master = Master::default();
        for n in 1..4 {
            master.step(&Step::Agent(n));
            master.step(&Step::Framework(n));
            master.step(&Step::Launch { id: n, name: n, framework: n, agent: n, odd: n == 2 });
            master.step(&Step::Update { task: n, state: 1, healthy: None, address: 1, back: false });
        }
        let odd = [json!(null), json!(true), json!(-1), json!(1e300), json!("\u{e9}\\"), json!([]),
            json!({}), json!([[{"id": 1}]])][odd].clone();
        for mut whole in [master.state(), master.subscribed()] {
            let count = places(&mut whole, &mut usize::MAX.clone(), &odd);
            places(&mut whole, &mut cut.index(count), &odd);
            let text = whole.to_string();
            let _ = (parse(text.as_bytes()), Event::parse(text.as_bytes()));
            let mut state = State::default();
            if let Ok(document) = parse(text.as_bytes()) {
                state.replace(document);
                state.refresh(&Literals);
            }
        }
    }
}

/// Puts `odd` in the place that comes after `skip` others; how many places there are.
fn places(value: &mut Value, skip: &mut usize, odd: &Value) -> usize {
    if *skip == 0 {
        *value = odd.clone();
    }
    *skip = skip.wrapping_sub(1);
    let inner: usize = match value {
        Value::Array(list) => list.iter_mut().map(|v| places(v, skip, odd)).sum(),
        Value::Object(map) => map.values_mut().map(|v| places(v, skip, odd)).sum(),
        _ => 0,
    };
    inner + 1
}

fn running() -> Master {
    let mut master = Master::default();
    for n in 1..3 {
        master.step(&Step::Agent(n));
        master.step(&Step::Framework(n));
        let at = n - 1;
        master.step(&Step::Launch { id: n, name: n, framework: at, agent: at, odd: false });
    }
    for task in 0..2 {
        let healthy = None;
        master.step(&Step::Update { task, state: 1, healthy, address: 1, back: false });
    }
    master
}

fn followed(master: &Master) -> State {
    let mut state = State::default();
    state.replace(parse(master.state().to_string().as_bytes()).unwrap());
    state.refresh(&Literals);
    state
}

#[test]
fn tasks_stay_while_their_agents_come_back_to_a_new_master() {
    let master = running();
    let mut state = followed(&master);
    let before = state.cluster().clone();
    assert_eq!(before.tasks(), 2);
    let mut elected = Master { time: master.time, ..Master::default() };
    let mut told = elected.subscribed();
    told["subscribed"]["get_state"]["get_agents"]["recovered_agents"] =
        json!([{"id": {"value": "a-S1"}}, {"id": {"value": "a-S2"}}]);
    state.apply(event(&told));
    assert_eq!(*state.refresh(&Literals), before);
    assert_eq!(state.cluster().group_changes_since(&before).count(), 0);
    // One agent comes back with its task, the other without.
    elected.frameworks = master.frameworks.clone();
    elected.tasks = vec![master.tasks[0].clone()];
    let task = elected.subscribed()["subscribed"]["get_state"]["get_tasks"]["tasks"][0].clone();
    let mut comes = |n| state.apply(event(&elected.step(&Step::Agent(n))[0]));
    comes(1);
    comes(2);
    state.apply(event(&json!({"type": "TASK_ADDED", "task_added": {"task": task}})));
    assert_eq!(state.refresh(&Literals).tasks(), 2);
    assert!(state.is_unsettled());
    assert_eq!(state.settle(), Applied::Changed);
    assert!(!state.is_unsettled());
    assert_eq!(state.refresh(&Literals).tasks(), 1);
    assert_eq!(*state.cluster(), afresh(&elected));
}

#[test]
fn a_new_master_that_polls_keeps_them_too_and_drops_lost_agents() {
    let master = running();
    let mut state = followed(&master);
    let mut told = Master::default().state();
    told["recovered_slaves"] = json!([{"id": "a-S1"}]);
    state.replace(parse(told.to_string().as_bytes()).unwrap());
    assert_eq!(state.refresh(&Literals).tasks(), 1);
    state.replace(parse(Master::default().state().to_string().as_bytes()).unwrap());
    assert_eq!(state.refresh(&Literals).tasks(), 0);
}

#[test]
fn an_update_of_an_unknown_task_is_a_gap() {
    let mut master = running();
    let mut state = State::default();
    let update = Step::Update { task: 0, state: 1, healthy: None, address: 2, back: false };
    let told = master.step(&update);
    assert_eq!(state.apply(event(&told[0])), Applied::Gap);
}

#[test]
fn absurd_documents_are_refused_and_odd_elements_left_out() {
    let refused = [
        "",
        "null",
        "[]",
        "{}",
        "{",
        "\u{feff}{}",
        "{\"slaves\":[],\"frameworks\":null}",
        "{\"slaves\":[]}",
        "{\"slaves\":null,\"frameworks\":[]}",
        "{\"slaves\":{},\"frameworks\":[]}",
        "{\"slaves\":[{}],\"frameworks\":[]}",
        "{\"slaves\":[],\"frameworks\":[7]}",
        "{\"slaves\":[],\"frameworks\":[{\"id\":\"f\",\"tasks\":[1,{}]}]}",
        "{\"slaves\":[],\"frameworks\":[]} x",
    ];
    for text in refused {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(parse(b"{\"slaves\":[],\"frameworks\":[]}").is_ok());
    let mut told = running().state();
    told["slaves"].as_array_mut().unwrap().push(json!({"id": 7}));
    told["slaves"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "a-S9", "pid": "odd", "hostname": "n"}));
    told["frameworks"].as_array_mut().unwrap().push(json!("framework"));
    told["frameworks"][0]["tasks"].as_array_mut().unwrap().push(json!({"state": "TASK_RUNNING"}));
    let document = parse(told.to_string().as_bytes()).unwrap();
    let skipped: Vec<_> = document.skipped.iter().map(|(reason, n)| (*reason, *n)).collect();
    let expected = [
        ("agent without id", 1),
        ("agent's pid that is none", 1),
        ("framework that is no object", 1),
        ("task without id", 1),
    ];
    assert_eq!(skipped, expected);
    let mut state = State::default();
    state.replace(document);
    assert_eq!(state.refresh(&Literals).tasks(), 2);
}

#[test]
fn health_and_killing_show() {
    let mut master = running();
    let mut now = |state, healthy| {
        master.step(&Step::Update { task: 0, state, healthy, address: 1, back: false });
        let cluster = afresh(&master);
        cluster.groups.values().next().unwrap().tasks[0].readiness
    };
    assert_eq!(now(1, Some(false)), Readiness::Unhealthy);
    assert_eq!(now(1, Some(true)), Readiness::Ready);
    assert_eq!(now(3, None), Readiness::Draining);
}

#[test]
fn hosts_that_are_not_known_yet_keep_the_addresses_they_had() {
    struct None_;
    impl Hosts for None_ {
        fn addresses(&self, _: &str) -> Option<Vec<IpAddr>> {
            None
        }
    }
    let mut state = followed(&running());
    let before = state.cluster().clone();
    state.hosts_changed();
    assert_eq!(*state.refresh(&None_), before);
    let restored = State::restored(before.clone());
    let mut again = restored.clone();
    again.replace(parse(running().state().to_string().as_bytes()).unwrap());
    assert_eq!(again.refresh(&Literals).group_changes_since(&before).count(), 0);
    assert!(Arc::ptr_eq(
        before.groups.values().next().unwrap(),
        again.cluster().groups.values().next().unwrap()
    ));
}

#[test]
fn a_framework_that_no_event_told_of_comes_from_a_document() {
    let master = running();
    let mut state = State::default();
    let mut told = master.subscribed();
    told["subscribed"]["get_state"]["get_frameworks"]["frameworks"] = json!([]);
    state.apply(event(&told));
    assert_eq!(state.refresh(&Literals).tasks(), 0);
    let document = parse(master.state().to_string().as_bytes()).unwrap();
    assert_eq!(state.take_frameworks(&document), Applied::Changed);
    assert_eq!(*state.refresh(&Literals), afresh(&master));
    assert_eq!(state.take_frameworks(&document), Applied::Unchanged);
}

#[test]
fn nesting_as_deep_as_it_may_be_is_read_over() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!("{{\"x\":{deep},\"slaves\":[],\"frameworks\":[{{\"id\":{deep}}}]}}");
    assert!(parse(text.as_bytes()).is_err(), "no framework makes sense, and nothing overflows");
}
