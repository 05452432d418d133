//! Masters that want to know who asks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use std::net::IpAddr;

use serde_json::{Value, json};
use waymark_stories::{Mesos, MesosDns, MesosOptions, MesosTask, eventually};

fn ip(text: impl ToString) -> IpAddr {
    text.to_string().parse().unwrap()
}

fn basic(secret: &str) -> Value {
    json!({
        "mesosAuthentication": "basic",
        "mesosCredentials": {"principal": "reader", "secret": secret},
    })
}

#[test]
fn a_password_is_shown_and_a_wrong_one_loses_nothing() {
    let user = Some(("reader".to_owned(), "right-secret".to_owned()));
    let mesos =
        Mesos::with(MesosOptions { masters: 1, agents: 1, user, ..MesosOptions::default() });
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web"));
    let agent = ip(mesos.agent_address(0));
    let mut dns = MesosDns::start(&mesos, basic("right-secret"));
    dns.wait_for("web.marathon.mesos", &[agent]);
    let later = marathon.run(MesosTask::new("later"));
    dns.wait_for("later.marathon.mesos", &[agent]);

    dns.stop();
    dns.configure(&basic("wrong-secret"));
    dns.start_again();
    dns.wait_for("web.marathon.mesos", &[agent]);
    eventually("the log says why", || dns.log().contains("401").then_some(()));
    assert_eq!(dns.dig("later.marathon.mesos", "A").addresses, [agent]);
    let log = dns.log();
    assert!(!log.contains("right-secret") && !log.contains("wrong-secret"), "{log}");

    dns.stop();
    dns.configure(&basic("right-secret"));
    dns.start_again();
    marathon.kill(&later);
    dns.wait_for("later.marathon.mesos", &[]);
    dns.wait_for("web.marathon.mesos", &[agent]);
}

#[test]
fn tls_with_an_own_authority_and_a_client_certificate() {
    let mesos =
        Mesos::with(MesosOptions { masters: 1, agents: 1, tls: true, ..MesosOptions::default() });
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web"));
    let agent = ip(mesos.agent_address(0));
    let tls = mesos.tls();
    let mut dns = MesosDns::start(
        &mesos,
        json!({
            "MesosHTTPSOn": true, "CACertFile": tls.authority,
            "CertFile": tls.client.certificate, "KeyFile": tls.client.key,
        }),
    );
    dns.wait_for("web.marathon.mesos", &[agent]);
    let later = marathon.run(MesosTask::new("later"));
    dns.wait_for("later.marathon.mesos", &[agent]);

    // Without a certificate of its own it is not let in, and keeps what it has.
    dns.stop();
    dns.configure(&json!({"CertFile": "", "KeyFile": ""}));
    dns.start_again();
    dns.wait_for("web.marathon.mesos", &[agent]);
    eventually("it was turned away", || {
        let version = dns.get("/v1/version").json();
        (!version["SourceTrouble"].as_str()?.contains("from disk")).then_some(())
    });
    marathon.kill(&later);
    marathon.wait_for(&later, "TASK_KILLED");
    assert_eq!(dns.dig("later.marathon.mesos", "A").addresses, [agent]);
}
