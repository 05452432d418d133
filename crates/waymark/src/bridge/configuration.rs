//! HAProxy's configuration as the bridge writes it. Pure.

use std::fmt::Write;

use super::listing::Service;

/// What stands before the services, and is all there is when no Marathon answers.
pub const HEAD: &str = "\
global
  daemon
  log 127.0.0.1 local0
  log 127.0.0.1 local1 notice
  maxconn 4096

defaults
  log global
  retries 3
  maxconn 2000
  timeout connect 5000
  timeout client 50000
  timeout server 50000

listen stats
  bind 127.0.0.1:9090
  balance
  mode http
  stats enable
  stats auth admin:admin
";

/// One service: a listener with its tasks, numbered from their count down to one. Without tasks it
/// closes connections.
pub fn section(service: &Service) -> String {
    let Service { app, port, tasks } = service;
    let mut out = format!(
        "\nlisten {app}-{port}\n  bind 0.0.0.0:{port}\n  mode tcp\n  option tcplog\n  balance \
         leastconn\n"
    );
    for (task, number) in tasks.iter().zip((1..=tasks.len()).rev()) {
        // Writing to a string never fails.
        let _ = writeln!(out, "  server {app}-{number} {task} check");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_count_down() {
        let tasks = vec!["10.0.0.1:31000".to_owned(), "10.0.0.2:31000".to_owned()];
        let service = Service { app: "shop_web".to_owned(), port: 10000, tasks };
        assert_eq!(
            section(&service),
            "\nlisten shop_web-10000\n  bind 0.0.0.0:10000\n  mode tcp\n  option tcplog\n  \
             balance leastconn\n  server shop_web-2 10.0.0.1:31000 check\n  \
             server shop_web-1 10.0.0.2:31000 check\n"
        );
        let empty = Service { app: "web".to_owned(), port: 1, tasks: Vec::new() };
        assert!(section(&empty).ends_with("  balance leastconn\n"));
    }
}
