use std::collections::{BTreeMap, HashSet};

use waymark_model::{Protocol, Service};

use super::*;
use crate::route::test_world::{World, app};

#[test]
fn a_row_has_every_column_in_order() {
    let mut out = String::new();
    Row::new("web_10000", "10_0_0_1_31000", 2, 4).set("status", "UP").write(&mut out);
    let cells: Vec<&str> = out.trim_end().split(',').collect();
    let columns: Vec<&str> = COLUMNS.split(',').collect();
    assert_eq!(cells.len(), columns.len());
    let at = |name: &str| columns.iter().position(|c| *c == name).and_then(|n| cells.get(n));
    assert_eq!((at("pxname"), at("status")), (Some(&"web_10000"), Some(&"UP")));
    assert_eq!((at("type"), at("scur")), (Some(&"2"), Some(&"")));
    assert!(columns.iter().all(|name| !name.contains(' ')), "{columns:?}");
    assert_eq!(POSITIONS.len() + 1, columns.len(), "no column twice");
}

/// Proxy, server and mode of each line.
fn lines(table: &RouteTable) -> Vec<[String; 3]> {
    let text = csv(table, &[], 0, &mut Rates::default());
    let mode = POSITIONS["mode"];
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        [cells[0], cells[1], cells[mode]].map(str::to_owned)
    };
    text.lines().skip(1).map(line).collect()
}

#[test]
fn ten_thousand_services_are_three_lines_each() {
    let apps = (0..10_000u16).map(|n| app(&format!("/a{n}"), &[10_000 + n], &[]));
    let world = World::of(apps);
    let lines = lines(world.table());
    assert_eq!(lines.len(), 30_000, "frontend, server, backend");
    let distinct: HashSet<_> = lines.iter().map(|[proxy, server, _]| (proxy, server)).collect();
    assert_eq!(distinct.len(), lines.len());
}

#[test]
fn a_number_for_tcp_and_udp_is_no_line_twice() {
    let both = |name: &str, protocols: &[Protocol]| {
        let service = |(index, protocol): (usize, &Protocol)| Service {
            index,
            port: 5000,
            protocol: *protocol,
            name: None,
            labels: BTreeMap::new(),
        };
        let mut app = app(name, &[], &[]);
        app.services = protocols.iter().enumerate().map(service).collect();
        app
    };
    for protocols in [&[Protocol::Both][..], &[Protocol::Tcp, Protocol::Udp]] {
        let world = World::of([both("/game", protocols)]);
        let lines = lines(world.table());
        let distinct: HashSet<_> = lines.iter().map(|[proxy, server, _]| (proxy, server)).collect();
        assert_eq!(distinct.len(), lines.len(), "{lines:?}");
        assert_eq!(lines.len(), 3 * protocols.len(), "{lines:?}");
        assert!(lines.iter().all(|[proxy, ..]| ["game_5000", "game_5000:2"].contains(&&**proxy)));
    }
    // The port of two apps is one listener: its bytes are counted once.
    let world = World::of([app("/a", &[5000], &[]), app("/b", &[5000], &[])]);
    let lines = lines(world.table());
    let fronts: Vec<&String> = lines.iter().filter(|l| l[1] == "FRONTEND").map(|l| &l[0]).collect();
    assert_eq!(fronts, ["a_5000"]);
    assert_eq!(lines.iter().filter(|l| l[1] == "BACKEND").count(), 2);
}
