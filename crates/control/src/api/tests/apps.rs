//! Apps: create, read, change, remove.

use serde_json::json;

use super::*;

const WEB: &str = r#"{"id":"/shop/web","cmd":"x","instances":2,"labels":{"tier":"front"}}"#;

#[tokio::test]
async fn created_and_read() {
    let server = Server::start().await;
    let reply = server.send("POST", "/v2/apps", WEB).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("Location"), "/v2/apps/shop/web");
    let app = reply.json();
    assert_eq!(app["id"], "/shop/web");
    assert_eq!(app["portDefinitions"][0]["port"], 10000);
    assert_eq!((&app["tasksRunning"], &app["tasks"]), (&json!(0), &json!([])));
    let deployment = app["deployments"][0]["id"].as_str().unwrap();
    assert_eq!(reply.header("Marathon-Deployment-Id"), deployment);
    server.settled().await;

    for path in ["/v2/apps/shop/web", "/v2/apps//shop/web", "/v2/apps/%2Fshop%2Fweb"] {
        let app = &server.get(path).await.json()["app"];
        assert_eq!((&app["tasksRunning"], &app["deployments"]), (&json!(2), &json!([])), "{path}");
        assert_eq!(app["tasks"].as_array().unwrap().len(), 2);
        assert_eq!(app["tasks"][0]["host"], "node1");
    }
    let list = server.get("/v2/apps").await.json();
    assert_eq!(list["apps"][0]["tasksRunning"], 2);
    assert_eq!(list["apps"][0].get("tasks"), None);
    let list = server.get("/v2/apps?embed=apps.tasks").await.json();
    assert_eq!(list["apps"][0]["tasks"].as_array().unwrap().len(), 2);
    let below = server.get("/v2/apps/shop/*").await.json();
    assert_eq!(below["*"][0]["id"], "/shop/web");
}

