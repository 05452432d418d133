use super::*;
use crate::apply::version::Version;

const FRAME: &str = "defaults\nbackend a\n  balance roundrobin\nbackend fixed\n  balance source\n";

fn server(n: u16, options: &str) -> Server {
    Server {
        name: format!("10_0_0_{n}_80"),
        id: u32::from(n),
        address: format!("10.0.0.{n}"),
        port: 80,
        options: format!("id {n}{options}"),
        disabled: false,
        templated: false,
    }
}

fn rendered(servers: &[Server]) -> Rendered {
    both(servers, &[])
}

fn in_fixed(servers: &[Server]) -> Rendered {
    both(&[], servers)
}

fn both(a: &[Server], fixed: &[Server]) -> Rendered {
    let backend = |servers: &[Server]| Backend { app: "/a".into(), servers: servers.to_vec() };
    let lines = |servers: &[Server]| {
        servers.iter().map(|server| format!("  {server:?}\n")).collect::<String>()
    };
    let (head, tail) = FRAME.split_at(FRAME.find("backend fixed").unwrap());
    Rendered {
        config: format!("{head}{}{tail}{}", lines(a), lines(fixed)),
        frame: FRAME.into(),
        maps: [("app.map".to_owned(), "/a a\n".to_owned())].into(),
        backends: [("a".into(), backend(a)), ("fixed".into(), backend(fixed))].into(),
        ..Rendered::default()
    }
}

fn now(rendered: &Rendered) -> Servers {
    let now = |server: &Server| ServerNow {
        backend: 3,
        id: server.id,
        name: server.name.clone(),
        address: server.address.clone(),
        port: server.port,
        maintenance: server.disabled,
        weight: 1,
    };
    rendered
        .backends
        .iter()
        .map(|(name, backend)| (name.clone(), backend.servers.iter().map(now).collect()))
        .collect()
}

fn planned_with(
    applied: &Rendered,
    servers: &Servers,
    leaving: &Leaving,
    wanted: &Rendered,
    minor: u16,
) -> Plan {
    let capabilities = Version { major: 2, minor }.into();
    plan(
        &Running { applied, servers, leaving, capabilities, folder: Path::new("/etc/haproxy") },
        wanted,
    )
}

fn planned(applied: &Rendered, wanted: &Rendered) -> Plan {
    planned_with(applied, &now(applied), &Leaving::new(), wanted, 6)
}

/// The lines of a plan by commands; its reason otherwise.
fn lines(plan: Plan) -> Vec<String> {
    match plan {
        Plan::Nothing => vec![],
        Plan::Runtime(commands) => {
            commands.iter().map(|command| command.line().unwrap_or_else(|| "map".into())).collect()
        }
        Plan::Reload(why) => vec![format!("reload: {why}")],
    }
}

#[test]
fn servers_come_before_others_go() {
    let before = rendered(&[server(1, ""), server(2, "")]);
    let after = rendered(&[server(2, ""), server(3, " check inter 2s fall 3")]);
    assert_eq!(
        lines(planned(&before, &after)),
        [
            "add server a/10_0_0_3_80 10.0.0.3:80 id 3 check inter 2s fall 3",
            "enable health a/10_0_0_3_80",
            "set server a/10_0_0_3_80 state ready",
            "set server a/10_0_0_1_80 state maint",
        ]
    );
    assert_eq!(planned(&after, &after), Plan::Nothing);
}

#[test]
fn draining_weight_and_address_are_commands() {
    let with = |change: fn(&mut Server)| {
        let mut changed = server(1, "");
        change(&mut changed);
        rendered(&[changed])
    };
    let before = rendered(&[server(1, "")]);
    let drained = with(|server| server.disabled = true);
    assert_eq!(lines(planned(&before, &drained)), ["set server a/10_0_0_1_80 state maint"]);
    assert_eq!(lines(planned(&drained, &before)), ["set server a/10_0_0_1_80 state ready"]);
    let heavy = with(|server| server.options.push_str(" weight 7"));
    assert_eq!(lines(planned(&before, &heavy)), ["set server a/10_0_0_1_80 weight 7"]);
    let moved = with(|server| server.address = "10.0.0.9".into());
    assert_eq!(lines(planned(&before, &moved)), ["set server a/10_0_0_1_80 addr 10.0.0.9 port 80"]);
    let mut new_and_drained = server(2, "");
    new_and_drained.disabled = true;
    assert_eq!(
        lines(planned(&before, &rendered(&[server(1, ""), new_and_drained]))),
        ["add server a/10_0_0_2_80 10.0.0.2:80 id 2"]
    );
}

