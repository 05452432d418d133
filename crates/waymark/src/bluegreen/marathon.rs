//! What a deployment asks of Marathon, and orders.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waymark_bluegreen::without_nulls;
use waymark_marathon_api::answer::{self, AppFacts};
use waymark_sources::client::{Auth, Reply, Rest, TlsConfig};

use super::ending::Ending;
use super::flags::Flags;
use crate::settings::Surroundings;

/// One request, from connecting to the last byte; marathon-lb's.
const TIMEOUT: Duration = Duration::from_secs(46);

/// DC/OS gives services their account in this variable.
const ACCOUNT_VARIABLE: &str = "DCOS_SERVICE_ACCOUNT_CREDENTIAL";

/// A Marathon.
pub struct Marathon {
    rest: Rest,
    url: String,
}

/// What became of an order.
pub enum Ordered {
    /// Marathon carries it out.
    Taken,
    /// Another change of the app holds it; to be said again later.
    Locked(String),
    /// No answer: it may have been carried out.
    Unheard(String),
    /// Marathon says no.
    Refused(String),
}

/// An app as Marathon shows it.
pub struct Shown {
    /// Whole, without nulls.
    pub document: Value,
    /// What a deployment goes by.
    pub facts: AppFacts,
}

impl Marathon {
    pub fn new(flags: &Flags, around: &Surroundings) -> Result<Marathon, Ending> {
        let tls = TlsConfig { ca_file: flags.ca_file.clone(), ..TlsConfig::default() };
        let auth = auth(flags, around)?;
        let rest = Rest::new(&flags.marathon, &tls, &auth, TIMEOUT)
            .map_err(|e| Ending::Usage(format!("Marathon: {e}")))?;
        Ok(Marathon { rest, url: flags.marathon.trim_end_matches('/').to_owned() })
    }

    /// All apps, without nulls.
    pub async fn apps(&self) -> Result<Vec<Value>, Ending> {
        let reply = self.get("/v2/apps").await?;
        let mut document: Value = serde_json::from_slice(&reply.body).map_err(|e| self.odd(&e))?;
        match document.get_mut("apps").map(Value::take) {
            Some(Value::Array(apps)) => Ok(apps.into_iter().map(without_nulls).collect()),
            _ => Err(self.odd(&"the answer is no list of apps")),
        }
    }

    /// An app with its tasks; `None` when there is none of this id.
    pub async fn app(&self, id: &str) -> Result<Option<Shown>, Ending> {
        let path = format!("/v2/apps{id}?embed=app.tasks&embed=app.deployments");
        let reply = match self.rest.get(&path).await {
            Ok(reply) => reply,
            Err(e) => return Err(self.odd(&e)),
        };
        match reply.status {
            200 => {}
            404 => return Ok(None),
            status => return Err(self.odd(&format!("{path} was answered with {status}"))),
        }
        let facts = answer::app(&reply.body).map_err(|e| self.odd(&e))?;
        let facts = facts.map_err(|e| self.odd(&e.reason))?;
        let mut document: Value = serde_json::from_slice(&reply.body).map_err(|e| self.odd(&e))?;
        let document = document.get_mut("app").map(Value::take).unwrap_or_default();
        Ok(Some(Shown { document: without_nulls(document), facts }))
    }

    /// Creates an app.
    pub async fn create(&self, document: &Value) -> Ordered {
        self.order(Method::POST, "/v2/apps", Some(document.to_string())).await
    }

    /// Kills tasks and lowers their app's number by as many.
    pub async fn kill(&self, ids: &[String], force: bool) -> Ordered {
        let path = format!("/v2/tasks/delete?scale=true{}", forced(force));
        self.order(Method::POST, &path, Some(json!({"ids": ids}).to_string())).await
    }

    /// Changes how many tasks an app has.
    pub async fn scale(&self, id: &str, instances: u32, force: bool) -> Ordered {
        let path = format!("/v2/apps{id}?force={force}");
        self.order(Method::PUT, &path, Some(json!({"instances": instances}).to_string())).await
    }

    /// Deletes an app with its tasks. One that is not there any more is deleted.
    pub async fn delete(&self, id: &str, force: bool) -> Ordered {
        let path = format!("/v2/apps{id}?force={force}");
        self.order(Method::DELETE, &path, None).await
    }

    async fn get(&self, path: &str) -> Result<Reply, Ending> {
        let reply = self.rest.get(path).await.map_err(|e| self.odd(&e))?;
        match reply.status {
            200 => Ok(reply),
            401 | 403 => Err(self.odd(&"it wants other credentials")),
            status => Err(self.odd(&format!("{path} was answered with {status}"))),
        }
    }

    async fn order(&self, method: Method, path: &str, body: Option<String>) -> Ordered {
        let delete = method == Method::DELETE;
        match self.rest.send(method, path, body).await {
            Ok(Reply { status: 200..300, .. }) => Ordered::Taken,
            Ok(Reply { status: 404, .. }) if delete => Ordered::Taken,
            Ok(Reply { status: 409, body }) => Ordered::Locked(message(409, &body)),
            Ok(Reply { status: status @ 502..=504, body }) => {
                Ordered::Unheard(message(status, &body))
            }
            Ok(Reply { status, body }) => Ordered::Refused(message(status, &body)),
            Err(e) => Ordered::Unheard(e.to_string()),
        }
    }

    fn odd(&self, reason: &dyn std::fmt::Display) -> Ending {
        Ending::Marathon(format!("Marathon at {}: {reason}", self.url))
    }
}

fn forced(force: bool) -> &'static str {
    if force { "&force=true" } else { "" }
}

/// What Marathon says about a refusal.
fn message(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = body["message"].as_str().unwrap_or("no reason given");
    match body.get("details") {
        Some(details) => format!("Marathon answered {status}: {text} {details}"),
        None => format!("Marathon answered {status}: {text}"),
    }
}

/// The first of file, flag and DC/OS's account, as with zdd.py.
fn auth(flags: &Flags, around: &Surroundings) -> Result<Auth, Ending> {
    let account = flags.account.as_deref().or_else(|| around.variable(ACCOUNT_VARIABLE));
    let auth = match (&flags.credential_file, &flags.credentials, account) {
        (Some(file), ..) => Auth::basic_from_file(file),
        (_, Some(text), _) => Auth::basic(text),
        (_, _, Some(json)) => Auth::dcos(json),
        _ => Ok(Auth::None),
    };
    auth.map_err(|e| Ending::Refused(e.to_string()))
}
