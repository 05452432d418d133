//! Every label with a meaning, with real requests through the running binary: one table of cases,
//! each with apps of its own on host names of its own. All apps are deployed at once; what a label
//! does is then looked at until it shows, or the time is over.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a story fails by panicking"
)]

mod client;
mod haproxy;
mod own;
mod story;

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::json;
use waymark_routing::{Family, Scope, labels};
use waymark_stories::{eventually, get};

use crate::story::{App, Case, Story, expect};

fn cases() -> Vec<Case> {
    [haproxy::cases(), own::cases()].concat()
}

/// Deploys all cases and looks at several of them at a time.
fn run(flags: &[&str], cases: &[Case]) {
    let story = Story::start(flags);
    story.deploy(cases);
    let left = Mutex::new(cases.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(case) = { left.lock().unwrap().next() } {
                    if let Err(reason) = story.check(case) {
                        eprintln!("{reason}");
                        failed.lock().unwrap().push(reason);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[test]
fn every_label_does_what_it_says() {
    let wanted = std::env::var("STORY_LABEL").unwrap_or_default();
    let cases: Vec<Case> = cases().into_iter().filter(|c| c.name.contains(&wanted)).collect();
    run(&["--group=*"], &cases);
}

#[test]
fn groups_and_strict_mode_say_what_is_exposed() {
    run(&["--group=external", "--strict-mode=true"], &haproxy::exposure());
}

#[test]
fn apps_say_how_the_balancer_checks_their_tasks() {
    run(&["--group=*", "--active-checks=true", "--check-interval=1h"], &own::checks());
}

/// A change with a label that cannot be read: the routes before it stay and follow the new tasks, and
/// the stats port says why; mending the label puts all of it into effect.
#[test]
fn a_label_that_cannot_be_read_keeps_the_last_good_routes() {
    let case = Case {
        name: "kept",
        apps: vec![App::whoami(&[("HAPROXY_0_VHOST", "{host}")])],
        check: |at| expect("status", at.get("/")?.status, 200),
    };
    let story = Story::start(&[]);
    story.deploy(std::slice::from_ref(&case));
    story.check(&case).unwrap();
    let (waymark, at) = (&story.waymark, story.at(&case));
    let before = waymark.task_ids("/kept-0");
    let change = |weight: &str| {
        let labels = json!({"HAPROXY_0_VHOST": "new.lb.test", "HAPROXY_0_BACKEND_WEIGHT": weight});
        let reply = waymark.send("PUT", "/v2/apps/kept-0", &json!({"labels": labels}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        waymark.wait_for_app("/kept-0", 1);
    };
    change("heavy");
    assert_ne!(waymark.task_ids("/kept-0"), before, "its tasks are new");
    let quarantine = format!("{}/v1/quarantine", waymark.endpoint("stats").unwrap());
    eventually("the reason shows", || {
        let shown = get(&quarantine).ok()?.body;
        (shown.contains("/kept-0") && shown.contains("HAPROXY_0_BACKEND_WEIGHT")).then_some(())
    });
    story.check(&case).unwrap();
    assert_eq!(at.get_host("new.lb.test").unwrap().status, 503);
    change("7");
    eventually("the new name is served", || {
        (at.get_host("new.lb.test").ok()?.status == 200).then_some(())
    });
    assert_eq!(at.get("/").unwrap().status, 503);
    assert!(!get(&quarantine).unwrap().body.contains("HAPROXY_0_BACKEND_WEIGHT"));
}

/// Labels that zdd.py reads, and the one about DNS, say nothing about traffic.
const ELSEWHERE: &[&str] = &[
    "HAPROXY_DEPLOYMENT_ALT_PORT",
    "HAPROXY_DEPLOYMENT_COLOUR",
    "HAPROXY_APP_ID",
    "WAYMARK_DNS_TTL",
];

#[test]
fn every_label_has_a_case() {
    let all = [cases(), haproxy::exposure(), own::checks()].concat();
    let used: BTreeSet<&str> = all
        .iter()
        .flat_map(|case| case.apps.iter())
        .flat_map(|app| app.labels)
        .map(|l| l.0)
        .collect();
    let missing: Vec<String> = labels()
        .iter()
        .filter(|label| label.applies())
        .map(|label| match label.scope {
            Scope::App => label.at(""),
            Scope::Port => label.at(0),
        })
        .filter(|label| !used.contains(label.as_str()) && !ELSEWHERE.contains(&label.as_str()))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
    assert!(labels().iter().any(|l| l.family == Family::Waymark));
}
