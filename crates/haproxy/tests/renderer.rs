//! What a renderer remembers between two renderings changes nothing about what it says.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use waymark_haproxy::Rendered;
use waymark_model::{Catalog, Timestamp};

/// The apps of all golden cases.
fn apps() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let cases = files.iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
    let read = |path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap();
    let of_case = |case: Value| {
        let single = vec![case["apps"].clone()];
        let steps = case["steps"].as_array().unwrap_or(&single).clone();
        steps.into_iter().flat_map(|apps| apps.as_array().unwrap().clone())
    };
    cases.map(read).flat_map(of_case).collect()
}

/// A catalog of these apps, the later of two with one id. Apps that are as before keep their entry, as in a
/// catalog that is followed.
fn catalog(apps: &[&Value], before: &Catalog) -> Catalog {
    let by_id: BTreeMap<&str, &Value> =
        apps.iter().map(|app| (app["id"].as_str().unwrap(), *app)).collect();
    let apps: Vec<&Value> = by_id.into_values().collect();
    let mut catalog = support::catalog(&json!({ "apps": apps }), before.version + 1);
    for (id, entry) in &before.apps {
        if catalog.apps.get(id).is_some_and(|new| new == entry) {
            catalog.apps.insert(id.clone(), entry.clone());
        }
    }
    catalog
}

fn fresh(case: &Value, catalog: &Catalog) -> Rendered {
    support::renderer(case).render(catalog, Timestamp(1)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn step_by_step_is_as_at_once(
        steps in vec(vec(any::<Index>(), 0..12), 1..6),
        maps in any::<bool>(),
        group_https_by_vhost in any::<bool>(),
        health_check in any::<bool>(),
    ) {
        let pool = apps();
        let settings = json!({
            "maps": maps, "group_https_by_vhost": group_https_by_vhost, "health_check": health_check,
        });
        let case = json!({ "settings": settings });
        let mut renderer = support::renderer(&case);
        let mut before = Catalog::default();
        for step in &steps {
            let chosen: Vec<&Value> = step.iter().map(|index| index.get(&pool)).collect();
            let now = catalog(&chosen, &before);
            let rendered = renderer.render(&now, Timestamp(1)).unwrap();
            prop_assert_eq!(&rendered, &fresh(&case, &now));
            // Asking again changes nothing.
            prop_assert_eq!(&renderer.render(&now, Timestamp(2)).unwrap(), &rendered);
            before = now;
        }
    }

    #[test]
    fn an_app_never_changes_what_another_gets(chosen in vec(any::<Index>(), 1..8)) {
        let pool = apps();
        let case = json!({});
        let chosen: Vec<&Value> = chosen.iter().map(|index| index.get(&pool)).collect();
        let all = catalog(&chosen, &Catalog::default());
        let together = fresh(&case, &all);
        let conflicts = !together.conflicts.is_empty();
        let alone = |id: &waymark_model::AppId| {
            let mut one = all.clone();
            one.apps = all.apps.get(id).map(|entry| (id.clone(), entry.clone())).into_iter().collect();
            fresh(&case, &one)
        };
        for (id, entry) in &all.apps {
            if conflicts || entry.labels.contains_key("HAPROXY_DEPLOYMENT_GROUP") {
                continue;
            }
            for (name, backend) in alone(id).backends {
                prop_assert_eq!(together.backends.get(&name), Some(&backend));
            }
        }
    }
}

/// What HAProxy refuses is refused until the app changes; the frame says whether servers alone changed.
#[test]
fn haproxys_word_counts_and_the_frame_is_without_servers() {
    let app = |label: &str, tasks: usize| {
        let task = |n| json!({ "id": format!("t.{n}"), "host": format!("agent{n}.test"), "ports": [31000] });
        let tasks: Vec<Value> = (1..=tasks).map(task).collect();
        json!({ "id": "/a", "labels": { "HAPROXY_0_BALANCE": label }, "ports": [80], "tasks": tasks })
    };
    let mut renderer = support::renderer(&json!({}));
    let mut before = Catalog::default();
    let mut render = |renderer: &mut waymark_haproxy::Renderer, app: Value| {
        before = catalog(&[&app], &before);
        renderer.render(&before, Timestamp(5)).unwrap()
    };
    let good = render(&mut renderer, app("roundrobin", 1));
    assert_eq!(renderer.suspects().len(), 1);
    renderer.accept();
    assert_eq!(renderer.suspects().len(), 0);

    let scaled = render(&mut renderer, app("roundrobin", 2));
    assert_eq!(good.frame, scaled.frame);
    assert_eq!(scaled.backends["a_80"].servers.len(), 2);
    assert!(!scaled.frame.contains("server agent") && scaled.config.contains("server agent2_test"));

    let bad = render(&mut renderer, app("nonsense", 2));
    assert_ne!(bad.frame, scaled.frame);
    let suspects = renderer.suspects();
    renderer.refuse(&suspects[0], "unknown algorithm".to_owned(), Timestamp(6));
    let kept = render(&mut renderer, app("nonsense", 3));
    assert_eq!(kept.frame, scaled.frame);
    assert_eq!(kept.backends["a_80"].servers.len(), 3);
    assert_eq!((kept.refused[0].app.as_str(), kept.refused[0].kept), ("/a", true));
    let mended = render(&mut renderer, app("leastconn", 3));
    assert!(mended.refused.is_empty() && mended.config.contains("balance leastconn"));
}

#[test]
fn the_reference_page_is_the_one_in_docs() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/haproxy/templates.md");
    if std::env::var_os("WAYMARK_WRITE_DOCS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, waymark_haproxy::reference()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == waymark_haproxy::reference(), "WAYMARK_WRITE_DOCS=1 writes it anew");
}
