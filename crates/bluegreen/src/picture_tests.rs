use waymark_marathon_api::answer;

use super::*;

fn facts(json: &str) -> AppFacts {
    answer::app(json.as_bytes()).unwrap().unwrap()
}

fn row(server: &str, state: State, busy: bool) -> Row {
    Row { server: server.to_owned(), state, busy }
}

const HOST: &str = r#"{"app": {"id": "/web-blue", "instances": 2, "labels": {},
    "networks": [{"mode": "host"}], "portDefinitions": [{"port": 10000}], "tasks": [
    {"id": "a", "state": "TASK_RUNNING", "host": "10.0.0.1", "ports": [31000]},
    {"id": "b", "state": "TASK_RUNNING", "host": "agent-a.test", "ports": [31001, 31002]},
    {"id": "c", "state": "TASK_KILLING", "host": "10.0.0.1", "ports": [31005]}]}}"#;

const CONTAINER: &str = r#"{"app": {"id": "/web-green", "instances": 1, "labels": {},
    "networks": [{"mode": "container", "name": "net"}],
    "container": {"portMappings": [{"containerPort": 80, "servicePort": 10001}]}, "tasks": [
    {"id": "d", "state": "TASK_RUNNING", "host": "agent-a.test", "ports": [],
     "ipAddresses": [{"ipAddress": "192.168.5.7"}]}]}}"#;

#[test]
fn servers_are_found_by_host_and_port() {
    let (blue, green) = (facts(HOST), facts(CONTAINER));
    let views = [
        View::Seen {
            reloading: false,
            rows: vec![
                row("10_0_0_1_31000", State::Serving, true),
                row("agent-a_test_10_0_0_2_31001", State::Draining, true),
                row("10_0_0_1_31005", State::Serving, false),
                row("agent-a_test_192_168_5_7_80", State::Serving, false),
            ],
        },
        View::Seen {
            reloading: true,
            rows: vec![
                row("10_0_0_11_31000", State::Serving, false),
                row("agent-a_test_10_0_0_2_31001", State::Draining, false),
                row("agent-a_test_192_168_5_8_80", State::Serving, false),
            ],
        },
        View::Silent,
    ];
    let picture = Picture::new(&green, &blue, &views);
    assert_eq!((picture.balancers, picture.silent, picture.reloading), (3, 1, 1));
    let lights = |side: &Side| -> Vec<(String, Vec<Light>)> {
        side.tasks.iter().map(|t| (t.id.clone(), t.lights.clone())).collect()
    };
    use Light::{Down, Drained, Draining, Serving};
    let want = [
        ("a".to_owned(), vec![Serving, Down, Down]),
        ("b".to_owned(), vec![Draining, Drained, Down]),
    ];
    assert_eq!(lights(&picture.old), want, "a task that is about to end is none any more");
    assert_eq!(lights(&picture.new), [("d".to_owned(), vec![Serving, Down, Down])]);
    assert_eq!(picture.least(|b| picture.old.count(b, |l| l != Down)), 0);
    assert_eq!(picture.old.everywhere(|l| l != Serving), ["b"]);
    assert!(picture.old.anywhere(|l| l == Drained));
}

#[test]
fn a_server_that_is_there_twice_counts_as_its_worse_half() {
    let blue = facts(HOST);
    let rows = vec![
        row("10_0_0_1_31000", State::Serving, false),
        row("10_0_0_1_31000", State::Draining, false),
    ];
    let picture = Picture::new(&blue, &blue, &[View::Seen { reloading: false, rows }]);
    assert_eq!(picture.old.tasks[0].lights, [Light::Drained]);
}

#[test]
fn backends_have_marathon_lbs_names() {
    assert_eq!(backend_name("web", "10000"), "web_10000");
    assert_eq!(backend_name("/shop/web", "10000"), "shop_web_10000");
}
