//! `/master/state` documents of any size, for tests and measurements: what Mesos 1.11 writes for a
//! cluster of agents with tasks that Marathon runs, without spaces.

use std::fmt::Write;

/// Tasks that share a name.
const INSTANCES: usize = 4;

/// A state of so many agents and tasks, about 800 bytes per task. Agent *n* is at an address of
/// 10.0.0.0/8 and its tasks have addresses of 172.16.0.0/12; four tasks share each name.
pub fn state(agents: usize, tasks: usize) -> String {
    let mut text = String::with_capacity(1_000 + agents * 900 + tasks * 850);
    let _ = write!(
        text,
        r#"{{"version":"1.11.0","start_time":1700000000.5,"id":"m","pid":"master@10.255.0.1:5050","hostname":"10.255.0.1","capabilities":["AGENT_UPDATE"],"activated_slaves":{agents}.0,"leader":"master@10.255.0.1:5050","flags":{{"port":"5050"}},"slaves":["#
    );
    for n in 0..agents {
        comma(n, &mut text);
        agent(n, &mut text);
    }
    text.push_str(
        r#"],"recovered_slaves":[],"frameworks":[{"id":"f-0000","name":"marathon","pid":"scheduler-9@10.255.0.1:15101","hostname":"10.255.0.1","webui_url":"http://10.255.0.1:8080","active":true,"connected":true,"recovered":false,"user":"root","roles":["*"],"tasks":["#,
    );
    for n in 0..tasks {
        comma(n, &mut text);
        task(n, agents.max(1), &mut text);
    }
    text.push_str(
        r#"],"unreachable_tasks":[],"completed_tasks":[],"offers":[],"executors":[]}],"completed_frameworks":[],"orphan_tasks":[],"unregistered_frameworks":[]}"#,
    );
    text
}

fn comma(n: usize, text: &mut String) {
    if n > 0 {
        text.push(',');
    }
}

/// The last three numbers of an address.
fn octets(n: usize) -> (usize, usize, usize) {
    ((n >> 16) & 255, (n >> 8) & 255, n & 255)
}

fn agent(n: usize, text: &mut String) {
    let (a, b, c) = octets(n + 1);
    let _ = write!(
        text,
        r#"{{"id":"a-S{n}","hostname":"10.{a}.{b}.{c}","port":5051,"attributes":{{}},"pid":"slave(1)@10.{a}.{b}.{c}:5051","registered_time":1700000000.25,"resources":{{"disk":4096.0,"mem":4096.0,"gpus":0.0,"cpus":4.0,"ports":"[31000-32000]"}},"used_resources":{{"disk":0.0,"mem":640.0,"gpus":0.0,"cpus":2.0,"ports":"[31000-31040]"}},"offered_resources":{{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0}},"reserved_resources":{{}},"active":true,"version":"1.11.0","capabilities":["MULTI_ROLE","HIERARCHICAL_ROLE","RESERVATION_REFINEMENT"]}}"#
    );
}

fn task(n: usize, agents: usize, text: &mut String) {
    let (app, agent) = (n / INSTANCES, n % agents);
    let (port, time) = (31_000 + (n / agents) % 1_000, 1_700_000_000 + n);
    let (a, b, c) = octets(n + 1);
    let a = 16 + a % 16;
    let id = format!("team{}_app-{app}.{n:08x}-0000-11ee-8000-02420a000001", app % 50);
    let network = format!(
        r#""container_status":{{"container_id":{{"value":"c-{n}"}},"network_infos":[{{"ip_addresses":[{{"protocol":"IPv4","ip_address":"172.{a}.{b}.{c}"}}]}}]}}"#
    );
    let _ = write!(
        text,
        r#"{{"id":"{id}","name":"app-{app}.team{team}","framework_id":"f-0000","executor_id":"","slave_id":"a-S{agent}","state":"TASK_RUNNING","resources":{{"disk":0.0,"mem":32.0,"gpus":0.0,"cpus":0.1,"ports":"[{port}-{port}]"}},"role":"*","statuses":[{{"state":"TASK_STARTING","timestamp":{time}.125,{network}}},{{"state":"TASK_RUNNING","timestamp":{time}.5,{network}}}],"labels":[{{"key":"tier","value":"front"}}],"discovery":{{"visibility":"FRAMEWORK","name":"app-{app}.team{team}","ports":{{"ports":[{{"number":{port},"name":"http","protocol":"tcp"}}]}}}}}}"#,
        team = app % 50,
    );
}
