//! The real Mesos of the stories does what they rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story fails by panicking")]

use serde_json::{Value, json};
use waymark_stories::{Mesos, MesosOptions, MesosTask, eventually};

/// The tasks in the leader's state document.
fn tasks(mesos: &mut Mesos) -> Vec<Value> {
    let state = mesos.state_json();
    let frameworks = state["frameworks"].as_array().unwrap();
    frameworks.iter().flat_map(|f| f["tasks"].as_array().unwrap().clone()).collect()
}

#[test]
fn tasks_of_every_kind_run_and_are_told() {
    let mut mesos = Mesos::start(2);
    let marathon = mesos.framework("marathon");
    let ports = json!({"ports": [{"number": 31000, "name": "http", "protocol": "tcp"}]});
    let web = MesosTask::new("web").port(31000).label("tier", "front").on(1);
    let web = web.discovery(json!({"visibility": "EXTERNAL", "name": "site", "ports": ports}));
    let web = marathon.run(web);
    let net = marathon.run(MesosTask::new("net").networks(&["10.1.2.3", "fd00::7"]));
    let pod = marathon.run(MesosTask::new("pod").pod());
    let many: Vec<_> = (0..20).map(|_| marathon.launch(MesosTask::new("many").shared())).collect();
    many.iter().for_each(|id| drop(marathon.wait_for(id, "TASK_RUNNING")));
    let told = tasks(&mut mesos);
    assert_eq!(told.len(), 23);
    let find = |id: &str| told.iter().find(|t| t["id"] == id).unwrap();
    assert_eq!(find(&web)["discovery"]["ports"], ports);
    assert_eq!(find(&web)["labels"], json!([{"key": "tier", "value": "front"}]));
    let networks = &find(&net)["statuses"].as_array().unwrap().last().unwrap()["container_status"];
    assert_eq!(networks["network_infos"][1]["ip_addresses"][0]["ip_address"], "fd00::7");
    for id in [&web, &net, &pod, &many[0]] {
        marathon.kill(id);
        marathon.wait_for(id, "TASK_KILLED");
    }
    mesos.kill_agent(1);
    mesos.wait_for_agents_gone(1);
}

#[test]
fn a_new_leader_takes_over_with_all_tasks() {
    let mut mesos = Mesos::elected(3, 1);
    let marathon = mesos.framework("marathon");
    let id = marathon.run(MesosTask::new("web"));
    let old = mesos.kill_leader();
    eventually("the task is known to a new leader", || {
        let leader = mesos.leader().filter(|n| *n != old)?;
        let state = mesos.ask(leader, "/master/state")?;
        state["frameworks"][0]["tasks"].as_array()?.iter().find(|t| t["id"] == *id).map(drop)
    });
    marathon.run(MesosTask::new("more"));
}

#[test]
fn tls_and_passwords_work() {
    let user = Some(("reader".to_owned(), "secret".to_owned()));
    let mut mesos =
        Mesos::with(MesosOptions { masters: 1, agents: 1, user, tls: true, ..Default::default() });
    let marathon = mesos.framework("marathon");
    marathon.run(MesosTask::new("web"));
    assert_eq!(tasks(&mut mesos).len(), 1);
}
