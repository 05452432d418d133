use std::collections::BTreeMap;

use expect_test::expect;
use waymark_model::Readiness;

use super::super::explain;
use super::super::pool::Affinity;
use super::super::table::Exposure;
use super::super::test_world::{World, app, exposure, get, service, task};
use super::*;

/// A decision in a few words.
fn said(decision: &Decision) -> String {
    match decision {
        Decision::Forward(pool) => pool.name.clone(),
        Decision::Redirect(status, location) => format!("{status} {location}"),
        Decision::Authenticate(pool) => format!("401 {}", pool.name),
        Decision::Forbidden => "403".to_owned(),
        Decision::Ambiguous => "400".to_owned(),
        Decision::NoRoute => "503".to_owned(),
        Decision::NoTask(pool) => format!("503 {}", pool.name),
    }
}

/// What becomes of `host/target` at a front.
fn at(world: &World, front: Front, url: &str) -> String {
    let cut = url.find('/').unwrap();
    said(&decide(world.table(), &get(front, &url[..cut], &url[cut..]), 0))
}

fn check(world: &World, front: Front, cases: &[(&str, &str)]) {
    for (url, expected) in cases {
        assert_eq!(at(world, front, url), *expected, "{url}");
    }
}

#[test]
fn the_most_specific_host_decides() {
    let world = World::of([
        app("/exact", &[1], &[("HAPROXY_0_VHOST", "www.a.test,b.test")]),
        app("/wild", &[2], &[("HAPROXY_0_VHOST", "*.a.test")]),
        app("/deep", &[3], &[("HAPROXY_0_VHOST", "*.x.a.test")]),
        app("/any", &[4], &[("HAPROXY_0_VHOST", "*")]),
    ]);
    check(
        &world,
        Front::Http,
        &[
            ("www.a.test/", "exact_1"),
            ("WWW.A.TEST:8080/x?y", "exact_1"),
            ("www.a.test./", "exact_1"),
            ("b.test/", "exact_1"),
            ("other.a.test/", "wild_2"),
            ("two.levels.a.test/", "wild_2"),
            ("q.x.a.test/", "deep_3"),
            ("a.test/", "any_4"),
            ("[2001:db8::1]:80/", "any_4"),
            ("/", "503"),
            ("a b/", "503"),
            ("evil\"host/", "503"),
        ],
    );
    assert_eq!(at(&world, Front::Https, "www.a.test/"), "exact_1");
    let endless = format!("{}/", "a.".repeat(200));
    assert_eq!(at(&world, Front::Http, &endless), "503", "longer than a name can be");
}

#[test]
fn a_path_that_no_rule_has_goes_to_the_next_pattern() {
    let world = World::of([
        app("/api", &[1], &[("HAPROXY_0_VHOST", "www.a.test"), ("HAPROXY_0_PATH", "/api")]),
        app("/rest", &[2], &[("HAPROXY_0_VHOST", "*.a.test")]),
    ]);
    check(
        &world,
        Front::Http,
        &[
            ("www.a.test/api", "api_1"),
            ("www.a.test/apiary?q=/", "api_1"),
            ("www.a.test/?/api", "rest_2"),
            ("www.a.test/other", "rest_2"),
        ],
    );
}

#[test]
fn rules_of_a_host_are_ordered_by_priority_kind_and_length() {
    let host = ("HAPROXY_0_VHOST", "a.test");
    let world = World::of([
        app("/every", &[1], &[host]),
        app("/short", &[2], &[host, ("HAPROXY_0_PATH", "/api")]),
        app("/long", &[3], &[host, ("HAPROXY_0_PATH", "/api/v2 /other")]),
        app("/folded", &[4], &[host, ("HAPROXY_0_PATH", "-i /CASE")]),
        app(
            "/first",
            &[5],
            &[host, ("HAPROXY_0_PATH", "/api/v2/x"), ("HAPROXY_0_BACKEND_WEIGHT", "7")],
        ),
        app("/second", &[6], &[host, ("HAPROXY_0_PATH", "/api")]),
    ]);
    check(
        &world,
        Front::Http,
        &[
            ("a.test/", "every_1"),
            ("a.test/api", "second_6"),
            ("a.test/api/v2", "long_3"),
            ("a.test/api/v2/x", "first_5"),
            ("a.test/other/", "long_3"),
            ("a.test/case/x", "folded_4"),
            ("a.test/API", "every_1"),
        ],
    );
}

