use std::fmt::Write as _;
use std::net::IpAddr;

use expect_test::expect_file;
use proptest::prelude::*;
use waymark_catalog::Writer;
use waymark_marathon_api::answer::listing;
use waymark_model::{Catalog, PathId, Readiness};

use super::*;

/// Hosts that are known by name.
struct Names;

impl Hosts for Names {
    fn addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        let named = host.strip_prefix("node").and_then(|h| h.strip_suffix(".example"));
        let number = named.and_then(|n| n.parse::<u8>().ok());
        match number {
            Some(number) => Some(vec![[10, 0, 0, number].into()]),
            None => host.parse().ok().map(|address| vec![address]),
        }
    }
}

const PATIENCE: Patience =
    Patience { gone: Duration::from_secs(2), empty: Duration::from_secs(15) };

fn state() -> State {
    State::new("marathon", Some(10050..=10100))
}

/// Entries as one reads them.
fn told(entries: &[(AppId, Option<AppEntry>)]) -> String {
    let mut text = String::new();
    for (id, entry) in entries {
        let Some(entry) = entry else {
            writeln!(text, "{id} gone").unwrap();
            continue;
        };
        let (instances, checks) = (entry.instances, entry.health_checks.len());
        writeln!(text, "{id} x{instances} checks:{checks} labels:{:?}", entry.labels).unwrap();
        for service in &entry.services {
            let (index, port, name) = (service.index, service.port, service.name.as_deref());
            let name = name.unwrap_or("-");
            writeln!(text, "  {index} {port}/{} {name} {:?}", service.protocol, service.labels)
                .unwrap();
        }
        for task in &entry.tasks {
            let (agent, ready) = (&task.agent, task.readiness);
            writeln!(text, "  {} on {} ({}) {ready:?}", task.id, agent.address, agent.id).unwrap();
            let endpoints = task.endpoints.iter();
            let endpoints: Vec<String> =
                endpoints.map(|e| format!("{}={}", e.service, e.address)).collect();
            let discovery = task.discovery.iter();
            let discovery: Vec<String> =
                discovery.map(|d| format!("{}/{}", d.number, d.protocol)).collect();
            let (own, ports) = (&task.addresses, &task.host_ports);
            writeln!(text, "    {endpoints:?} own {own:?} ports {ports:?} said {discovery:?}")
                .unwrap();
        }
    }
    text
}

#[test]
fn shapes_of_all_versions() {
    for version in ["0.11", "1.1", "1.4", "1.5", "1.8", "1.11"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/marathon/shapes");
        let document = std::fs::read(format!("{folder}/{version}.json")).unwrap();
        let mut state = state();
        let read = listing(&document).unwrap();
        let unnamed = read.unreadable.iter().filter(|element| element.id.is_none()).count();
        state.take_listing(read, &HashSet::new(), Instant::now(), PATIENCE);
        let mut text = told(&state.changes(&Names));
        for (id, reason) in state.problems() {
            writeln!(text, "{id}: {reason}").unwrap();
        }
        writeln!(text, "unnamed: {unnamed}").unwrap();
        expect_file![format!("{folder}/{version}.txt")].assert_eq(&text);
    }
}

fn id(text: &str) -> AppId {
    PathId::parse(text).unwrap()
}

/// An app with two checks and tasks that have these results.
fn checked(results: &[(&str, &[bool])], more: &str) -> Listing {
    let task = |(id, results): &(&str, &[bool])| {
        let results: Vec<String> = results.iter().map(|r| format!(r#"{{"alive":{r}}}"#)).collect();
        format!(
            r#"{{"id":"{id}","host":"node1.example","ports":[1],"state":"TASK_RUNNING",
                "version":"2026-01-01T00:00:00.000Z","healthCheckResults":[{}]}}"#,
            results.join(",")
        )
    };
    let tasks: Vec<String> = results.iter().map(task).collect();
    let text = format!(
        r#"{{"apps":[{{"id":"/a","labels":{{}},"portDefinitions":[{{"port":1}}],{more}
            "healthChecks":[{{}},{{}}],"tasks":[{}]}}]}}"#,
        tasks.join(",")
    );
    listing(text.as_bytes()).unwrap()
}

fn readiness(state: &mut State) -> Vec<Readiness> {
    let changes = state.changes(&Names);
    let entries = changes.into_iter().filter_map(|(_, entry)| entry);
    entries.flat_map(|entry| entry.tasks).map(|task| task.readiness).collect()
}

