//! The tasks of a Marathon by service port, from its plain text or its JSON. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One service port of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The app's id without its first slash, slashes as underscores.
    pub app: String,
    /// The service port.
    pub port: u16,
    /// `host:port` of its tasks, as Marathon orders them.
    pub tasks: Vec<String>,
}

/// Reads Marathon's plain text: app, service port and tasks, parted by tabs. Lines without a port are
/// apps without one and are left out, as by the script.
pub fn from_text(text: &str) -> Vec<Service> {
    text.lines().filter_map(service).collect()
}

fn service(line: &str) -> Option<Service> {
    let mut words = line.split_whitespace();
    let (app, port) = (words.next()?, words.next()?.parse().ok()?);
    let tasks = words.filter(|task| is_endpoint(task)).map(str::to_owned).collect();
    is_name(app).then(|| Service { app: app.to_owned(), port, tasks })
}

/// Whether it can be a part of HAProxy's configuration without being more than that.
fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

/// Old Marathons write `host:0` for a port that is not there, which HAProxy refuses with the whole
/// file.
fn is_endpoint(text: &str) -> bool {
    let inner =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '[' | ']');
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.is_some_and(|port| port > 0) && text.chars().all(inner)
}

/// Reads Marathon's JSON (`/v2/tasks`), for those that have no plain text any more (from 1.10). Apps
/// without tasks are not in it.
pub fn from_json(text: &[u8]) -> Result<Vec<Service>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tasks {
        tasks: Vec<Task>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Task {
        app_id: String,
        host: Option<String>,
        state: Option<String>,
        started_at: Option<String>,
        #[serde(default)]
        ports: Option<Vec<u16>>,
        #[serde(default)]
        service_ports: Option<Vec<u16>>,
    }
    let mut services: BTreeMap<(String, usize, u16), Vec<String>> = BTreeMap::new();
    for task in serde_json::from_slice::<Tasks>(text)?.tasks {
        let app = task.app_id.trim_start_matches('/').replace('/', "_");
        let runs = match &task.state {
            Some(state) => state == "TASK_RUNNING",
            None => task.started_at.is_some(),
        };
        let ports = task.ports.unwrap_or_default();
        for (at, port) in task.service_ports.unwrap_or_default().into_iter().enumerate() {
            let tasks = services.entry((app.clone(), at, port)).or_default();
            if let (true, Some(host), Some(own)) = (runs, &task.host, ports.get(at)) {
                tasks.push(format!("{host}:{own}"));
            }
        }
    }
    let service = |((app, _, port), mut tasks): ((String, usize, u16), Vec<String>)| {
        tasks.retain(|task| is_endpoint(task));
        tasks.sort();
        (port > 0 && is_name(&app)).then_some(Service { app, port, tasks })
    };
    Ok(services.into_iter().filter_map(service).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(services: &[Service]) -> Vec<String> {
        services.iter().map(|s| format!("{} {} {}", s.app, s.port, s.tasks.join(" "))).collect()
    }

    #[test]
    fn lines_of_text() {
        let text = "shop_web\t10000\t10.0.0.1:31000\tb.example:31001\t\n\
                    plain\t \t10.0.0.1\t\n\
                    empty\t10001\t\n\
                    half\n\nlost\t10002\t10.0.0.1:0\t10.0.0.2:31002\n\
                    odd\tport\t10.0.0.1:1\n\
                    evil{\t10003\t10.0.0.1:1\n";
        let want = [
            "shop_web 10000 10.0.0.1:31000 b.example:31001",
            "empty 10001 ",
            "lost 10002 10.0.0.2:31002",
        ];
        assert_eq!(shown(&from_text(text)), want);
    }

    #[test]
    fn json_says_the_same() {
        let json = br#"{"tasks": [
            {"appId": "/shop/web", "host": "b.example", "ports": [31001, 31002],
             "servicePorts": [10000, 10010], "state": "TASK_RUNNING"},
            {"appId": "/shop/web", "host": "10.0.0.1", "ports": [31000], "servicePorts": [10000],
             "startedAt": "2026-01-01T00:00:00.000Z"},
            {"appId": "/shop/web", "host": "10.0.0.3", "ports": [31000], "servicePorts": [10000],
             "state": "TASK_STAGING"},
            {"appId": "/plain", "host": "10.0.0.1", "ports": [], "servicePorts": null}]}"#;
        let want =
            ["shop_web 10000 10.0.0.1:31000 b.example:31001", "shop_web 10010 b.example:31002"];
        assert_eq!(shown(&from_json(json).unwrap()), want);
        assert!(from_json(b"{}").is_err());
    }
}
