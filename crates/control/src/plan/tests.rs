use std::sync::Arc;

use waymark_model::{Group, PathId, Timestamp};

use super::*;

fn id(text: &str) -> PathId {
    PathId::parse(text).unwrap()
}

/// `"/a*2 2 /b /g"`: the app `/a`, configured at 2, with 2 instances, depending on `/b` and `/g`.
fn root(apps: &[(&str, u32, u64, &[&str])], groups: &[(&str, &[&str])]) -> Root {
    let mut root = Root::default();
    for (name, instances, config, needs) in apps {
        let mut app = App::new(id(name));
        app.instances = *instances;
        app.last_config_change_at = Timestamp(*config);
        app.dependencies = needs.iter().map(|n| id(n)).collect();
        root.apps.insert(app.id.clone(), Arc::new(app));
    }
    for (name, needs) in groups {
        let dependencies = needs.iter().map(|n| id(n)).collect();
        let group = Group { dependencies, version: Timestamp(1) };
        root.groups.insert(id(name), Arc::new(group));
    }
    root
}

fn text(steps: &[Step]) -> String {
    let action = |a: &Action| {
        let kind = a.kind.as_str().trim_end_matches("Application").to_lowercase();
        format!("{kind} {}", a.app)
    };
    let step = |s: &Step| s.actions.iter().map(action).collect::<Vec<_>>().join(", ");
    steps.iter().map(step).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(old: &Root, new: &Root, want: &str) {
    let touched = old.apps.keys().chain(new.apps.keys()).cloned().collect();
    assert_eq!(plan(old, new, &touched).map(|s| text(&s)).as_deref(), Ok(want));
}

#[test]
fn one_app() {
    let none = root(&[], &[]);
    let two = root(&[("/a", 2, 1, &[])], &[]);
    check(&none, &two, "start /a; scale /a");
    check(&two, &none, "stop /a");
    check(&two, &two, "");
    check(&two, &root(&[("/a", 3, 1, &[])], &[]), "scale /a");
    check(&two, &root(&[("/a", 3, 2, &[])], &[]), "restart /a");
    check(&two, &root(&[("/a", 0, 2, &[])], &[]), "scale /a");
}

#[test]
fn order_of_many() {
    let old = root(&[("/gone", 1, 1, &[]), ("/web", 1, 1, &[])], &[]);
    let new = root(
        &[
            ("/web", 1, 2, &["/api"]),
            ("/api", 1, 1, &["/stores"]),
            ("/stores/db", 1, 1, &[]),
            ("/stores/cache", 1, 1, &["/stores/db"]),
            ("/alone", 1, 1, &["/missing"]),
        ],
        &[],
    );
    check(
        &old,
        &new,
        "stop /gone; start /alone, start /api, start /stores/cache, start /stores/db; \
         scale /alone, scale /stores/db; scale /stores/cache; scale /api; restart /web",
    );
}

#[test]
fn dependencies_of_groups_count_for_their_apps() {
    let none = root(&[], &[]);
    let new = root(
        &[("/shop/deep/web", 1, 1, &[]), ("/base/db", 1, 1, &[])],
        &[("/shop", &["/base"]), ("/base", &[])],
    );
    check(
        &none,
        &new,
        "start /base/db, start /shop/deep/web; scale /base/db; scale /shop/deep/web",
    );
}

#[test]
fn unchanged_dependencies_keep_the_order_but_get_no_step() {
    let apps: &[(&str, u32, u64, &[&str])] =
        &[("/a", 1, 1, &[]), ("/b", 1, 1, &["/a"]), ("/c", 1, 1, &["/b"])];
    let old = root(apps, &[]);
    let new = root(&[("/a", 2, 1, &[]), ("/b", 1, 1, &["/a"]), ("/c", 2, 1, &["/b"])], &[]);
    check(&old, &new, "scale /a; scale /c");
}

#[test]
fn cycles_are_refused() {
    let none = root(&[], &[]);
    let new = root(&[("/a", 1, 1, &["/b"]), ("/b", 1, 1, &["/a"])], &[]);
    let touched = new.apps.keys().cloned().collect();
    assert!(plan(&none, &new, &touched).is_err());
    let itself = root(&[("/g/a", 1, 1, &["/g"])], &[]);
    let touched = itself.apps.keys().cloned().collect();
    assert_eq!(plan(&none, &itself, &touched), Err(Cycle(id("/g/a"))));
}

#[test]
fn a_chain_of_ten_thousand() {
    let mut new = Root::default();
    for n in 0..10_000 {
        let mut app = App::new(id(&format!("/a{n}")));
        app.dependencies = (n > 0).then(|| id(&format!("/a{}", n - 1))).into_iter().collect();
        new.apps.insert(app.id.clone(), Arc::new(app));
    }
    let touched = new.apps.keys().cloned().collect();
    assert_eq!(plan(&Root::default(), &new, &touched).unwrap().len(), 10_001);
}
