use super::*;

/// 2026-01-02T03:04:05.678901
const NOW: Duration = Duration::from_micros(1_767_323_045_678_901);

fn document() -> Value {
    json!({"id": "/shop/web", "instances": 3, "cmd": "run", "labels": {
        "HAPROXY_DEPLOYMENT_GROUP": "web", "HAPROXY_DEPLOYMENT_ALT_PORT": "10001"},
        "portDefinitions": [{"port": 10000}]})
}

fn wanted(initial: u32, new_instances: u32) -> Wanted {
    Wanted { initial, new_instances }
}

/// The app of a deployment, as Marathon has it later.
fn deployed(last: Option<&Value>) -> Value {
    prepare(document(), last, wanted(1, 0), NOW).unwrap()
}

fn shown(app: &Value) -> String {
    let label = |name: &str| label(app, name).unwrap_or("-").to_owned();
    format!(
        "{} x{} port {} for {}; {} of {}, new {}, since {}",
        app["id"].as_str().unwrap(),
        app["instances"],
        port::service_port(app).unwrap(),
        label("HAPROXY_0_PORT"),
        label("HAPROXY_DEPLOYMENT_COLOUR"),
        label("HAPROXY_DEPLOYMENT_TARGET_INSTANCES"),
        label("HAPROXY_DEPLOYMENT_NEW_INSTANCES"),
        label("HAPROXY_DEPLOYMENT_STARTED_AT"),
    )
}

#[test]
fn colours_and_ports_alternate() {
    let first = deployed(None);
    assert_eq!(
        shown(&first),
        "/shop/web-blue x3 port 10000 for 10000; blue of 3, new 0, since 2026-01-02T03:04:05.678901"
    );
    assert_eq!(first["labels"]["HAPROXY_APP_ID"], "/shop/web");
    let second = deployed(Some(&first));
    assert_eq!(
        shown(&second),
        "/shop/web-green x1 port 10001 for 10000; green of 3, new 0, since \
         2026-01-02T03:04:06.000000",
        "two at one time would be told apart by nobody"
    );
    let third = deployed(Some(&second));
    assert!(shown(&third).starts_with("/shop/web-blue x1 port 10000 for 10000; blue of 1"));
}

#[test]
fn ports_alternate_in_every_generation() {
    let bodies = [
        json!({"ports": [10000]}),
        json!({"portDefinitions": [{"port": 10000}]}),
        json!({"container": {"portMappings": [{"containerPort": 80, "servicePort": 10000}]}}),
        json!({"container": {"docker": {"portMappings": [{"servicePort": 10000}]}}}),
    ];
    for body in bodies {
        let mut document = document();
        document.as_object_mut().unwrap().remove("portDefinitions");
        document.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let mut last = None;
        for want in [10000, 10001, 10000, 10001] {
            let app = prepare(document.clone(), last.as_ref(), wanted(1, 0), NOW).unwrap();
            assert_eq!(port::service_port(&app), Some(want), "{app}");
            assert_eq!(app["labels"]["HAPROXY_0_PORT"], "10000");
            last = Some(app);
        }
    }
}

#[test]
fn numbers_are_capped_by_what_is_there() {
    let mut last = deployed(None);
    last["instances"] = json!(4);
    let cases = [
        (1, 0, 1, "0"),
        (9, 0, 4, "0"),
        (0, 0, 1, "0"),
        (3, 2, 2, "2"),
        (1, 2, 1, "2"),
        (1, 9, 1, "4"),
        (9, 9, 4, "4"),
    ];
    for (initial, new, instances, label) in cases {
        let app = prepare(document(), Some(&last), wanted(initial, new), NOW).unwrap();
        assert_eq!(app["instances"], instances, "-i {initial} -n {new}");
        assert_eq!(app["labels"]["HAPROXY_DEPLOYMENT_NEW_INSTANCES"], label);
        assert_eq!(app["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"], "4");
    }
    last["instances"] = json!(0);
    assert_eq!(deployed(Some(&last))["instances"], 0, "a suspended app stays suspended");
}

#[test]
fn what_is_missing_is_named() {
    let without = |pointer: &str, name: &str| {
        let mut document = document();
        document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
        prepare(document, None, wanted(1, 0), NOW).unwrap_err().to_string()
    };
    for (pointer, name, part) in [
        ("", "id", "missing: id"),
        ("", "labels", "missing: labels"),
        ("/labels", "HAPROXY_DEPLOYMENT_GROUP", "missing: HAPROXY_DEPLOYMENT_GROUP"),
        ("/labels", "HAPROXY_DEPLOYMENT_ALT_PORT", "missing: HAPROXY_DEPLOYMENT_ALT_PORT"),
        ("", "portDefinitions", "missing: service port"),
    ] {
        let error = without(pointer, name);
        assert!(error.contains(part), "{error}");
    }
    let mut last = deployed(Some(&deployed(None)));
    last["labels"].as_object_mut().unwrap().remove("HAPROXY_0_PORT");
    let error = prepare(document(), Some(&last), wanted(1, 0), NOW).unwrap_err();
    assert!(error.to_string().contains("HAPROXY_0_PORT"), "{error}");
    let mut odd = document();
    odd["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"] = json!("high");
    assert!(validate(&odd).unwrap_err().to_string().contains("\"high\""));
}

#[test]
fn a_deployment_starts_after_the_one_before() {
    let mut last = deployed(None);
    for (before, after) in [
        ("2020-01-01T00:00:00", "2026-01-02T03:04:05.678901"),
        ("2026-01-02T09:04:05.000000", "2026-01-02T09:04:06.000000"),
        ("2026-01-02T09:04:05+02:00", "2026-01-02T09:04:06.000000"),
    ] {
        last["labels"][STARTED_AT] = json!(before);
        let app = deployed(Some(&last));
        assert_eq!(label(&app, STARTED_AT), Some(after));
        assert!(started_at(&app) > before);
    }
}

#[test]
fn nulls_are_left_out() {
    let value = json!({"a": null, "b": {"c": null, "d": [{"e": null}, null, 1]}});
    assert_eq!(without_nulls(value), json!({"b": {"d": [{}, null, 1]}}));
}
