//! Sockets to tasks count as descriptors, also those of streams. Alone in its program: the limit is the
//! process's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test fails by panicking.

mod support;

use std::task::{Context, Poll, Waker};

use http::Request;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::eventually;
use support::http::{Recorder, Web};

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://a.test{path}")).body(()).unwrap()
}

#[tokio::test]
async fn streams_have_as_many_sockets_to_tasks_as_there_are_descriptors() {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // Seven eighths of it are read when a load balancer starts.
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let task = Recorder::start(|_| Some(Vec::new())).await;
    let web = Web::start(&[task.address]).await;
    setrlimit(Resource::RLIMIT_NOFILE, before, hard).unwrap();
    let mut client = web.h2().await;
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        let (answer, _) = client.send_request(get("/"), true).unwrap();
        open.push(Box::pin(answer));
    }
    eventually("all are answered or at the task", || {
        let waker = &mut Context::from_waker(Waker::noop());
        open.retain_mut(|answer| match answer.as_mut().poll(waker) {
            Poll::Ready(answer) => {
                assert_eq!(answer.unwrap().status(), 503);
                refused += 1;
                false
            }
            Poll::Pending => true,
        });
        refused > 0 && open.len() == web.in_use(task.address)
    })
    .await;
    // 56, of which the client has two, and the listeners one each.
    assert!((40..=54).contains(&open.len()), "{} sockets, {refused} refused", open.len());
    drop(open);
    eventually("what ended is free", || web.in_use(task.address) == 0).await;
    let (_answer, _) = client.send_request(get("/"), true).unwrap();
    eventually("it may be used again", || web.in_use(task.address) == 1).await;
}
