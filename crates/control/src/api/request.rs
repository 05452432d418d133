//! A request, read whole within its limits.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use waymark_marathon_api::ApiError;

use super::query::Query;

/// What a handler gets.
pub struct ApiRequest {
    /// The method; `HEAD` is answered like `GET`, the server leaves out the body.
    pub method: Method,
    /// Path and query as sent, for events.
    pub uri: String,
    /// The query, decoded.
    pub query: Query,
    /// The `Accept` header, all of its lines joined.
    pub accept: Option<String>,
    /// The client.
    pub peer: SocketAddr,
    /// The body.
    pub body: Bytes,
}

impl ApiRequest {
    /// Reads a request to its end; 413 when its body is longer than `limit` bytes.
    pub async fn read(
        request: http::Request<Incoming>,
        peer: SocketAddr,
        limit: usize,
    ) -> Result<ApiRequest, ApiError> {
        let (head, body) = request.into_parts();
        if body.size_hint().lower() > limit as u64 {
            return Err(ApiError::too_large(limit));
        }
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(ApiError::too_large(limit));
            }
            Err(error) => {
                return Err(ApiError::bad_request(format!("The body cannot be read: {error}")));
            }
        };
        let accept: Vec<&str> =
            head.headers.get_all(header::ACCEPT).iter().flat_map(|v| v.to_str()).collect();
        Ok(ApiRequest {
            accept: (!accept.is_empty()).then(|| accept.join(", ")),
            method: head.method,
            uri: head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            query: Query::parse(head.uri.query().unwrap_or_default()),
            peer,
            body,
        })
    }
}
