//! Definitions as clients send them: what they become, and what is refused how.

use proptest::prelude::*;
use serde_json::{Value, json};
use waymark_model::{App, NetworkMode, PathId, Protocol};

use super::{AppUpdate, AppView, app_from_stored, app_to_stored};
use crate::{ApiError, to_text};

fn complete(value: &Value) -> Result<App, ApiError> {
    let update = AppUpdate::from_json(value.to_string().as_bytes())?;
    let id = update.need_id()?;
    update.complete(id)
}

fn shown(value: &Value) -> Value {
    let app = complete(value).unwrap_or_else(|e| panic!("{}", e.body()));
    serde_json::from_str(&to_text(&AppView::plain(&app))).unwrap()
}

#[test]
fn the_smallest_app_has_every_default() {
    assert_eq!(
        shown(&json!({"id": "a", "cmd": "sleep 1"})),
        json!({
            "id": "/a", "cmd": "sleep 1", "instances": 1, "cpus": 1, "mem": 128, "disk": 0,
            "gpus": 0, "executor": "", "networks": [{"mode": "host"}],
            "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "default"}],
            "requirePorts": false, "labels": {}, "backoffSeconds": 1, "backoffFactor": 1.15,
            "maxLaunchDelaySeconds": 300,
            "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
            "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
            "killSelection": "YOUNGEST_FIRST", "version": "1970-01-01T00:00:00.000Z",
            "versionInfo": {"lastScalingAt": "1970-01-01T00:00:00.000Z",
                            "lastConfigChangeAt": "1970-01-01T00:00:00.000Z"},
        })
    );
}

#[test]
fn old_notations_become_canonical() {
    let ports = shown(
        &json!({"id": "a", "cmd": "x", "ports": [0, 80], "uris": ["http://h/a.tgz", "http://h/b"]}),
    );
    assert_eq!(
        ports["portDefinitions"],
        json!([{"port": 0, "protocol": "tcp"}, {"port": 80, "protocol": "tcp"}])
    );
    assert_eq!(ports["fetch"][0]["extract"], true);
    assert_eq!(ports["fetch"][1]["extract"], false);
    assert!(ports.get("uris").is_none() && ports.get("ports").is_none());

    let bridge = shown(&json!({"id": "a", "container": {"type": "DOCKER", "docker": {
        "image": "nginx", "network": "BRIDGE",
        "portMappings": [{"containerPort": 80, "protocol": "tcp,udp", "servicePort": 10001}]}}}));
    assert_eq!(bridge["networks"], json!([{"mode": "container/bridge"}]));
    assert_eq!(
        bridge["container"]["portMappings"],
        json!([{"containerPort": 80, "hostPort": 0, "servicePort": 10001, "protocol": "udp,tcp", "labels": {}}])
    );
    assert!(bridge.get("portDefinitions").is_none());
    assert!(bridge["container"]["docker"].get("portMappings").is_none());

    let address = complete(&json!({"id": "a", "cmd": "x", "ipAddress": {"networkName": "net",
        "discovery": {"ports": [{"number": 53, "name": "dns", "protocol": "udp"}]}}}))
    .unwrap();
    assert_eq!(address.networks[0].mode, NetworkMode::Container);
    let port = address.ports()[0];
    assert_eq!((port.container_port, port.host_port), (Some(53), None));
    assert_eq!((port.protocol, port.name), (Protocol::Udp, Some("dns")));
}

#[test]
fn no_ports_is_not_the_same_as_no_word_about_ports() {
    assert_eq!(
        shown(&json!({"id": "a", "cmd": "x", "portDefinitions": []}))["portDefinitions"],
        json!([])
    );
    assert_eq!(shown(&json!({"id": "a", "cmd": "x", "ports": []}))["portDefinitions"], json!([]));
    let bridge = json!({"id": "a", "networks": [{"mode": "container/bridge"}], "cmd": "x"});
    assert_eq!(
        shown(&bridge)["container"]["portMappings"],
        json!([{"containerPort": 0, "hostPort": 0, "servicePort": 0, "protocol": "tcp", "labels": {}, "name": "default"}])
    );
}

