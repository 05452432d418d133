//! The REST API as client commands see it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Request, Response};

use super::error::ClientError;

/// The longest answer read: the list of some ten thousand apps with their tasks fits.
const MAX_ANSWER_BYTES: u64 = 512 << 20;
/// The server answers or gives up before that.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A server on this machine or near accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A way to one server.
pub struct Api {
    base: String,
    agent: ureq::Agent,
}

/// What came back from a request that was accepted.
pub struct Reply {
    /// The body; `null` when it was empty.
    pub body: Value,
    /// The deployment it started.
    pub deployment: Option<String>,
    /// What the server warns of.
    pub warnings: Vec<String>,
}

impl Api {
    /// The server at this URL, such as `http://127.0.0.1:8080`.
    pub fn new(url: &str) -> Result<Api, ClientError> {
        if !url.starts_with("http://") {
            return Err(ClientError::Usage(format!(
                "{url:?} is not the URL of an API; write one such as http://127.0.0.1:8080"
            )));
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .allow_non_standard_methods(true)
            .max_redirects(3)
            .proxy(None)
            .build()
            .into();
        Ok(Api { base: url.trim_end_matches('/').to_owned(), agent })
    }

    /// The server's URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Gets a document.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        Ok(self.send("GET", path, None)?.body)
    }

    /// Gets the part of a document below `key` as typed values.
    pub fn list<T: DeserializeOwned>(&self, path: &str, key: &str) -> Result<Vec<T>, ClientError> {
        let mut document = self.get(path)?;
        typed(document.get_mut(key).map(Value::take).unwrap_or_default())
    }

    /// Makes a request with JSON in and out.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, ClientError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut response = self.run(method, path, body)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let deployment = header("Marathon-Deployment-Id");
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .filter_map(|value| warning_text(value.to_str().ok()?))
            .collect();
        let bytes = self.read(&mut response)?;
        if !response.status().is_success() {
            return Err(refusal(response.status().as_u16(), &bytes));
        }
        let body = if bytes.is_empty() { Value::Null } else { parse(&bytes)? };
        let deployment = deployment.or_else(|| Some(body["deploymentId"].as_str()?.to_owned()));
        Ok(Reply { body, deployment, warnings })
    }

    /// Gets bytes, and the number in a header.
    pub fn bytes(&self, path: &str, header: &str) -> Result<(Vec<u8>, u64), ClientError> {
        let mut response = self.run("GET", path, String::new())?;
        let value = response.headers().get(header).and_then(|v| v.to_str().ok()?.parse().ok());
        let bytes = self.read(&mut response)?;
        if !response.status().is_success() {
            return Err(refusal(response.status().as_u16(), &bytes));
        }
        Ok((bytes, value.unwrap_or(0)))
    }

    fn run(
        &self,
        method: &str,
        path: &str,
        body: String,
    ) -> Result<Response<ureq::Body>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Accept", "application/json, */*;q=0.1")
            .header("Content-Type", "application/json")
            .body(body)
            .map_err(|e| ClientError::Usage(format!("{}{path} is not a URL: {e}", self.base)))?;
        self.agent.run(request).map_err(|e| self.unreachable(&e))
    }

    fn read(&self, response: &mut Response<ureq::Body>) -> Result<Vec<u8>, ClientError> {
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        body.read_to_vec().map_err(|e| self.unreachable(&e))
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable { url: self.base.clone(), reason: error.to_string() }
    }
}

/// Reads JSON as typed values.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|e| strange(&e))
}

fn parse(bytes: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(bytes).map_err(|e| strange(&e))
}

fn strange(error: &serde_json::Error) -> ClientError {
    ClientError::Refused(format!("the server's answer is not understood: {error}"))
}

/// The server's message with the fields it names.
fn refusal(status: u16, body: &[u8]) -> ClientError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut text = match body["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("the server answered with status {status}"),
    };
    match &body["details"] {
        Value::String(details) => text.push_str(&format!("\n  {details}")),
        Value::Array(fields) => {
            for field in fields {
                let path = field["path"].as_str().unwrap_or("/");
                let errors = field["errors"].as_array().into_iter().flatten();
                for error in errors.filter_map(Value::as_str) {
                    text.push_str(&format!("\n  {path}: {error}"));
                }
            }
        }
        _ => {}
    }
    match status {
        400 => ClientError::BadRequest(text),
        404 => ClientError::NotFound(text),
        _ => ClientError::Refused(text),
    }
}

/// The text of a `Warning` header (RFC 7234 §5.5): what stands in quotes.
fn warning_text(value: &str) -> Option<String> {
    let (_, rest) = value.split_once('"')?;
    Some(rest.trim_end().strip_suffix('"')?.replace("\\\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_every_field() {
        let body = br#"{"message":"Object is not valid",
            "details":[{"path":"/cmd","errors":["a","b"]},{"path":"/id","errors":["c"]}]}"#;
        let error = refusal(422, body);
        assert_eq!(error.to_string(), "Object is not valid\n  /cmd: a\n  /cmd: b\n  /id: c");
        assert!(matches!(error, ClientError::Refused(_)));
        let missing = refusal(404, br#"{"message":"App '/x' does not exist"}"#);
        assert!(matches!(missing, ClientError::NotFound(text) if text.contains("'/x'")));
        assert_eq!(refusal(502, b"<html>").to_string(), "the server answered with status 502");
    }

    #[test]
    fn warnings_lose_their_envelope() {
        assert_eq!(warning_text(r#"299 waymark "port 1 \"x\"""#).as_deref(), Some("port 1 \"x\""));
        assert_eq!(warning_text("299"), None);
    }
}