#[test]
fn what_a_task_was_found_to_be_stays_until_something_else_is_said() {
    use Readiness::{HealthUnknown, Ready, Unhealthy};
    let mut state = state();
    let none = HashSet::new();
    let mut take = |results: &[(&str, &[bool])], more: &str| {
        state.take_listing(checked(results, more), &none, Instant::now(), PATIENCE);
        readiness(&mut state)
    };
    let both: [bool; 2] = [true, true];
    assert_eq!(
        take(&[("a", &[]), ("b", &[true]), ("c", &both)], ""),
        [HealthUnknown, HealthUnknown, Ready]
    );
    assert_eq!(take(&[("a", &both), ("b", &[false]), ("c", &both)], ""), [Ready, Unhealthy, Ready]);
    // A new leader has not checked anything yet.
    assert_eq!(take(&[("a", &[]), ("b", &[]), ("c", &[true])], ""), [Ready, Unhealthy, Ready]);
    assert_eq!(take(&[("a", &[]), ("b", &both), ("c", &[false])], ""), [Ready, Ready, Unhealthy]);
    // Another task with the same id would be another incarnation: what is gone is forgotten.
    assert_eq!(take(&[("c", &both)], ""), [Ready]);
    assert_eq!(take(&[("a", &[]), ("c", &both)], ""), [HealthUnknown, Ready]);
    // Readiness, in a deployment only.
    let deploying = r#""readinessChecks":[{}],"deployments":[{"id":"x"}],"#;
    assert_eq!(take(&[("a", &both), ("c", &both)], deploying), [HealthUnknown; 2]);
    let passed = format!(
        r#"{deploying}"readinessCheckResults":[{{"taskId":"a","ready":true}},
            {{"taskId":"c","ready":false}}],"#
    );
    assert_eq!(take(&[("a", &both), ("c", &both)], &passed), [Ready, HealthUnknown]);
    assert_eq!(take(&[("a", &both), ("c", &both)], deploying), [Ready, HealthUnknown]);
    assert_eq!(take(&[("a", &both), ("c", &both)], r#""readinessChecks":[{}],"#), [Ready; 2]);
}

#[test]
fn what_was_published_before_the_start_stays_until_it_is_told_of() {
    let mut before = state();
    before.take_listing(
        checked(&[("a", &[true, true]), ("b", &[false])], ""),
        &HashSet::new(),
        Instant::now(),
        PATIENCE,
    );
    let entry = before.changes(&Names).remove(0).1.unwrap();
    let mut state = state();
    state.restore(&entry);
    assert!(state.changes(&Names).is_empty());
    // An empty list right after the start is not believed.
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let none = HashSet::new();
    let again = state.take_listing(Listing::default(), &none, start, PATIENCE);
    assert_eq!(again, Some(at(15)));
    assert_eq!(state.take_listing(Listing::default(), &none, at(14), PATIENCE), Some(at(15)));
    assert!(state.changes(&Names).is_empty());
    // What the tasks were found to be is known, too.
    state.take_listing(checked(&[("a", &[]), ("b", &[])], ""), &none, at(15), PATIENCE);
    assert_eq!(state.changes(&Names), [(id("/a"), Some(entry))]);
    assert_eq!(state.take_listing(Listing::default(), &none, at(16), PATIENCE), Some(at(31)));
    assert_eq!(state.take_listing(Listing::default(), &none, at(31), PATIENCE), None);
    assert_eq!(state.changes(&Names), [(id("/a"), None)]);
}

#[test]
fn an_answer_about_one_app_is_believed_and_one_about_another_is_not() {
    let mut state = state();
    let one = |tasks: &[(&str, &[bool])]| {
        Told::Facts(Box::new(checked(tasks, r#""instances":2,"#).apps.remove(0)))
    };
    state.take_app(&id("/a"), one(&[("a", &[])]));
    assert_eq!(readiness(&mut state).len(), 1);
    state.take_app(&id("/b"), one(&[]));
    assert_eq!(state.problems()[&id("/b")], "the answer is about /a");
    assert!(state.changes(&Names).is_empty());
    // Without its tasks, at once.
    state.take_app(&id("/a"), one(&[]));
    assert_eq!(state.changes(&Names)[0].1.as_ref().unwrap().tasks.len(), 0);
    state.take_app(&id("/a"), Told::Gone);
    assert_eq!(state.changes(&Names), [(id("/a"), None)]);
    state.take_app(&id("/a"), Told::Gone);
    assert!(state.changes(&Names).is_empty());
}

#[test]
fn facts_that_are_younger_than_the_list_stay() {
    let mut state = state();
    let facts = |list: Listing| Told::Facts(Box::new(list.apps.into_iter().next().unwrap()));
    state.take_app(&id("/a"), facts(checked(&[("a", &[]), ("b", &[])], "")));
    let fresher = HashSet::from([id("/a")]);
    state.take_listing(checked(&[("a", &[])], ""), &fresher, Instant::now(), PATIENCE);
    let missing = state.take_listing(Listing::default(), &fresher, Instant::now(), PATIENCE);
    assert_eq!((missing, state.doubted()), (None, 0));
    assert_eq!(readiness(&mut state).len(), 2);
}

/// One of a few apps in one of many forms.
fn any_app() -> impl Strategy<Value = (u8, u8, u8, Vec<(u8, u8)>)> {
    (0u8..6, 0u8..4, 0u8..3, prop::collection::vec((0u8..8, 0u8..5), 0..4))
}

fn written(app: &(u8, u8, u8, Vec<(u8, u8)>)) -> AppFacts {
    let (n, shape, label, tasks) = app;
    let mut ids = BTreeSet::new();
    let tasks: Vec<String> = tasks
        .iter()
        .filter(|(id, _)| ids.insert(*id))
        .map(|(id, state)| {
            let name = ["RUNNING", "STAGING", "KILLING", "KILLED", "LOST"][usize::from(*state)];
            let host = id % 4;
            format!(
                r#"{{"id":"t{id}","host":"node{host}.example","ports":[3100{id}],
                    "ipAddresses":[{{"ipAddress":"9.0.0.{id}"}}],"state":"TASK_{name}"}}"#
            )
        })
        .collect();
    let networking = match shape {
        0 => r#""portDefinitions":[{"port":10000}]"#,
        1 => {
            r#""networks":[{"mode":"container/bridge"}],"container":{"portMappings":
                [{"containerPort":80,"hostPort":0,"servicePort":10001}]}"#
        }
        // Without service ports: these are invented.
        2 => r#""ports":[],"ipAddress":{"discovery":{"ports":[{"number":80},{"number":81}]}}"#,
        _ => r#""portDefinitions":[]"#,
    };
    let text = format!(
        r#"{{"app":{{"id":"/a{n}","labels":{{"l":"{label}"}},{networking},"instances":0,
            "tasks":[{}]}}}}"#,
        tasks.join(",")
    );
    waymark_marathon_api::answer::app(text.as_bytes()).unwrap().unwrap()
}