#[test]
fn a_partial_update_replaces_whole_fields_and_keeps_the_rest() {
    let stored = complete(&json!({
        "id": "a", "cmd": "x", "labels": {"a": "1", "b": "2"}, "env": {"A": "1"}, "role": "r",
        "portDefinitions": [{"port": 80, "name": "http"}], "executorResources": {"cpus": 0.1},
    }))
    .unwrap();
    let put = |value: Value| {
        AppUpdate::from_json(value.to_string().as_bytes()).unwrap().apply_to(&stored).unwrap()
    };
    assert_eq!(put(json!({})), stored);
    assert_eq!(put(json!({"instances": 3})), App { instances: 3, ..stored.clone() });
    assert_eq!(put(json!({"labels": {"c": "3"}})).labels.len(), 1);
    assert_eq!(put(json!({"cmd": null})), stored, "null is absent");
    let args = put(json!({"args": ["y"]}));
    assert_eq!((args.cmd, args.args), (None, Some(vec!["y".to_owned()])));
    let bridge = put(json!({"networks": [{"mode": "container/bridge"}]}));
    assert_eq!(bridge.ports().len(), 1, "definitions of host mode do not become mappings");
}

/// An answer of Marathon 1.4, sent back by its client: explicit nulls, old and new notations at
/// once, counters and stamps.
#[test]
fn what_old_clients_send_back() {
    let app = shown(&json!({
        "id": "/a", "cmd": "x", "args": [], "user": null, "env": {}, "instances": 2, "cpus": 0.1,
        "uris": [], "fetch": [], "ports": [10000], "requirePorts": false, "container": {
            "type": "DOCKER", "volumes": [], "docker": {"image": "i", "network": "BRIDGE",
            "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10000,
                              "protocol": "tcp", "labels": {}}],
            "privileged": false, "parameters": [], "forcePullImage": false}},
        "portDefinitions": [{"port": 10000, "protocol": "tcp", "labels": {}}],
        "ipAddress": null, "residency": null, "secrets": {}, "storeUrls": [], "healthChecks": [],
        "acceptedResourceRoles": null, "taskKillGracePeriodSeconds": null, "tasksRunning": 2,
        "version": "2016-01-05T10:00:00.120Z", "deployments": [],
        "versionInfo": {"lastScalingAt": "2016-01-05T10:00:00.120Z", "lastConfigChangeAt": "2016-01-05T10:00:00.120Z"},
    }));
    assert_eq!(
        app["container"]["portMappings"],
        json!([{"containerPort": 80, "hostPort": 0, "servicePort": 10000, "protocol": "tcp", "labels": {}}])
    );
    for absent in ["args", "ports", "uris", "portDefinitions", "tasksRunning", "residency"] {
        assert_eq!(app.get(absent), None, "{absent}");
    }
}

#[test]
fn usual_strategies() {
    let strategy = |extra: Value| {
        let mut app = json!({"id": "/a", "cmd": "x"});
        app.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let app = shown(&app);
        let upgrade = &app["upgradeStrategy"];
        json!([
            upgrade["minimumHealthCapacity"],
            upgrade["maximumOverCapacity"],
            app["unreachableStrategy"]
        ])
    };
    let forgotten = json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0});
    let single = json!({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}});
    assert_eq!(strategy(single), json!([0, 0, forgotten]));
    let volume = json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 5}});
    let resident = json!({"container": {"type": "MESOS", "volumes": [volume]}});
    assert_eq!(strategy(resident), json!([0.5, 0, "disabled"]));
}

