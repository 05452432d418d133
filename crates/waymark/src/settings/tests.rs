//! Every way in which settings can be wrong, with the whole message.

use std::io::Write;

use super::*;

fn around(variables: &[(&str, &str)]) -> Surroundings {
    let environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Surroundings { root: true, environment }
}

fn flags(values: &[(&str, &str)]) -> Flags {
    let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Flags { config: None, values }
}

fn in_file(text: &str) -> Result<Vec<file::Entry>, SettingError> {
    file::parse(Role::Run, std::path::Path::new("waymark.toml"), text, &table())
}

fn load_ok(flag_values: &[(&str, &str)]) -> Loaded {
    load(Role::Run, &flags(flag_values), &around(&[])).unwrap()
}

#[test]
fn every_default_is_a_value() {
    let loaded = load_ok(&[]);
    let s = &loaded.settings;
    assert_eq!(s.data_dir, PathBuf::from("/var/lib/waymark"));
    assert_eq!((s.api_port.0, s.dns_port.0), (8080, 8053));
    assert_eq!((s.local_port_min.0, s.local_port_max.0), (10000, 20000));
    assert_eq!(s.task_ports.to_string(), "31000-32000");
    assert_eq!((s.domain.0.as_str(), s.framework_name.0.as_str()), ("mesos", "marathon"));
    assert!(!s.keep_tasks && !s.strict_service_ports && s.host_ip.is_none());
    assert!(loaded.sources.values().all(|source| *source == Source::Default));
    assert_eq!(check(&loaded), Ok(Vec::new()));
}

#[test]
fn every_setting_is_described() {
    for setting in table() {
        let short = setting.help[0].trim();
        assert!(short.ends_with('.') && short.len() <= 90, "{}: {short}", setting.name);
        assert!(!setting.value_name.is_empty() && !setting.kind.is_empty());
    }
}

#[test]
fn the_data_folder_depends_on_the_user() {
    for (variables, want) in [
        (vec![("HOME", "/home/ann")], Some("/home/ann/.local/state/waymark")),
        (vec![("HOME", "/home/ann"), ("XDG_STATE_HOME", "/s")], Some("/s/waymark")),
        (
            vec![("HOME", "/home/ann"), ("XDG_STATE_HOME", "rel")],
            Some("/home/ann/.local/state/waymark"),
        ),
        (vec![], None),
    ] {
        let around = Surroundings { root: false, ..around(&variables) };
        match (load(Role::Run, &Flags::default(), &around), want) {
            (Ok(loaded), Some(want)) => assert_eq!(loaded.settings.data_dir, PathBuf::from(want)),
            (Err(e), None) => assert_eq!(
                e.to_string(),
                "data-dir: neither XDG_STATE_HOME nor HOME is set; say --data-dir DIR"
            ),
            (got, want) => panic!("{got:?} but {want:?}"),
        }
    }
}

#[test]
fn later_layers_win_and_are_remembered() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "api-port = 1000\ndns-port = 2000\ndomain = \"a\"\nkeep-tasks = true").unwrap();
    let flags = Flags { config: Some(file.path().to_owned()), ..flags(&[("api-port", "1002")]) };
    let around = around(&[("WAYMARK_API_PORT", "1001"), ("WAYMARK_DNS_PORT", "2001")]);
    let loaded = load(Role::Run, &flags, &around).unwrap();
    let s = &loaded.settings;
    assert_eq!((s.api_port.0, s.dns_port.0, s.domain.0.as_str()), (1002, 2001, "a"));
    assert!(s.keep_tasks);
    assert_eq!(loaded.cite("api-port"), "--api-port");
    assert_eq!(loaded.cite("dns-port"), "dns-port (WAYMARK_DNS_PORT)");
    assert_eq!(loaded.cite("domain"), format!("domain ({}:3:10)", file.path().display()));
    assert_eq!(loaded.cite("listen"), "listen (default)");
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let around = around(&[(CONFIG_VARIABLE, "/no/such/waymark.toml")]);
    assert_eq!(
        load(Role::Run, &Flags::default(), &around).unwrap_err().to_string(),
        "--config /no/such/waymark.toml: No such file or directory (os error 2); name a readable \
         TOML file"
    );
}

#[test]
fn lists_and_the_other_commands_table() {
    let text = "dns-allow-transfer = ['192.0.2.53', '2001:db8::/64']\n[mesos-dns]\nanything = 1\n";
    let entries = in_file(text).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].1, "192.0.2.53,2001:db8::/64");
}

