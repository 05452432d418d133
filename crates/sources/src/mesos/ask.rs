//! Questions to masters, all of them by HTTP or all by HTTPS.

use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use waymark_mesos_api::HostPort;

use super::error::Trouble;
use crate::client::{self, Ask, Origin};

/// Asks masters.
pub(crate) struct Client {
    pub http: client::Client,
    /// By HTTPS.
    pub secure: bool,
}

/// An answer and the master that gave it.
pub(crate) struct Answer {
    pub from: HostPort,
    pub response: Response<Incoming>,
}

/// A call of the v1 operator API.
pub(crate) fn call(body: &'static str) -> Ask {
    Ask::post("/api/v1", Bytes::from_static(body.as_bytes()))
}

impl Client {
    /// Asks `master`, and those to whom it sends on. Only answers with status 200 come back.
    /// `known` are the masters that may see the credentials.
    pub async fn ask(
        &self,
        master: &HostPort,
        ask: &Ask,
        known: &[HostPort],
    ) -> Result<Answer, Trouble> {
        let answer = self.http.ask(&self.origin(master), ask, &self.origins(known)).await?;
        Ok(Answer { from: answer.from.at, response: answer.response })
    }

    /// The answer to a request for a document, whole.
    pub async fn fetch(
        &self,
        master: &HostPort,
        ask: &Ask,
        known: &[HostPort],
        within: Duration,
    ) -> Result<(HostPort, Vec<u8>), Trouble> {
        let known = self.origins(known);
        let (from, body) = self.http.fetch(&self.origin(master), ask, &known, within).await?;
        Ok((from.at, body))
    }

    fn origin(&self, master: &HostPort) -> Origin {
        Origin { secure: self.secure, at: master.clone() }
    }

    fn origins(&self, masters: &[HostPort]) -> Vec<Origin> {
        masters.iter().map(|master| self.origin(master)).collect()
    }
}
