//! The balancer's own checks of tasks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::*;
use waymark_model::{
    AppEntry, CheckProtocol, HealthCheck, PortReference, Protocol, Readiness, TaskEntry,
};
use waymark_proxy::route::{Affinity, Front, Headers, Request};
use waymark_proxy::{ActiveChecks, ListenKey, ProxyConfig, Reason};

struct NoHeaders;

impl Headers for NoHeaders {
    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

/// Why each task of the service would get nothing now.
fn left_out(world: &World, port: u16) -> Vec<Option<Reason>> {
    let front = Front::Service(ListenKey { port, udp: false, ip: None });
    let source = ([127, 0, 0, 1], 1).into();
    let request = Request {
        front,
        secure: false,
        method: "GET",
        host: "",
        target: "/",
        source,
        headers: &NoHeaders,
    };
    let explanation = world.proxy.explain(&request, &Affinity::default());
    explanation.candidates.into_iter().map(|candidate| candidate.left_out).collect()
}

/// An app with a check by TCP, these labels and these tasks.
async fn publish(
    world: &mut World,
    port: u16,
    labels: &[(&str, &str)],
    tasks: Vec<Arc<TaskEntry>>,
) {
    let app = entry("/a", Protocol::Tcp, port, labels, tasks);
    world.put(AppEntry { health_checks: vec![by_tcp()], ..app }).await;
}

fn by_tcp() -> HealthCheck {
    HealthCheck {
        protocol: CheckProtocol::Tcp,
        port: Some(PortReference::Index(0)),
        ..HealthCheck::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_says_how_often_it_is_checked() {
    let port = free_port();
    let rare = Duration::from_secs(3600);
    let checks = ActiveChecks { interval: rare, timeout: rare, fall: 2, rise: 1 };
    let mut world = World::start(ProxyConfig { active_checks: Some(checks), ..config() });
    let address = refusing();
    let tasks = || vec![task("ill", address, Readiness::Ready)];
    publish(&mut world, port, &[], tasks()).await;
    assert_eq!(left_out(&world, port), [None], "it is checked once an hour");
    publish(&mut world, port, &[("WAYMARK_0_CHECK_INTERVAL", "100ms")], tasks()).await;
    let failing = || left_out(&world, port) == [Some(Reason::CheckFailed)];
    eventually("found out", failing).await;

    // Checked in another way from now on, it is no better for it. Another app's check, found out
    // later, shows that the change has been followed.
    let labels = [("WAYMARK_0_CHECK_INTERVAL", "1h")];
    publish(&mut world, port, &labels, tasks()).await;
    let (other, labels) = (free_port(), [("WAYMARK_0_CHECK_INTERVAL", "100ms")]);
    let app = entry("/b", Protocol::Tcp, other, &labels, tasks());
    world.put(AppEntry { health_checks: vec![by_tcp()], ..app }).await;
    eventually("followed", || left_out(&world, other) == [Some(Reason::CheckFailed)]).await;
    assert_eq!(left_out(&world, port), [Some(Reason::CheckFailed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_check_fails_is_tried_last_until_it_succeeds_again() {
    let (backend, port) = (Backend::start("good").await, free_port());
    let checks = ActiveChecks {
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        fall: 2,
        rise: 1,
    };
    let mut world = World::start(ProxyConfig { active_checks: Some(checks), ..config() });
    let address = refusing();
    let tasks = vec![backend.ready(), task("ill", address, Readiness::Ready)];
    publish(&mut world, port, &[], tasks).await;
    let failing = || left_out(&world, port).contains(&Some(Reason::CheckFailed));
    eventually("found out", failing).await;
    for _ in 0..10 {
        assert_eq!(ask_once(port).await.unwrap(), "good");
    }
    assert_eq!(world.port(port).connect_errors, 0, "no client had to find out");

    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _backend = Backend::on("ill", listener);
    eventually("well again", || left_out(&world, port) == [None, None]).await;
}