/// Hosts with many paths are searched, not gone through; what decides is the same.
#[test]
fn many_paths_decide_as_few_do() {
    let host = ("HAPROXY_0_VHOST", "a.test");
    let many = (0..60u16).map(|n| {
        let path = ["/a", "/ab", "/abc/", "-i /XY"].get(usize::from(n) % 4).unwrap();
        let path = format!("{path}{:02}", n / 4);
        let labels = [host, ("HAPROXY_0_PATH", path.as_str())];
        app(&format!("/p{n}"), &[100 + n], &labels)
    });
    let mut world = World::of(many.chain([app("/every", &[1], &[host])]));
    let rules = world.table().hosts.get(&HostPattern::Exact("a.test".into())).unwrap().clone();
    assert_eq!(rules.rules.len(), 61);
    let mut checked = 0;
    let mut check = |world: &World| {
        let rules = world.table().hosts.get(&HostPattern::Exact("a.test".into())).unwrap();
        for start in ["/a", "/ab", "/abc/", "/xY", "/zz", "/", "/a1"] {
            for n in 0..18 {
                let path = format!("{start}{n:02}/x");
                let first = rules.rules.iter().find(|rule| rule.matches(&path));
                let decided = at(world, Front::Http, &format!("a.test{path}?q"));
                assert_eq!(decided, first.unwrap().shares[0].pool.name, "{path}");
                checked += 1;
            }
        }
    };
    check(&world);
    // Other tasks, the same rules: the new pools are where the old ones were.
    for n in [0u16, 5, 10, 15, 59] {
        let old = world.table().service(100 + n).unwrap().pool.clone();
        let labels = old.rules.paths.clone();
        let mut changed = app(&format!("/p{n}"), &[100 + n], &[]);
        changed.labels = [host, ("HAPROXY_0_PATH", text(&labels[0]).as_str())]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        changed.tasks.push(task("more", 2, Readiness::Ready));
        world.put([changed]);
        let table = world.table();
        let new = &table.service(100 + n).unwrap().pool;
        assert!(old.is_retired() && !Arc::ptr_eq(&old, new));
        let rules = table.hosts.get(&HostPattern::Exact("a.test".into())).unwrap();
        let shares = rules.rules.iter().flat_map(|rule| &rule.shares);
        let current = |pool: &Arc<Pool>| Arc::ptr_eq(pool, &table.pools[&pool.id]);
        assert!(shares.clone().all(|share| current(&share.pool)));
        assert_eq!(shares.filter(|share| Arc::ptr_eq(&share.pool, new)).count(), 1);
    }
    check(&world);
    assert_eq!(checked, 2 * 7 * 18);
}