fn entries(catalog: &Catalog) -> Vec<(AppId, AppEntry)> {
    catalog.apps.iter().map(|(id, entry)| (id.clone(), (**entry).clone())).collect()
}

proptest! {
    /// Following single apps leads to the same catalog as reading everything anew.
    #[test]
    fn single_answers_lead_where_a_full_list_leads(
        steps in prop::collection::vec((any_app(), any::<bool>()), 1..30),
    ) {
        let mut world: BTreeMap<AppId, AppFacts> = BTreeMap::new();
        let mut state = state();
        let (mut writer, reader) = Writer::new(0);
        for (app, there) in &steps {
            let facts = written(app);
            let id = facts.id.clone();
            let told = match there {
                true => Told::Facts(Box::new(facts.clone())),
                false => Told::Gone,
            };
            match there {
                true => world.insert(id.clone(), facts),
                false => world.remove(&id),
            };
            state.take_app(&id, told);
            writer.publish(state.changes(&Names));
        }
        let mut anew = self::state();
        let listing = Listing { apps: world.into_values().collect(), unreadable: Vec::new() };
        anew.take_listing(listing, &HashSet::new(), Instant::now(), PATIENCE);
        let (mut other, fresh) = Writer::new(0);
        other.publish(anew.changes(&Names));
        prop_assert_eq!(entries(&reader.latest()), entries(&fresh.latest()));
    }

    /// Nothing that is answered makes a panic.
    #[test]
    fn no_answer_makes_a_panic(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = include_bytes!("shapes/1.4.json").to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(read) = listing(&bytes) {
            let mut state = state();
            state.take_listing(read, &HashSet::new(), Instant::now(), PATIENCE);
            let _ = state.changes(&Names);
        }
        let _ = listing(&bytes[..at]);
    }
}
