//! The program that is asked before tasks are killed.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::ending::Ending;

/// Runs it with the old app, the ids of the tasks and the new app, each as JSON. What it writes goes
/// where this program's own words go.
pub async fn run(hook: &Path, old: &Value, kill: &[String], new: &Value) -> Result<(), Ending> {
    let name = hook.display();
    let status = Command::new(hook)
        .arg(old.to_string())
        .arg(json!(kill).to_string())
        .arg(new.to_string())
        .stdin(Stdio::null())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Ending::Hook(format!("the hook {name} ended with {status}"))),
        Err(e) => Err(Ending::Hook(format!("the hook {name} does not run: {e}"))),
    }
}