#[test]
fn what_is_refused() {
    let port = |name: &str| json!({"port": 0, "name": name});
    for (extra, path, message) in [
        (
            json!({"args": ["x"]}),
            "/",
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.",
        ),
        (
            json!({"ports": [1], "portDefinitions": [{"port": 2}]}),
            "/",
            "cannot specify both ports and port definitions",
        ),
        (json!({"ports": [5, 5]}), "/ports", "ports must be unique"),
        (
            json!({"portDefinitions": [{"port": 5}, {"port": 5}]}),
            "/portDefinitions",
            "Ports must be unique.",
        ),
        (
            json!({"portDefinitions": [port("a"), port("a")]}),
            "/portDefinitions",
            "Port names must be unique.",
        ),
        (
            json!({"uris": ["u"], "fetch": [{"uri": "u"}]}),
            "/",
            "cannot specify both uris and fetch fields",
        ),
        (
            json!({"env": {"A": {"secret": "s"}}}),
            "/env",
            "Feature secrets is not enabled. Enable with --enable_features secrets)",
        ),
        (
            json!({"networks": [{"mode": "container"}]}),
            "/networks",
            "Network name must be specified when container network is selected.",
        ),
        (
            json!({"networks": [{"mode": "host"}, {"mode": "container/bridge"}]}),
            "/networks",
            "May specify a single host network, single bridge network, or else 1-to-n container networks",
        ),
        (
            json!({"networks": [{"mode": "host", "name": "n"}]}),
            "/networks",
            "Host networks may not have names or labels",
        ),
        (
            json!({"networks": [{"mode": "container/bridge", "name": "n"}]}),
            "/networks",
            "Bridge networks may not have names",
        ),
        (
            json!({"networks": [{"name": "n"}, {"name": "n"}]}),
            "/networks",
            "Duplicate networks are not allowed",
        ),
        (
            json!({"networks": [{"mode": "host"}], "ipAddress": {}}),
            "/",
            "must not specify both networks and ipAddress",
        ),
        (json!({"ports": [1], "ipAddress": {}}), "/", "cannot specify both an IP address and port"),
        (
            json!({"networks": [{"name": "n"}], "container": {"type": "MESOS", "portMappings": [{"networkNames": ["m"]}]}}),
            "/container/portMappings(0)/networkNames(0)",
            "is not one of (n)",
        ),
        (
            json!({"healthChecks": [{"portIndex": 1}]}),
            "/healthChecks(0)",
            "Health check port indices must address an element of the ports array or container port mappings.",
        ),
        (
            json!({"healthChecks": [{"protocol": "COMMAND", "command": {"value": "x"}}, {"protocol": "MESOS_TCP"}]}),
            "/healthChecks",
            "AppDefinition can contain at most one Mesos health check",
        ),
        (
            json!({"readinessChecks": [{}]}),
            "/readinessChecks(0)/portName",
            "No port definition reference for portName http-api",
        ),
        (
            json!({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "instances": 2}),
            "/instances",
            "Single instance app may only have one instance",
        ),
        (
            json!({"constraints": [["hostname"]]}),
            "/constraints(0)",
            "Each constraint must have either 2 or 3 fields",
        ),
        (
            json!({"constraints": [["hostname", "UNIQUE", "x"]]}),
            "/constraints(0)",
            "UNIQUE does not accept a value",
        ),
        (
            json!({"constraints": [["hostname", "MAX_PER", "x"]]}),
            "/constraints(0)",
            "MAX_PER requires an integer value",
        ),
        (
            json!({"dependencies": ["Bad_One"]}),
            "/dependencies(0)",
            "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'",
        ),
        (json!({"acceptedResourceRoles": []}), "/acceptedResourceRoles", "must not be empty"),
        (
            json!({"id": "/a/tasks"}),
            "/id",
            "must not end with any of the following reserved keywords: restart, tasks, versions, ., ..",
        ),
        (json!({"cmd": "a\0b"}), "/cmd", "must not contain the character NUL"),
        (json!({"env": {"A": "\0"}}), "/env/A", "must not contain the character NUL"),
        (
            json!({"env": {"A=B": "x"}}),
            "/env/A=B",
            "the name must not be empty and must not contain '='",
        ),
        (json!({"fetch": [{"uri": "a b"}]}), "/fetch(0)/uri", "URI has invalid syntax."),
        (
            json!({"gpus": 1}),
            "/gpus",
            "Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)",
        ),
        (
            json!({"gpus": 1, "container": {"docker": {"image": "i"}}}),
            "/gpus",
            "GPU resources only work with the Mesos containerizer",
        ),
        (
            json!({"cpus": 2, "resourceLimits": {"cpus": 1.5, "mem": "unlimited"}}),
            "/resourceLimits/cpus",
            "must be at least what is requested, 2",
        ),
        (
            json!({"unreachableStrategy": {"inactiveAfterSeconds": 2, "expungeAfterSeconds": 1}}),
            "/unreachableStrategy/inactiveAfterSeconds",
            "must not be greater than expungeAfterSeconds",
        ),
        (
            json!({"residency": {}}),
            "/residency",
            "AppDefinition must contain persistent volumes and define residency",
        ),
        (
            json!({"container": {"type": "MESOS", "volumes": [
                {"containerPath": "/data", "mode": "RW", "persistent": {"size": 5}}]}}),
            "/container/volumes(0)/containerPath",
            "must be a name without '/' for a persistent volume",
        ),
        (
            json!({"container": {"type": "MESOS", "docker": {"image": "i", "network": "BRIDGE"}}}),
            "/container/docker/network",
            "must be empty",
        ),
        (
            json!({"portDefinitions": [{"port": 1}], "ipAddress": {}}),
            "/",
            "cannot specify both an IP address and port",
        ),
        (
            json!({"container": {"docker": {"image": "i", "network": "NONE"}}}),
            "/container/docker/network",
            "unsupported docker network type NONE",
        ),
        (
            json!({"networks": [{"mode": "host"}], "container": {"docker": {"image": "i", "network": "HOST"}}}),
            "/",
            "must not specify both container.docker.network and networks",
        ),
        (
            json!({"container": {"portMappings": [], "docker": {"image": "i", "network": "BRIDGE", "portMappings": []}}}),
            "/container",
            "cannot specify both portMappings and docker.portMappings",
        ),
        (
            json!({"container": {"docker": {"image": "i"}}, "ipAddress": {"discovery": {"ports": [{"number": 1}]}}}),
            "/ipAddress/discovery/ports",
            "ipAddress.discovery.ports do not apply for container type DOCKER",
        ),
        (
            json!({"container": {"type": "MESOS", "portMappings": []}, "ipAddress": {"discovery": {"ports": [{"number": 1}]}}}),
            "/ipAddress/discovery/ports",
            "container.portMappings and ipAddress.discovery.ports must not both be set",
        ),
        (
            json!({"networks": [{"name": "n"}, {"name": "m"}], "container": {"docker": {"image": "i"}}}),
            "/networks",
            "may only specify a single container network when using the Docker container engine",
        ),
        (
            json!({"networks": [{"name": "n"}, {"name": "m"}], "container": {"type": "MESOS", "portMappings": [{"hostPort": 0}]}}),
            "/container/portMappings(0)/networkNames",
            "networkNames must be a single item list when hostPort is specified and more than 1 container network is defined",
        ),
    ] {
        let mut app = json!({"id": "/a", "cmd": "x"});
        app.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = complete(&app).expect_err(&extra.to_string());
        let body: Value = serde_json::from_str(&error.body()).unwrap();
        assert_eq!(
            (error.status(), &body["message"]),
            (422, &json!("Object is not valid")),
            "{extra}"
        );
        let want = json!({"path": path, "errors": [message]});
        assert!(body["details"].as_array().unwrap().contains(&want), "{extra}: {body}");
    }
}

