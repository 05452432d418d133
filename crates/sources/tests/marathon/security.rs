//! Credentials and TLS: who sees what, and who is believed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use waymark_sources::client::{Auth, ClientError};
use waymark_sources::marathon::{MarathonConfig, MarathonConfigError, MarathonSource};

use crate::fake::{Fake, Following, app, config};
use crate::server::certificates::Certificates;
use crate::server::{Reply, Server};

#[tokio::test]
async fn credentials_are_seen_by_the_marathons_of_the_settings_only() {
    let leader = Fake::start(&[app("/web", 10000, 2)]).await;
    let (standby, thief) = (Server::start().await, Server::start().await);
    let wanted = format!("Basic {}", STANDARD.encode("me:pass:word"));
    leader.fail(move |asked| {
        (asked.header("authorization") != Some(wanted.as_str())).then(|| Reply::status(401))
    });
    thief.answer(|_| Reply::status(401));
    let to = format!("http://{}", thief.addr);
    standby.answer(move |asked| Reply::Redirect(format!("{to}{}", asked.path)));
    let urls = [format!("http://{}", standby.addr), leader.url()];
    let mut settings = config(&urls);
    settings.auth = Auth::basic("me:pass:word").unwrap();
    assert!(!format!("{settings:?}").contains("pass"));
    let following = Following::start(settings.clone());
    following.until_tasks("/web", 2).await;
    assert!(!thief.asked().is_empty());
    assert!(thief.asked().iter().all(|asked| asked.header("authorization").is_none()));
    drop(following);
    // To one of the settings it goes along, by another name as well, if that is the same address.
    let port = leader.server.addr.port();
    standby.answer(move |asked| Reply::Redirect(format!("http://localhost:{port}{}", asked.path)));
    let following = Following::start(settings);
    following.until_tasks("/web", 2).await;
    assert_eq!(following.status.report().failures, 0);
}

#[tokio::test]
async fn certificates_are_verified() {
    let certificates = Certificates::new();
    let server = Server::start_with(Some(certificates.acceptor(false))).await;
    server.answer(|asked| match asked.path.split('?').next() {
        Some("/base/v2/info") => Reply::json(r#"{"name":"m","leader":"l:1"}"#),
        Some("/base/v2/events") => Reply::status(404),
        Some("/base/v2/apps") => Reply::json(format!("{{\"apps\":[{}]}}", app("/web", 1, 1))),
        _ => Reply::status(500),
    });
    let mut settings = config(&[format!("https://{}/base/", server.addr)]);
    let following = Following::start(settings.clone());
    following.until(|_, _, report| report.failures > 2).await;
    assert_eq!(following.reader.latest().version, 0);
    following.until_lost("TLS").await;
    settings.tls.ca_file = Some(certificates.file("ca.pem").unwrap());
    Following::start(settings).until_tasks("/web", 1).await;
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |change: &dyn Fn(&mut MarathonConfig)| {
        let mut config = config(&["http://a:8080".to_owned()]);
        change(&mut config);
        MarathonSource::new(config).map(|_| ()).unwrap_err()
    };
    assert!(matches!(refused(&|c| c.urls.clear()), MarathonConfigError::NoUrls));
    let url = refused(&|c| c.urls.push("http://u:secret@m:8080".to_owned()));
    assert!(url.to_string().starts_with("\"http://***@m:8080\""), "{url}");
    let zero = refused(&|c| c.refresh = std::time::Duration::ZERO);
    assert!(matches!(zero, MarathonConfigError::Zero("refresh")));
    #[allow(clippy::reversed_empty_ranges)]
    let range = refused(&|c| c.invented_ports = Some(10100..=10050));
    assert!(matches!(range, MarathonConfigError::BadRange(10100, 10050)));
    let no_file = refused(&|c| {
        c.urls = vec!["https://m".to_owned()];
        c.tls.ca_file = Some("/nowhere/ca.pem".into());
    });
    assert!(matches!(no_file, MarathonConfigError::Client(ClientError::File { .. })));
}
