//! Tasks: lists in both forms, and killing.

use serde_json::json;

use super::*;

const TWO_PORTS: &str = r#"{"id":"/shop/web","cmd":"x","instances":1,"ports":[0,0]}"#;
const NO_PORTS: &str = r#"{"id":"/worker","cmd":"x","instances":2,"ports":[]}"#;

async fn tasks_of(server: &Server, app: &str) -> Vec<Value> {
    let list = server.get(&format!("/v2/apps/{app}/tasks")).await.json();
    list["tasks"].as_array().unwrap().clone()
}

fn ids(tasks: &[Value]) -> Vec<&str> {
    tasks.iter().map(|task| task["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn listed_as_json() {
    let server = Server::start().await;
    server.deployed(TWO_PORTS).await;
    server.deployed(NO_PORTS).await;
    let list = server.get("/v2/tasks").await.json();
    let tasks = list["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 3);
    assert_eq!(tasks[0]["appId"], "/shop/web");
    assert_eq!(tasks[0]["servicePorts"], json!([10000, 10001]));
    assert_eq!(tasks[0]["ports"].as_array().unwrap().len(), 2);
    for (status, count) in [("running", 3), ("staging", 0), ("nonsense", 3)] {
        for name in ["status", "status[]"] {
            let list = server.get(&format!("/v2/tasks?{name}={status}")).await.json();
            assert_eq!(list["tasks"].as_array().unwrap().len(), count, "{name}={status}");
        }
    }
    let own = tasks_of(&server, "shop/web").await;
    assert_eq!((own.len(), &own[0]["servicePorts"]), (1, &json!([])));
    let below = server.get("/v2/apps/shop/*/tasks").await.json();
    assert_eq!(below["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn listed_as_text() {
    let server = Server::start().await;
    server.deployed(TWO_PORTS).await;
    server.deployed(NO_PORTS).await;
    server.deployed(r#"{"id":"/none","cmd":"x","instances":0,"ports":[7000]}"#).await;
    let ports = tasks_of(&server, "shop/web").await[0]["ports"].clone();
    let plain = "Accept: text/plain\r\n";
    let web =
        format!("shop_web\t10000\tnode1:{}\t\nshop_web\t10001\tnode1:{}\t\n", ports[0], ports[1]);
    let reply = server.request("GET", "/v2/tasks", plain, "").await;
    reply.is(200, &format!("none\t7000\t\n{web}worker\t \tnode1\tnode1\t\n"));
    assert_eq!(reply.header("Content-Type"), "text/plain;charset=utf-8");
    let reply = server.request("GET", "/v2/apps/shop/web/tasks", plain, "").await;
    reply.is(200, &web);
    let both = "Accept: text/plain, application/json\r\n";
    server.request("GET", "/v2/tasks", both, "").await.json();
    let neither = "Accept: image/png\r\n";
    assert_eq!(server.request("GET", "/v2/tasks", neither, "").await.status, 406);
}

#[tokio::test]
async fn killed_tasks_are_replaced() {
    let server = Server::start().await;
    server.deployed(NO_PORTS).await;
    let before = tasks_of(&server, "worker").await;
    let victim = before[0]["id"].as_str().unwrap();
    let reply = server.send("DELETE", &format!("/v2/apps/worker/tasks/{victim}"), "").await;
    assert_eq!((reply.status, &reply.json()["task"]["id"]), (200, &before[0]["id"]));
    let id = TaskId::from_text(victim);
    let replaced = || {
        let state = server.handle.state();
        state.task(&id).is_none() && state.task_apps.len() == 2
    };
    until("a replacement", replaced).await;
    let missing = format!(r#"{{"message":"Task '{victim}' does not exist"}}"#);
    let reply = server.send("DELETE", &format!("/v2/apps/worker/tasks/{victim}"), "").await;
    reply.is(404, &missing);
    let reply = server.send("DELETE", "/v2/apps/worker/tasks?host=other", "").await;
    reply.is(200, r#"{"tasks":[]}"#);
    let reply = server.send("DELETE", "/v2/apps/worker/tasks?host=node1", "").await;
    assert_eq!(reply.json()["tasks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn killed_tasks_lower_the_scale_when_asked() {
    let server = Server::start().await;
    server.deployed(NO_PORTS).await;
    let tasks = tasks_of(&server, "worker").await;
    let body = json!({"ids": [ids(&tasks)[0], "worker.instance-none._app.1"]}).to_string();
    let reply = server.send("POST", "/v2/tasks/delete?scale=True", &body).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["deploymentId"], reply.header("Marathon-Deployment-Id"));
    server.settled().await;
    assert_eq!(server.get("/v2/apps/worker").await.json()["app"]["instances"], 1);
    assert_eq!(ids(&tasks_of(&server, "worker").await), [ids(&tasks)[1]]);
    let reply = server.send("DELETE", "/v2/apps/worker/tasks?scale=true", "").await;
    assert!(reply.json()["version"].is_string());
    server.settled().await;
    assert_eq!(server.get("/v2/apps/worker").await.json()["app"]["instances"], 0);
}

#[tokio::test]
async fn refused_kills() {
    let server = Server::start().await;
    let delete = async |query: &str, body: &str| {
        server.send("POST", &format!("/v2/tasks/delete{query}"), body).await
    };
    delete("", r#"{"ids":["a.instance-1._app.1"]}"#).await.is(200, r#"{"tasks":[]}"#);
    delete("?scale=true&wipe=true", r#"{"ids":[]}"#)
        .await
        .is(400, r#"{"message":"You cannot use scale and wipe at the same time."}"#);
    delete("", "").await.is(400, r#"{"message":"Please specify data in JSON format"}"#);
    delete("", "{}").await.is(
        422,
        r#"{"message":"Invalid JSON","details":[{"path":"/ids","errors":["error.path.missing"]}]}"#,
    );
    let reply = delete("", r#"{"ids":["x"]}"#).await;
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    assert!(reply.status == 400 && message.starts_with("Invalid task id 'x'. "), "{message}");
    server
        .send("DELETE", "/v2/queue/a/delay", "")
        .await
        .is(404, r#"{"message":"Application /a not found in tasks queue."}"#);
}