#[test]
fn wrong_types_have_codes() {
    for (extra, path, code) in [
        (json!({"instances": "1"}), "/instances", "error.expected.jsnumber"),
        (json!({"instances": -1}), "/instances", "error.min"),
        (json!({"cpus": 0}), "/cpus", "error.min"),
        (json!({"cmd": ""}), "/cmd", "error.minLength"),
        (json!({"env": {"A": 1}}), "/env/A", "error.expected.jsstring"),
        (json!({"portDefinitions": [{"port": 70000}]}), "/portDefinitions(0)/port", "error.max"),
        (
            json!({"portDefinitions": [{"name": "A_b"}]}),
            "/portDefinitions(0)/name",
            "error.pattern",
        ),
        (
            json!({"portDefinitions": [{"protocol": "sctp"}]}),
            "/portDefinitions(0)/protocol",
            "error.unknown.enum.literal",
        ),
        (json!({"killSelection": "X"}), "/killSelection", "error.unknown.enum.literal"),
        (
            json!({"upgradeStrategy": {"minimumHealthCapacity": 1.5}}),
            "/upgradeStrategy/minimumHealthCapacity",
            "error.max",
        ),
    ] {
        let mut app = json!({"id": "/a", "cmd": "x"});
        app.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let error = complete(&app).expect_err(&extra.to_string());
        let want =
            json!({"message": "Invalid JSON", "details": [{"path": path, "errors": [code]}]});
        assert_eq!(serde_json::from_str::<Value>(&error.body()).unwrap(), want, "{extra}");
        assert_eq!(error.status(), 422);
    }
}