#[tokio::test]
async fn lists_are_filtered() {
    let server = Server::start().await;
    server.deployed(WEB).await;
    server.deployed(r#"{"id":"/db","cmd":"postgres"}"#).await;
    let ids = async |query: &str| {
        let list = server.get(&format!("/v2/apps?{query}")).await.json();
        let ids = list["apps"].as_array().unwrap().iter().map(|app| app["id"].clone());
        Value::Array(ids.collect())
    };
    assert_eq!(ids("id=WEB").await, json!(["/shop/web"]));
    assert_eq!(ids("cmd=post").await, json!(["/db"]));
    assert_eq!(ids("label=tier").await, json!(["/shop/web"]));
    assert_eq!(ids("label=tier%3D%3Dfront&id=db").await, json!([]));
    let reply = server.get("/v2/apps?label=,").await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn refusals_have_marathons_bodies() {
    let server = Server::start().await;
    server.deployed(WEB).await;
    let missing = r#"{"message":"App '/none' does not exist"}"#;
    server.get("/v2/apps/none").await.is(404, missing);
    server.get("/v2/apps/none/tasks").await.is(404, missing);
    server.get("/v2/apps/none/versions").await.is(404, missing);
    server.send("DELETE", "/v2/apps/none", "").await.is(404, missing);
    server.send("POST", "/v2/apps/none/restart", "").await.is(404, missing);
    server.send("PATCH", "/v2/apps/none", r#"{"instances":1}"#).await.is(404, missing);
    let bad = r#"{"message":"App '/No_id' does not exist"}"#;
    server.get("/v2/apps/No_id").await.is(404, bad);

    let post = async |body: &str| server.send("POST", "/v2/apps", body).await;
    post(WEB).await.is(409, r#"{"message":"An app with id [/shop/web] already exists."}"#);
    post("").await.is(400, r#"{"message":"Please specify data in JSON format"}"#);
    let reply = post("{").await;
    assert_eq!((reply.status, &reply.json()["message"]), (400, &json!("Invalid JSON")));
    post(r#"{"cmd":"x"}"#).await.is(
        422,
        r#"{"message":"Invalid JSON","details":[{"path":"/id","errors":["error.path.missing"]}]}"#,
    );
    post(r#"{"id":5}"#).await.is(
        422,
        r#"{"message":"Invalid JSON","details":[{"path":"/id","errors":["error.expected.jsstring"]}]}"#,
    );
    let reply = post(r#"{"id":"/n"}"#).await;
    assert_eq!((reply.status, &reply.json()["message"]), (422, &json!("Object is not valid")));
    let reply = server.send("PUT", "/v2/apps/Bad", r#"{"cmd":"x"}"#).await;
    assert_eq!((reply.status, &reply.json()["details"][0]["path"]), (422, &json!("/id")));
    server.send("PUT", "/v2/apps/a", r#"{"id":"/b","cmd":"x"}"#).await.is(
        422,
        r#"{"message":"Object is not valid","details":[{"path":"/id","errors":["must be '/a', the id in the path"]}]}"#,
    );
    let body = r#"{"version":"2026-01-01T00:00:00.000Z"}"#;
    server.send("PUT", "/v2/apps/shop/web", body).await.is(
        404,
        r#"{"message":"App '/shop/web' does not exist in version 2026-01-01T00:00:00.000Z"}"#,
    );
    assert_eq!(server.get("/v2/apps").await.json()["apps"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn put_creates_changes_and_replaces() {
    let server = Server::start().await;
    let reply = server.send("PUT", "/v2/apps//web", r#"{"cmd":"x","env":{"A":"1"}}"#).await;
    assert_eq!((reply.status, reply.header("Location")), (201, "/v2/apps/web"));
    assert_eq!(reply.json()["deploymentId"], reply.header("Marathon-Deployment-Id"));
    server.settled().await;
    let first = server.get("/v2/apps/web").await.json()["app"].clone();

    // The same again changes nothing, and its deployment is over at once.
    let reply = server.send("PUT", "/v2/apps/web", r#"{"cmd":"x"}"#).await;
    assert_eq!((reply.status, &reply.json()["version"]), (200, &first["version"]));
    server.get("/v2/deployments").await.is(200, "[]");

    // What is not given stays …
    let reply = server.send("PUT", "/v2/apps/web?force=True", r#"{"instances":3}"#).await;
    assert_eq!(reply.status, 200);
    server.settled().await;
    let app = server.get("/v2/apps/web").await.json()["app"].clone();
    assert_eq!((&app["instances"], &app["env"]), (&json!(3), &json!({"A": "1"})));
    assert_ne!(app["version"], first["version"]);
    // … but not in a complete definition.
    server.send("PUT", "/v2/apps/web?partialUpdate=false", r#"{"cmd":"x"}"#).await;
    server.settled().await;
    let app = server.get("/v2/apps/web").await.json()["app"].clone();
    assert_eq!((&app["instances"], app.get("env")), (&json!(1), None));

    let version = app["version"].as_str().unwrap();
    let versions = server.get("/v2/apps/web/versions").await.json();
    assert_eq!(versions, json!({"versions": [version]}));
    let kept = server.get(&format!("/v2/apps/web/versions/{version}")).await.json();
    assert_eq!(kept["cmd"], "x");
    let reply = server.send("PUT", "/v2/apps/web", &json!({"version": version}).to_string()).await;
    assert_eq!((reply.status, &reply.json()["version"]), (200, &json!(version)));
}

#[tokio::test]
async fn several_at_once() {
    let server = Server::start().await;
    let two = r#"[{"id":"/a","cmd":"x"},{"id":"b","cmd":"y"}]"#;
    let reply = server.send("PATCH", "/v2/apps", two).await;
    reply.is(404, r#"{"message":"App '/a' does not exist"}"#);
    let reply = server.send("PUT", "/v2/apps", two).await;
    assert_eq!(reply.status, 200);
    server.settled().await;
    let reply = server.send("PATCH", "/v2/apps", r#"[{"id":"/a","instances":0}]"#).await;
    assert_eq!(reply.status, 200);
    server.settled().await;
    assert_eq!(server.get("/v2/apps/a").await.json()["app"]["instances"], 0);
    // One that is wrong, and nothing is put.
    let reply = server.send("PUT", "/v2/apps", r#"[{"id":"/c","cmd":"x"},{"id":"/d"}]"#).await;
    assert_eq!(reply.status, 422);
    assert_eq!(server.get("/v2/apps/c").await.status, 404);
}

#[tokio::test]
async fn restarted_and_removed() {
    let server = Server::start().await;
    server.deployed(WEB).await;
    let before = server.get("/v2/apps/shop/web").await.json()["app"].clone();
    let reply = server.send("POST", "/v2/apps/shop/web/restart", "").await;
    assert_eq!(reply.status, 200);
    server.settled().await;
    let after = server.get("/v2/apps/shop/web").await.json()["app"].clone();
    assert_ne!(before["tasks"][0]["id"], after["tasks"][0]["id"]);
    assert_eq!(before["portDefinitions"], after["portDefinitions"]);
    let reply = server.send("DELETE", "/v2/apps/shop/web", "").await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["deploymentId"].is_string());
    server.settled().await;
    server.get("/v2/apps").await.is(200, r#"{"apps":[]}"#);
}

#[tokio::test]
async fn a_locked_app_tells_by_which_deployment() {
    let server = Server::start().await;
    // A check that cannot be healthy keeps the deployment going.
    let stuck = r#"{"id":"/stuck","cmd":"x","healthChecks":[{"protocol":"HTTP","path":"/"}]}"#;
    let created = server.send("POST", "/v2/apps", stuck).await;
    let deployment = created.header("Marathon-Deployment-Id");
    let listed = server.get("/v2/deployments").await.json();
    assert_eq!(listed[0]["id"], deployment);
    assert_eq!(listed[0]["affectedApps"], json!(["/stuck"]));
    let app = server.get("/v2/apps/stuck").await.json();
    assert_eq!(app["app"]["deployments"], json!([{"id": deployment}]));
    let reply = server.send("PUT", "/v2/apps/stuck", r#"{"instances":2}"#).await;
    assert_eq!((reply.status, &reply.json()["deployments"]), (409, &json!([{"id": deployment}])));
    let reply = server.send("PUT", "/v2/apps/stuck?force=true", r#"{"instances":2}"#).await;
    assert_eq!(reply.status, 200);
    // Removing has always been forced, unless it is said otherwise.
    assert_eq!(server.send("DELETE", "/v2/apps/stuck?force=false", "").await.status, 409);
    assert_eq!(server.send("DELETE", "/v2/apps/stuck", "").await.status, 200);
}