/// A prefix as its label has it.
fn text(path: &waymark_routing::PathPattern) -> String {
    match path {
        waymark_routing::PathPattern::Prefix { text, ignore_case: true } => format!("-i {text}"),
        waymark_routing::PathPattern::Prefix { text, .. } => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn equal_rules_are_the_first_apps_unless_one_asks_for_shares() {
    let host = ("HAPROXY_0_VHOST", "a.test");
    let mut world = World::of([app("/a", &[1], &[host]), app("/b", &[2], &[host])]);
    assert_eq!(at(&world, Front::Http, "a.test/"), "a_1");
    let rules = world.table().hosts.get(&HostPattern::Exact("a.test".into())).unwrap();
    assert_eq!(rules.rules[0].shadowed[0].app.as_str(), "/b");

    let notices = world.put([app("/b", &[2], &[host, ("WAYMARK_0_WEIGHT", "25")])]);
    assert_eq!(notices.shadowed, []);
    let mut times = BTreeMap::new();
    for random in 0..1250 {
        let decision = decide(world.table(), &get(Front::Http, "a.test", "/"), random);
        *times.entry(said(&decision)).or_insert(0) += 1;
    }
    assert_eq!(times, BTreeMap::from([("a_1".to_owned(), 1000), ("b_2".to_owned(), 250)]));

    let notices = world.put([app("/b", &[2], &[host])]);
    assert_eq!(notices.shadowed, [HostPattern::Exact("a.test".into())]);
}

#[test]
fn plain_requests_are_sent_to_https_first_of_all() {
    let labels = [
        ("HAPROXY_0_VHOST", "a.test"),
        ("HAPROXY_0_REDIRECT_TO_HTTPS", "true"),
        ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "127.0.0.0/8"),
    ];
    let world = World::of([app("/a", &[1], &labels)]);
    assert_eq!(at(&world, Front::Http, "a.test:80/x?y=1"), "301 https://a.test/x?y=1");
    assert_eq!(at(&world, Front::Https, "a.test/x"), "403");
    let request = Request { secure: true, ..get(Front::Http, "a.test", "/") };
    assert_eq!(said(&decide(world.table(), &request, 0)), "403", "a trusted proxy ended TLS");
    assert_eq!(at(&world, service(1), "a.test/x"), "403");

    let mut world = World::new(Exposure { https_port: 8443, ..exposure() });
    world.put([app("/a", &[1], &labels)]);
    assert_eq!(at(&world, Front::Http, "a.test/x"), "301 https://a.test:8443/x");
}

#[test]
fn who_may_ask() {
    let allowed = ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 192.0.2.1");
    let auth = (
        "HAPROXY_0_AUTH",
        "realm:user:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
    );
    let host = ("HAPROXY_0_VHOST", "a.test");
    let world = World::of([
        app("/a", &[1], &[host, allowed]),
        app("/b", &[2], &[("HAPROXY_0_VHOST", "b.test"), auth, allowed]),
    ]);
    let from = |front, host, source: &str| {
        let source = SocketAddr::new(source.parse().unwrap(), 1);
        said(&decide(world.table(), &Request { source, ..get(front, host, "/") }, 0))
    };
    assert_eq!(from(Front::Http, "a.test", "192.0.2.1"), "a_1");
    assert_eq!(from(Front::Http, "a.test", "::ffff:10.1.2.3"), "a_1");
    assert_eq!(from(Front::Http, "a.test", "192.0.2.2"), "403");
    assert_eq!(from(service(1), "", "192.0.2.2"), "403");
    assert_eq!(from(Front::Https, "b.test", "192.0.2.2"), "401 b_2", "who it is comes first");
    assert_eq!(from(service(2), "b.test", "192.0.2.1"), "b_2", "no password on service ports");
    let admitted = |source: &str| {
        let source = SocketAddr::new(source.parse().unwrap(), 1);
        let pool = &world.table().service(2).unwrap().pool;
        said(&admit(pool, &Request { source, ..get(Front::Http, "b.test", "/") }))
    };
    assert_eq!((admitted("192.0.2.1").as_str(), admitted("192.0.2.2").as_str()), ("b_2", "403"));
}

#[test]
fn no_spelling_gets_round_a_password_or_a_network() {
    let auth = "realm:user:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";
    let host = ("HAPROXY_0_VHOST", "a.test");
    let path = |path| ("HAPROXY_0_PATH", path);
    let networks = ("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8");
    let world = World::of([
        app("/open", &[1], &[host]),
        app("/admin", &[2], &[host, path("/admin"), ("HAPROXY_0_AUTH", auth)]),
        app("/inside", &[3], &[host, path("/inside"), networks]),
        app("/docs", &[4], &[host, path("/docs")]),
    ]);
    for front in [Front::Http, Front::Https] {
        for target in [
            "/admin",
            "/admin/x?y",
            "/%61dmin",
            "/%61%64%6d%69%6e/x",
            "//admin",
            "/.//admin",
            "/x/../admin",
            "/docs/../admin",
            "/docs/%2e%2e/admin",
            "/docs/..%2fadmin",
            "/%2561dmin",
            "/;a=b/admin",
            "/admin;a=b",
            "/docs/..;/admin",
            "/\\admin",
            "/docs\\..\\admin",
            "/admin/../docs",
            "/admin/%2e%2e/docs",
            "/a%2fb/../admin",
            "/a%5cb/../admin",
            "/a\\b/../admin",
            "/a%252fb/../admin",
            "/%61dmin/../docs",
        ] {
            assert_eq!(at(&world, front, &format!("a.test{target}")), "401 admin_2", "{target}");
        }
        for host in ["A.TEST", "a.test.", "a.test:8080", "A.test.:80"] {
            assert_eq!(at(&world, front, &format!("{host}/admin")), "401 admin_2", "{host}");
        }
        assert_eq!(at(&world, front, "a.test/x/../inside"), "403");
        // What is guarded by nobody goes where its letters say.
        for (target, wanted) in [
            ("/docs/%61", "docs_4"),
            ("/%64ocs", "open_1"),
            ("/a//b", "open_1"),
            ("/administrator/../x", "401 admin_2"),
            ("/ADMIN", "open_1"),
            ("/x?next=/../admin", "open_1"),
        ] {
            assert_eq!(at(&world, front, &format!("a.test{target}")), wanted, "{target}");
        }
    }
    let request = get(Front::Http, "a.test", "/docs/../admin");
    let explained = explain(world.table(), &request, &Affinity::default(), 0, 0);
    assert_eq!((explained.decision, explained.status), ("authenticate", Some(401)));
    let past = explain(world.table(), &get(service(2), "", "/"), &Affinity::default(), 0, 0);
    assert!(past.reason.contains("nobody is asked for it here"), "{}", past.reason);
    assert!(explained.rules.last().is_some_and(|rule| rule.met && rule.path == "prefix /admin"));
}

const AUTH: &str = "realm:user:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";

/// `/open` at `/`, and one with a password at each path.
fn guarded_at(paths: &[&str]) -> World {
    let host = ("HAPROXY_0_VHOST", "a.test");
    let guarded = |(n, path): (usize, &&str)| {
        let port = u16::try_from(n).unwrap() + 2;
        let labels = [host, ("HAPROXY_0_PATH", *path), ("HAPROXY_0_AUTH", AUTH)];
        app(&format!("/g{n}"), &[port], &labels)
    };
    let open = app("/open", &[1], &[host]);
    World::of(paths.iter().enumerate().map(guarded).chain([open]))
}

#[test]
fn no_spelling_gets_round_a_guard_below_the_root() {
    let cases = [
        ("/docs/admin", "/docs//../admin"),
        ("/a/admin", "/a/..;/../a/admin"),
        ("/a/admin", "/a/..;/../admin"),
        ("/docs/admin", "/docs/x/..%3b/..;/..;/admin"),
        // The rule itself has an escape.
        ("/my%20admin", "/my%20admin"),
        ("/my%20admin", "//my%20admin/x"),
        ("/my%20admin", "/x/../my%20admin"),
        ("/my%20admin", "/my%2520admin"),
        ("/my%20admin", "/%6dy%20admin"),
    ];
    for (path, target) in cases {
        let world = guarded_at(&[path]);
        assert_eq!(at(&world, Front::Http, &format!("a.test{target}")), "401 g0_2", "{target}");
        assert_eq!(at(&world, Front::Http, "a.test/x%20y"), "open_1");
    }
}

#[test]
fn what_several_guards_may_have_is_refused() {
    let world = guarded_at(&["/a", "/b", "/a/my%20x"]);
    let long = format!("a.test/{}%20", "x".repeat(5000));
    let cases = [
        ("a.test/a/..;/b", "400"),
        ("a.test/a/../b", "400"),
        ("a.test/a/%62", "401 g0_2"),
        ("a.test//b", "401 g1_3"),
        ("a.test/a/my%20x", "401 g2_4"),
        ("a.test/a//my%20x", "400"),
        (long.as_str(), "400"),
        ("a.test/x/../y", "open_1"),
    ];
    check(&world, Front::Https, &cases);
    let open = World::of([app("/open", &[1], &[("HAPROXY_0_VHOST", "a.test")])]);
    assert_eq!(at(&open, Front::Http, &long), "open_1", "nothing is guarded here");
    let request = get(Front::Http, "a.test", "/a/../b");
    let explained = explain(world.table(), &request, &Affinity::default(), 0, 0);
    assert_eq!((explained.decision, explained.status), ("ambiguous", Some(400)));
}

proptest::proptest! {
    #[test]
    fn no_path_that_may_be_read_as_a_guarded_one_is_open(
        path in "/(a|b|/|\\.\\.|\\.\\.;|;|%2f|%5c|\\\\|%252f|%2e|%2e%2e|%3b|%62|\\.){0,10}",
    ) {
        let world = guarded_at(&["/a/b"]);
        let under = |path: &String| path.starts_with("/a/b");
        let guarded = under(&path) || super::super::spelling::readings(&path).iter().any(under);
        let said = at(&world, Front::Http, &format!("a.test{path}"));
        proptest::prop_assert_eq!(said, if guarded { "401 g0_2" } else { "open_1" });
    }
}

#[test]
fn the_root_can_be_elsewhere() {
    let world = World::of([app(
        "/a",
        &[1],
        &[("HAPROXY_0_VHOST", "a.test,*.w.test"), ("HAPROXY_0_HTTP_BACKEND_REDIR", "/aaa/")],
    )]);
    let cases = [
        ("a.test/", "301 /aaa/"),
        ("a.test/?", "301 /aaa/"),
        ("a.test/x", "a_1"),
        ("x.w.test/", "301 /aaa/"),
    ];
    check(&world, Front::Http, &cases);
    check(&world, service(1), &cases);
    assert_eq!(at(&world, service(1), "other.test/"), "a_1", "not its host");
}

#[test]
fn an_app_is_asked_for_by_its_id() {
    let (http, tcp) = (("HAPROXY_0_MODE", "http"), ("HAPROXY_1_MODE", "http"));
    let world = World::of([app("/g/a", &[2, 1], &[http, tcp]), app("/tcp", &[3], &[]), {
        let mut none = app("/none", &[4], &[http]);
        none.tasks.clear();
        none
    }]);
    let asked = |id: &str| {
        let headers = BTreeMap::from([("x-marathon-app-id", id)]);
        let request = Request { headers: &headers, ..get(Front::AppId, "whatever", "/") };
        said(&decide(world.table(), &request, 0))
    };
    assert_eq!(asked("/g/a"), "g_a_1", "its lowest port");
    assert_eq!(asked("/G/A"), "g_a_1", "as HAProxy's -i");
    assert_eq!((asked("/tcp"), asked("/no")), ("503".into(), "503".into()));
    assert_eq!(asked("/none"), "503 none_4");
    assert_eq!(at(&world, Front::AppId, "g.a/"), "503", "without the header");
    assert_eq!(at(&world, service(4), "x/"), "none_4", "held there for a while");
}

#[test]
fn tls_is_passed_through_by_the_most_specific_name() {
    let world = World::of([
        app("/tcp", &[1], &[("HAPROXY_0_VHOST", "*.a.test,both.test"), ("HAPROXY_0_MODE", "tcp")]),
        app("/http", &[2], &[("HAPROXY_0_VHOST", "www.a.test,both.test")]),
    ]);
    let passed = |name: &str| world.table().passthrough(name).map(|pool| pool.name.clone());
    assert_eq!(passed("db.a.test").as_deref(), Some("tcp_1"));
    assert_eq!(passed("WWW.a.test"), None, "opened here");
    assert_eq!(passed("both.test").as_deref(), Some("tcp_1"));
    assert_eq!(passed("a.test"), None);
    assert_eq!(at(&world, Front::Http, "both.test/"), "http_2");
    assert_eq!(at(&world, Front::Http, "db.a.test/"), "503", "no plain requests for it");
}

#[test]
fn exposure_is_by_group_and_word() {
    let group = |group| [("HAPROXY_GROUP", group), ("HAPROXY_0_VHOST", "a.test")];
    let exposed = |groups: &[&str], strict, labels: &[(&str, &str)]| {
        let groups = match groups {
            ["all"] => super::super::table::Groups::All,
            named => {
                super::super::table::Groups::Named(named.iter().map(|g| (*g).into()).collect())
            }
        };
        let mut world = World::new(Exposure { groups, strict, ..exposure() });
        world.put([app("/a", &[1], labels)]);
        let routes = (world.table().listeners.len(), world.table().hosts.len());
        assert!(routes == (0, 0) || routes == (1, usize::from(!labels.is_empty())), "{routes:?}");
        routes.0 == 1
    };
    assert!(exposed(&["all"], false, &[]) && exposed(&["*"], false, &[]));
    assert!(exposed(&[], false, &[]) && !exposed(&[], false, &group("external")));
    assert!(exposed(&["x", "external"], false, &group("internal,external")));
    assert!(!exposed(&["external"], false, &group("internal")));
    assert!(!exposed(&["external"], false, &[]));
    assert!(!exposed(&["all"], true, &group("x")));
    let mut enabled = group("x").to_vec();
    enabled.push(("HAPROXY_0_ENABLED", "true"));
    assert!(exposed(&["all"], true, &enabled));
    enabled[2].1 = "false";
    assert!(!exposed(&["all"], false, &enabled));
}

#[test]
fn bad_labels_keep_the_last_good_routes_and_follow_the_tasks() {
    let host = ("HAPROXY_0_VHOST", "a.test");
    let mut world = World::of([app("/a", &[1], &[host])]);
    let mut bad = app("/a", &[1], &[host, ("HAPROXY_0_BACKEND_WEIGHT", "much")]);
    bad.tasks.push(task("new", 2, Readiness::Ready));
    let notices = world.put([bad.clone(), app("/b", &[2], &[("HAPROXY_0_PORT", "x")])]);
    assert_eq!(notices.quarantined.len(), 2);
    assert_eq!(at(&world, Front::Http, "a.test/"), "a_1");
    assert_eq!(world.table().service(1).unwrap().pool.candidates.len(), 2);
    assert!(world.table().service(2).is_none(), "nothing good is known of it");
    assert_eq!(world.put([bad]).quarantined, [], "told already");
    let notices = world.put([app("/a", &[1], &[]), app("/b", &[2], &[])]);
    assert_eq!(notices.quarantined, []);
    assert!(world.table().quarantined.is_empty());
    assert_eq!(at(&world, Front::Http, "a.test/"), "503");
}

#[test]
fn labels_move_ports_and_addresses() {
    let labels = [("HAPROXY_0_PORT", "8123"), ("HAPROXY_0_BIND_ADDR", "127.0.0.2")];
    let world = World::of([app("/a", &[1], &labels)]);
    let keys: Vec<_> = world.table().listeners.keys().copied().collect();
    let ip = Some([127, 0, 0, 2].into());
    assert_eq!(keys, [ListenKey { port: 8123, udp: false, ip }]);
    assert_eq!(at(&world, Front::Service(keys[0]), "x/"), "a_8123");
}

#[test]
fn a_request_is_explained() {
    let host = ("HAPROXY_0_VHOST", "*.a.test");
    let mut app_b = app("/b", &[2], &[host]);
    app_b.tasks.push(task("b.u", 2, Readiness::Unhealthy));
    app_b.tasks.push(task("b.v", 3, Readiness::Draining));
    let world = World::of([app("/a", &[1], &[host, ("HAPROXY_0_PATH", "/api")]), app_b]);
    let told = |url: &str| {
        let cut = url.find('/').unwrap();
        let request = get(Front::Http, &url[..cut], &url[cut..]);
        let explanation = explain(world.table(), &request, &Affinity::default(), 1, 0);
        serde_json::to_string_pretty(&explanation).unwrap()
    };
    expect![[r#"
        {
          "version": 1,
          "listener": "http",
          "host": "www.a.test",
          "rules": [
            {
              "host": "*.a.test",
              "path": "prefix /api",
              "priority": 1,
              "services": [
                "a_1 100"
              ],
              "met": false,
              "why_not": "the path is another"
            },
            {
              "host": "*.a.test",
              "path": "every",
              "priority": 0,
              "services": [
                "b_2 100"
              ],
              "met": true
            }
          ],
          "decision": "forward",
          "reason": "a task answers",
          "service": {
            "app": "/b",
            "index": 0,
            "port": 2,
            "name": "b_2",
            "balance": "round-robin"
          },
          "candidates": [
            {
              "task": "/b.t",
              "address": "10.0.0.1:31000",
              "active": 0
            },
            {
              "task": "b.u",
              "address": "10.0.0.2:31000",
              "active": 0,
              "left_out": "unhealthy"
            },
            {
              "task": "b.v",
              "address": "10.0.0.3:31000",
              "active": 0,
              "left_out": "draining"
            }
          ],
          "pick": {
            "task": "/b.t",
            "address": "10.0.0.1:31000"
          }
        }"#]]
    .assert_eq(&told("www.A.test/x"));
    expect![[r#"
        {
          "version": 1,
          "listener": "http",
          "host": "www.b.test",
          "rules": [],
          "decision": "no-route",
          "reason": "no service has this host",
          "status": 503,
          "candidates": []
        }"#]]
    .assert_eq(&told("www.b.test/x"));
}