#[test]
fn a_map_is_replaced_as_a_whole() {
    let before = rendered(&[server(1, "")]);
    let mut after = before.clone();
    after.maps.insert("app.map".into(), "/a a\n/b a\n".into());
    let wanted = Command::Map { file: "/etc/haproxy/app.map".into(), text: "/a a\n/b a\n".into() };
    assert_eq!(planned(&before, &after), Plan::Runtime(vec![wanted]));
}

#[test]
fn what_commands_cannot_say_is_reloaded() {
    let one = rendered(&[server(1, "")]);
    let and = |second: Server| rendered(&[server(1, ""), second]);
    let templated = Server { templated: true, ..server(2, "") };
    let named = Server { address: "agent-a.example.com".into(), ..server(2, "") };
    let sly = Server { name: "a;quit".into(), ..server(2, "") };
    let frame = Rendered { frame: "other".into(), config: "other".into(), ..one.clone() };
    let mut hidden = and(server(2, ""));
    hidden.config.push_str("  server x 10.0.0.1:80 what no field says\n");
    for (wanted, reason) in [
        (frame, "more than servers changed"),
        (hidden, "more than servers changed"),
        (and(server(2, " check cookie 1a2b")), "cannot have in this version"),
        (and(templated), "by a template"),
        (and(named), "its address is a name"),
        (and(sly), "cannot be part of a command"),
        (and(server(1, "")), "the same name"),
        (rendered(&[server(1, " check")]), "its options changed"),
        (rendered(&[Server { id: 77, ..server(1, "") }]), "its identity changed"),
    ] {
        let lines = lines(planned(&one, &wanted));
        assert!(
            lines.len() == 1 && lines[0].starts_with("reload: ") && lines[0].contains(reason),
            "{reason}: {lines:?}"
        );
    }
    let source = lines(planned(&in_fixed(&[]), &in_fixed(&[server(1, "")])));
    assert_eq!(source, ["reload: servers of backend fixed cannot change at run time"]);
    let source = lines(planned(&in_fixed(&[server(1, "")]), &in_fixed(&[])));
    assert_eq!(source, ["reload: servers of backend fixed cannot change at run time"]);
    let old = planned_with(&one, &now(&one), &Leaving::new(), &and(server(2, "")), 4);
    assert_eq!(old, Plan::Reload(Why::Version));
}

#[test]
fn a_haproxy_that_was_changed_by_others_is_reloaded() {
    let before = rendered(&[server(1, "")]);
    let after = rendered(&[server(1, ""), server(2, "")]);
    for other in [
        rendered(&[]),
        rendered(&[server(1, ""), server(9, "")]),
        rendered(&[Server { id: 5, ..server(1, "") }]),
    ] {
        let plan = planned_with(&before, &now(&other), &Leaving::new(), &after, 6);
        assert_eq!(plan, Plan::Reload(Why::Differs { backend: "a".into() }), "{other:?}");
    }
    assert_eq!(deviation(&before, &now(&before), &Leaving::new()), None);
    assert_eq!(deviation(&before, &now(&after), &Leaving::new()), Some("a"));
    assert_eq!(deviation(&after, &now(&before), &Leaving::new()), Some("a"));
}

