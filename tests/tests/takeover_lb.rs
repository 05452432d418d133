//! One `waymark lb` after the other: datagrams, and processes that are killed halfway.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story fails by panicking"
)]

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::json;
use waymark_stories::{FakeMarathon, Lb, Load, LoadKind, eventually, fake_app, fake_task};

fn gone(mut child: Child) {
    eventually("the old process ends", || child.try_wait().ok().flatten());
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

/// The next datagram and who it is from; those that only looked whether somebody is there are none.
fn next(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 64];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).expect("a datagram");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text != "probe" {
            return (text, from);
        }
    }
}

/// How often the log says it.
fn said(lb: &Lb, what: &str) -> usize {
    lb.log().matches(what).count()
}

#[test]
fn datagrams_go_to_the_new_process_and_late_answers_come_by_the_old_one() {
    let marathon = FakeMarathon::start();
    // Longer than the story waits for anything: no session lasts until then.
    let mut lb = Lb::start(&[marathon.url()], &["--takeover", "--stop-timeout=10m"]);
    let (task, client) = (socket(), socket());
    let port = lb.ports.service_min;
    let mut app = fake_app("/echo", port, &[task.local_addr().unwrap().port()]);
    app["portDefinitions"] = json!([{"port": port, "protocol": "udp"}]);
    marathon.put(app);
    let to = ("127.0.0.1", port);
    let probe = socket();
    probe.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    task.set_nonblocking(true).unwrap();
    eventually("the port is served", || {
        probe.send_to(b"probe", to).unwrap();
        let mut buffer = [0; 64];
        let (_, from) = task.recv_from(&mut buffer).ok()?;
        task.send_to(b"answer", from).unwrap();
        probe.recv_from(&mut buffer).ok().map(|_| ())
    });
    task.set_nonblocking(false).unwrap();

    client.send_to(b"first", to).unwrap();
    let (text, by_the_old_one) = next(&task);
    assert_eq!(text, "first");
    let old = lb.spawn_successor();
    eventually("the old one has let go", || {
        (said(&lb, "the process before has let go") == 1).then_some(())
    });
    task.send_to(b"late", by_the_old_one).unwrap();
    assert_eq!(next(&client).0, "late");
    for number in 0..50 {
        client.send_to(format!("{number}").as_bytes(), to).unwrap();
        let (text, by_the_new_one) = next(&task);
        assert_eq!(text, number.to_string());
        assert_ne!(by_the_new_one, by_the_old_one);
        task.send_to(text.as_bytes(), by_the_new_one).unwrap();
        assert_eq!(next(&client).0, text);
    }
    gone(old);
    client.send_to(b"alone", to).unwrap();
    let (_, from) = next(&task);
    task.send_to(b"yes", from).unwrap();
    assert_eq!(next(&client).0, "yes");
}

/// `kill -9` of either process at moments that differ: the other one serves.
#[test]
fn kills_in_the_middle_leave_one_that_serves() {
    let marathon = FakeMarathon::start();
    let mut lb = Lb::start(&[marathon.url()], &["--takeover"]);
    let port = lb.ports.service_min;
    marathon.put(fake_app("/one", port, &[fake_task("one")]));
    lb.until(port, Some("one"));
    let socket = lb.data().join("handover.sock");
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..16 {
        eventually("the socket is there", || socket.metadata().ok());
        assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut old = lb.spawn_successor();
        let moment = Instant::now() + Duration::from_micros(next(200_000));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        if round % 2 == 0 {
            old.kill().unwrap();
            old.wait().unwrap();
        } else {
            lb.kill_9();
            lb.adopt_child(old);
            gone_after_takeover(&mut lb);
        }
        lb.until(port, Some("one"));
    }
}

/// Yet another process, whatever the one before still does.
fn gone_after_takeover(lb: &mut Lb) {
    let old = lb.spawn_successor();
    gone(old);
}

/// The socket of a process that was killed is in nobody's way, and a killed one's successor starts
/// at once.
#[test]
fn what_a_killed_process_leaves_is_cleared_away() {
    let marathon = FakeMarathon::start();
    let mut lb = Lb::start(&[marathon.url()], &["--takeover"]);
    let port = lb.ports.service_min;
    marathon.put(fake_app("/one", port, &[fake_task("one")]));
    lb.until(port, Some("one"));
    lb.kill_9();
    assert!(lb.data().join("handover.sock").exists());
    lb.start_again();
    lb.until(port, Some("one"));
    let load = Load::start(port, "/", LoadKind::ConnectionPerRequest, 2);
    gone_after_takeover(&mut lb);
    let before = load.answered();
    eventually("the new one answers", || (load.answered() > before + 20).then_some(()));
    load.finish().assert_flawless(20);
}
