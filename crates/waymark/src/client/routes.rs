//! Routes, and what is wrong with labels, as text: from the documents `/v1/routes` and
//! `/v1/quarantine`.

use serde_json::Value;

use crate::table::{Align, Table};

/// Routes as a table of at most so many lines.
pub fn table(document: &Value, most: usize) -> String {
    let routes = document["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if routes.is_empty() {
        return "no app has a route: see the groups (--group) and the apps' labels HAPROXY_GROUP\n"
            .to_owned();
    }
    let left = |name| (name, Align::Left);
    let mut table = Table::new(&[
        left("LISTENER"),
        left("FOR"),
        left("SERVICE"),
        ("TASKS", Align::Right),
        left("NOTE"),
    ]);
    for route in routes.iter().take(most) {
        table.row([listener(route), wanted(route), service(route), tasks(route), note(route)]);
    }
    let mut text = table.render();
    if routes.len() > most {
        text.push_str(&format!("… and {} more: /v1/routes has all\n", routes.len() - most));
    }
    text
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn listener(route: &Value) -> String {
    match text(route, "listener") {
        "service" => format!("{} {}", text(route, "protocol"), route["port"]),
        other => other.to_owned(),
    }
}

/// Whose requests or connections it gets.
fn wanted(route: &Value) -> String {
    match text(route, "listener") {
        "service" => match text(route, "address") {
            "" => "everything".to_owned(),
            address => format!("everything at {address}"),
        },
        "appid" => format!("X-Marathon-App-Id: {}", text(route, "app")),
        _ if route["passthrough"] == true => format!("TLS for {}", text(route, "host")),
        _ => format!("{} {}", text(route, "host"), text(route, "path")).trim_end().to_owned(),
    }
}

fn service(route: &Value) -> String {
    let Some(shares) = route["shares"].as_array() else { return text(route, "service").to_owned() };
    let share = |share: &Value| format!("{} ({})", text(share, "service"), share["weight"]);
    shares.iter().map(share).collect::<Vec<_>>().join(", ")
}

fn tasks(route: &Value) -> String {
    let shares = route["shares"].as_array().into_iter().flatten();
    let shared = shares.filter_map(|share| share["tasks"].as_u64()).sum();
    route["tasks"].as_u64().unwrap_or(shared).to_string()
}

fn note(route: &Value) -> String {
    let mut notes = Vec::new();
    if route["redirectToHttps"] == true {
        notes.push("http is sent to https".to_owned());
    }
    if route["realm"].is_string() {
        notes.push("with a password".to_owned());
    }
    if route["pastPassword"] == true {
        notes.push("nobody is asked for the password here".to_owned());
    }
    let names = |name: &str| {
        let list = route[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    for (name, before) in [("shadowed", "gets nothing: "), ("apps", "shared by ")] {
        if route[name].is_array() {
            notes.push(format!("{before}{}", names(name)));
        }
    }
    let state = text(route, "state");
    // What was only looked at is pending without a reason.
    match text(route, "reason") {
        "" => {}
        reason => notes.push(format!("{state}: {reason}")),
    }
    notes.join("; ")
}

/// Labels that are not, or not wholly, in effect; empty when all are.
pub fn troubles(document: &Value) -> String {
    let each = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            out.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
        }
    };
    let labels = |app: &Value, name: &str| {
        let labels = app[name].as_array().into_iter().flatten();
        let label = |l: &Value| format!("{}: {}", text(l, "label"), text(l, "reason"));
        labels.map(label).collect::<Vec<_>>().join("; ")
    };
    let quarantined = each("quarantined");
    let line = |app: &Value| {
        format!("{} {}; {}", text(app, "app"), labels(app, "errors"), text(app, "effect"))
    };
    section("labels that cannot be read", quarantined.iter().map(line).collect());
    let unapplied = each("unapplied");
    let line = |app: &Value| format!("{} {}", text(app, "app"), labels(app, "labels"));
    section("labels without effect", unapplied.iter().map(line).collect());
    let displaced = each("displaced");
    let line = |app: &Value| {
        format!("{} has no routes: {} is named like its group", text(app, "app"), text(app, "by"))
    };
    section("displaced", displaced.iter().map(line).collect());
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_are_lines() {
        let routes = json!({"routes": [
            {"listener": "http, https", "host": "a.test", "path": "/x*", "priority": 1,
             "service": "/a:0", "tasks": 2, "realm": "staff", "redirectToHttps": true},
            {"listener": "http, https", "host": "b.test", "shares": [
                {"service": "/b:0", "weight": 90, "tasks": 3},
                {"service": "/c:0", "weight": 10, "tasks": 1}]},
            {"listener": "https", "host": "c.test", "passthrough": true, "service": "/d:0",
             "tasks": 1},
            {"listener": "service", "port": 10000, "protocol": "udp", "service": "/d:0",
             "tasks": 0, "state": "failed", "reason": "in use", "apps": ["/d", "/e"]},
            {"listener": "appid", "app": "/a", "service": "/a:0", "tasks": 2, "pastPassword": true},
        ]});
        let text = table(&routes, 10);
        for part in [
            "http, https  a.test /x*             /a:0                      2  http is sent to https; \
             with a password\n",
            "http, https  b.test                 /b:0 (90), /c:0 (10)      4  -\n",
            "https        TLS for c.test         /d:0                      1  -\n",
            "udp 10000    everything             /d:0                      0  shared by /d, /e; \
             failed: in use\n",
            "appid        X-Marathon-App-Id: /a  /a:0                      2  nobody is asked for the \
             password here\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(table(&routes, 2).ends_with("… and 3 more: /v1/routes has all\n"));
        assert!(table(&json!({"routes": []}), 2).contains("--group"));
    }

    #[test]
    fn troubles_are_told_by_app() {
        assert_eq!(troubles(&json!({"quarantined": [], "unapplied": [], "displaced": []})), "");
        let text = troubles(&json!({
            "quarantined": [{"app": "/a", "effect": "it has no routes",
                             "errors": [{"label": "HAPROXY_0_AUTH", "reason": "three parts"}]}],
            "unapplied": [{"app": "/b", "labels": [{"label": "HAPROXY_0_BACKEND_HEAD",
                                                    "reason": "a template"}]}],
            "displaced": [{"app": "/c", "by": "/d"}],
        }));
        assert_eq!(
            text,
            "\nlabels that cannot be read\n  /a HAPROXY_0_AUTH: three parts; it has no routes\n\
             \nlabels without effect\n  /b HAPROXY_0_BACKEND_HEAD: a template\n\
             \ndisplaced\n  /c has no routes: /d is named like its group\n"
        );
    }
}