#[test]
fn a_server_that_comes_back_before_it_was_deleted_is_made_ready() {
    let before = rendered(&[server(1, "")]);
    let after = rendered(&[server(1, ""), server(2, "")]);
    let leaving: Leaving = [(Name::new("a", "10_0_0_2_80").unwrap(), server(2, ""))].into();
    let mut servers = now(&after);
    servers.get_mut("a").unwrap()[1].maintenance = true;
    let plan = planned_with(&before, &servers, &leaving, &after, 6);
    assert_eq!(lines(plan), ["set server a/10_0_0_2_80 state ready"]);
    assert_eq!(deviation(&before, &servers, &leaving), None);
    let changed = rendered(&[server(1, ""), server(2, " check")]);
    let plan = planned_with(&before, &servers, &leaving, &changed, 6);
    assert!(matches!(plan, Plan::Reload(Why::Server { .. })), "{plan:?}");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn some_servers() -> impl Strategy<Value = Vec<Server>> {
        let one = (any::<bool>(), any::<bool>(), 1..5u8, 0..3u8);
        prop::collection::vec(one, 8).prop_map(|all| {
            let made = all.into_iter().zip(1u16..).filter(|((there, ..), _)| *there);
            made.map(|((_, disabled, weight, address), n)| Server {
                disabled,
                address: format!("10.0.{address}.{n}"),
                ..server(n, &format!(" weight {weight}"))
            })
            .collect()
        })
    }

    /// What HAProxy would have after the commands.
    fn carry_out(servers: &mut Vec<ServerNow>, commands: &[Command]) {
        for command in commands {
            let mut at = |name: &Name, change: &dyn Fn(&mut ServerNow)| {
                change(
                    servers
                        .iter_mut()
                        .find(|now| now.name == name.server())
                        .expect("a server that exists"),
                );
            };
            match command {
                Command::Ready(name) => at(name, &|now| now.maintenance = false),
                Command::Maintain(name) => at(name, &|now| now.maintenance = true),
                Command::Weight(name, weight) => at(name, &|now| now.weight = *weight),
                Command::Move(name, address, port) => {
                    at(name, &|now| (now.address, now.port) = (address.to_string(), *port))
                }
                Command::Add { server, address, port, options } => {
                    let words: Vec<&str> = options.split(' ').collect();
                    assert!(servers.iter().all(|now| now.name != server.server()));
                    servers.push(ServerNow {
                        backend: 3,
                        id: words[1].parse().unwrap(),
                        name: server.server().into(),
                        address: address.to_string(),
                        port: *port,
                        maintenance: true,
                        weight: words[3].parse().unwrap(),
                    });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        /// Any way through any states ends with what is wanted, without a reload, and with nothing else than it out of
        /// maintenance.
        #[test]
        fn commands_lead_to_what_is_wanted(states in prop::collection::vec(some_servers(), 1..6)) {
            let mut applied = rendered(&[]);
            let mut servers: Servers = [("a".to_owned(), vec![])].into();
            let mut leaving = Leaving::new();
            for state in states {
                let wanted = rendered(&state);
                match planned_with(&applied, &servers, &leaving, &wanted, 6) {
                    Plan::Nothing => prop_assert_eq!(&applied.backends, &wanted.backends),
                    Plan::Runtime(commands) => carry_out(servers.get_mut("a").unwrap(), &commands),
                    Plan::Reload(why) => prop_assert!(matches!(why, Why::Server { .. }), "{}", why),
                }
                if deviation(&wanted, &servers, &leaving_after(&mut leaving, &applied, &wanted)).is_some() {
                    prop_assert!(false, "{:?} is not {:?}", servers, wanted.backends);
                }
                for server in &state {
                    let now = servers["a"].iter().find(|now| now.name == server.name).unwrap();
                    prop_assert_eq!(&now.address, &server.address);
                    let weight = format!(" weight {}", now.weight);
                    prop_assert!(server.options.ends_with(&weight));
                }
                applied = wanted;
            }
        }
    }

    fn leaving_after(leaving: &mut Leaving, applied: &Rendered, wanted: &Rendered) -> Leaving {
        let is_wanted =
            |name: &str| wanted.backends["a"].servers.iter().any(|server| server.name == name);
        for server in &applied.backends["a"].servers {
            leaving.insert(Name::new("a", &server.name).unwrap(), server.clone());
        }
        leaving.retain(|name, _| !is_wanted(name.server()));
        leaving.clone()
    }
}