#[test]
fn wrong_files() {
    for (text, want) in [
        (
            "\n\napi-prot = 1",
            "waymark.toml:3:1: unknown key \"api-prot\"; did you mean \"api-port\"?",
        ),
        (
            "colour = 'red'",
            "waymark.toml:1:1: unknown key \"colour\"; `waymark run --help` lists all settings",
        ),
        (
            "listen = '::1'\napi-port = 'http'",
            "waymark.toml:2:12: api-port: \"http\" is not a port; write a number from 0 to 65535 \
             (0 = any free one)",
        ),
        (
            "drain-timeout = 10",
            "waymark.toml:1:17: drain-timeout: \"10\" is not a time; write a number and a unit, \
             such as 500ms, 10s or 2m",
        ),
        (
            "api-port = [1, 2]",
            "waymark.toml:1:12: api-port: a list here holds texts without commas, each in quotes",
        ),
        (
            "api-port = 1.5",
            "waymark.toml:1:12: api-port: float cannot be a value here; write a text, a whole \
             number, true or false",
        ),
        (
            "dns-resolvers = ['9.9.9.9', 'x']",
            "waymark.toml:1:17: dns-resolvers: \"x\" is not a server; write one such as 9.9.9.9 \
             or [::1]:5353",
        ),
        ("api-port = 1\napi-port = 2", "waymark.toml:2:1: duplicate key"),
        (
            "# ä\nkeep-tasks = maybe",
            "waymark.toml:2:14: string values must be quoted, expected literal string",
        ),
    ] {
        assert_eq!(in_file(text).unwrap_err().to_string(), want, "{text}");
    }
    assert_eq!(in_file("local-port-max = 20_000").unwrap()[0].1, "20000");
}

#[test]
fn wrong_variables_and_flags() {
    for (variable, want) in [
        (
            ("WAYMARK_API_PROT", "1"),
            "environment: unknown variable \"WAYMARK_API_PROT\"; did you mean \"WAYMARK_API_PORT\"?",
        ),
        (
            ("WAYMARK_COLOUR", "1"),
            "environment: unknown variable \"WAYMARK_COLOUR\"; unset it; `waymark run --help` \
             lists all settings",
        ),
        (
            ("WAYMARK_LISTEN", "here"),
            "WAYMARK_LISTEN: listen: \"here\" is not an IP address; write one such as 127.0.0.1, \
             0.0.0.0 or ::1",
        ),
    ] {
        // A flag that would win does not hide the slip.
        let result = load(Role::Run, &flags(&[("listen", "::1")]), &around(&[variable]));
        assert_eq!(result.unwrap_err().to_string(), want);
    }
    assert_eq!(
        load(Role::Run, &flags(&[("task-ports", "9-1")]), &around(&[])).unwrap_err().to_string(),
        "--task-ports: \"9-1\" begins above its end; write the lower port first: 1-9"
    );
    assert!(
        load(Role::Run, &Flags::default(), &around(&[(API_VARIABLE, "http://x"), ("PATH", "/")]))
            .is_ok()
    );
}

#[test]
fn settings_that_do_not_go_together() {
    for (values, want) in [
        (
            vec![("local-port-min", "20001")],
            "--local-port-min is 20001, above local-port-max (default), which is 20000; the first \
             service port must not be above the last",
        ),
        (
            vec![("api-port", "8053")],
            "--api-port and dns-port (default) are both 8053; give one of them another port, such \
             as --dns-port 0 for any free one",
        ),
        (
            vec![("dns-port", "10000")],
            "--dns-port is 10000, which lies in the service ports 10000-20000 (local-port-min \
             (default), local-port-max (default)); take a port outside, or move the range",
        ),
        (
            vec![("task-ports", "20000-20001")],
            "--task-ports 20000-20001 overlaps the service ports 10000-20000 (local-port-min \
             (default), local-port-max (default)); a task would take the port that the load \
             balancer needs: move one of the ranges",
        ),
        (
            vec![("idle-timeout", "0")],
            "--idle-timeout is 0, so that no connection would live; give it some time, such as 5s",
        ),
        (
            vec![("task-log-size", "0")],
            "--task-log-size is 0, so that nothing could be written; give it room, such as 10MiB",
        ),
    ] {
        assert_eq!(check(&load_ok(&values)).unwrap_err().to_string(), want);
    }
    for values in [
        vec![("api-port", "0"), ("dns-port", "0")],
        vec![("api-port", "8053"), ("no-dns", "true")],
        vec![("task-ports", "20000-20001"), ("no-proxy", "true")],
    ] {
        assert_eq!(check(&load_ok(&values)), Ok(Vec::new()), "{values:?}");
    }
}

#[test]
fn settings_that_hardly_go_together() {
    for (values, part) in [
        (vec![("api-port", "31000")], "--api-port is 31000, which lies in task-ports (default)"),
        (vec![("drain-timeout", "1s")], "--drain-timeout is 1s, less than dns-ttl (default), 5s"),
        (vec![("listen", "0.0.0.0")], "the API has no access control"),
    ] {
        let warnings = check(&load_ok(&values)).unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}");
    }
}