fn definitions() -> impl Strategy<Value = Value> {
    let ports = prop::collection::vec((0u16..4, any::<bool>()), 0..4).prop_map(|ports| {
        let mut seen = std::collections::BTreeSet::new();
        ports
            .into_iter()
            .enumerate()
            .filter(|(_, (p, _))| *p == 0 || seen.insert(*p))
            .map(|(i, (p, named))| match named {
                true => json!({"port": p, "name": format!("p{i}"), "labels": {"VIP_0": "/x:1"}}),
                false => json!({"port": p, "protocol": "udp,tcp"}),
            })
            .collect::<Vec<_>>()
    });
    let kinds = (0u8..5, ports, 0u32..5, 1u32..40, prop::option::of("[a-zA-Z0-9 ]{0,8}"));
    kinds.prop_map(|(kind, ports, instances, cpus, label)| {
        let mut app = json!({"id": "/g/a", "cmd": "x", "instances": instances,
                             "cpus": f64::from(cpus) / 10.0, "role": "r"});
        let numbers: Vec<&Value> = ports.iter().map(|p| &p["port"]).collect();
        let mappings: Vec<Value> =
            ports.iter().map(|p| json!({"containerPort": p["port"], "name": p["name"]})).collect();
        match kind {
            0 => app["portDefinitions"] = json!(ports),
            1 => app["ports"] = json!(numbers),
            2 => {
                app["container"] = json!({"type": "DOCKER", "docker": {
                    "image": "i", "network": "BRIDGE", "portMappings": mappings}});
            }
            3 => {
                app["container"] = json!({"type": "MESOS", "portMappings": mappings});
                app["networks"] = json!([{"name": "net", "mode": "container"}]);
            }
            _ => {}
        }
        if let Some(label) = label {
            app["labels"] = json!({"l": label});
            app["env"] = json!({"E": label});
            app["healthChecks"] = json!([{"protocol": "COMMAND", "command": {"value": "true"}}]);
            app["constraints"] = json!([["hostname", "LIKE", "x.*"]]);
        }
        app
    })
}

proptest! {
    /// What is shown or stored reads back as the same app, and updating with nothing, or with what
    /// is shown, changes nothing: otherwise every deploy would be a restart.
    #[test]
    fn shown_and_stored_apps_come_back(definition in definitions()) {
        let app = complete(&definition).unwrap();
        prop_assert_eq!(&app_from_stored(&app_to_stored(&app)).unwrap(), &app);
        let text = to_text(&AppView::plain(&app));
        let mut shown: Value = serde_json::from_str(&text).unwrap();
        for stamp in ["version", "versionInfo"] {
            shown.as_object_mut().unwrap().remove(stamp);
        }
        let again = AppUpdate::from_json(shown.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&again.clone().complete(PathId::parse("/g/a").unwrap()).unwrap(), &app);
        prop_assert_eq!(&again.apply_to(&app).unwrap(), &app);
        let nothing = AppUpdate::from_json(b"{}").unwrap();
        prop_assert_eq!(&nothing.apply_to(&app).unwrap(), &app);
        let same = AppUpdate::from_json(definition.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&same.apply_to(&app).unwrap(), &app);
    }

    /// Numbers come back bit for bit: a last digit that moved would be a change, and a restart.
    #[test]
    fn numbers_come_back(cpus in 0.001f64..1e9, mem in 0.0f64..1e9) {
        let app = complete(&json!({"id": "/a", "cmd": "x", "cpus": cpus, "mem": mem})).unwrap();
        prop_assert_eq!(app.resources.cpus.to_bits(), cpus.to_bits());
        prop_assert_eq!(app_from_stored(&app_to_stored(&app)).unwrap(), app);
    }

    /// No text makes the reader panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
        let _ = AppUpdate::from_json(text.as_bytes());
        let _ = crate::document::parse(text.as_bytes());
    }
}
