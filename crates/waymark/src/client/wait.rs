//! Waiting for a deployment: done is when the server no longer lists it.

use std::time::{Duration, Instant};

use super::api::{Api, typed};
use super::error::ClientError;
use super::view::{App, Deployment};
use crate::terminal;

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(200);

/// Waits until the deployment is done; tells on stderr how far it has got.
pub fn wait(api: &Api, deployment: &str, timeout: Duration) -> Result<(), ClientError> {
    let started = Instant::now();
    let mut told = String::new();
    loop {
        let all: Vec<Deployment> = typed(api.get("/v2/deployments")?)?;
        let Some(running) = all.into_iter().find(|d| d.id == deployment) else { return Ok(()) };
        let progress = progress(api, &running)?;
        if progress != told {
            terminal::note(&progress);
            told = progress;
        }
        if started.elapsed() >= timeout {
            return Err(ClientError::TimedOut(format!(
                "not done after {timeout:?}: {told}; it goes on, `waymark app list` shows how far"
            )));
        }
        std::thread::sleep(POLL);
    }
}

fn progress(api: &Api, deployment: &Deployment) -> Result<String, ClientError> {
    let mut parts = Vec::new();
    for action in &deployment.current_actions {
        let counts = match api.get(&format!("/v2/apps{}", action.app)) {
            Ok(mut document) => {
                let app: App = typed(document["app"].take())?;
                format!(" ({} good)", app.good_of_wanted())
            }
            // It is being removed.
            Err(ClientError::NotFound(_)) => String::new(),
            Err(error) => return Err(error),
        };
        parts.push(format!("{} {}{counts}", verb(&action.action), action.app));
    }
    let (step, steps) = (deployment.current_step, deployment.total_steps);
    Ok(format!("step {step} of {steps}: {}", parts.join(", ")))
}

fn verb(action: &str) -> &str {
    match action {
        "StartApplication" => "creating",
        "StopApplication" => "removing",
        "ScaleApplication" => "scaling",
        "RestartApplication" => "replacing tasks of",
        other => other,
    }
}
