//! How far the apps have got. Pure: the state in, rows out.

use waymark_control::State;
use waymark_model::{App, AppId};

/// One app on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The app.
    pub app: AppId,
    /// Tasks that are as they should be: healthy if there are health checks, else running.
    pub good: u32,
    /// Tasks wanted.
    pub wanted: u32,
    /// Whether the app has health checks.
    pub checked: bool,
    /// Whether nothing is left to be done for it.
    pub ready: bool,
    /// Why it is not ready, as far as that is known; may be empty.
    pub note: String,
}

/// All apps in order of their ids.
pub fn rows(state: &State) -> Vec<Row> {
    state.root.apps.values().map(|app| row(state, app)).collect()
}

fn row(state: &State, app: &App) -> Row {
    let counts = state.counts(&app.id);
    let checked = !app.health_checks.is_empty();
    let good = if checked { counts.healthy } else { counts.running };
    let deploying = state.deployments_of(&app.id).next().is_some();
    let ready = good >= app.instances && !deploying;
    let note = if ready { String::new() } else { note(state, app, counts.unhealthy) };
    Row { app: app.id.clone(), good, wanted: app.instances, checked, ready, note }
}

fn note(state: &State, app: &App, unhealthy: u32) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = state.waiting.get(&app.id) {
        parts.push(reason.to_string());
    }
    if let Some(cause) = unhealthy_cause(state, app).filter(|_| unhealthy > 0) {
        parts.push(format!("{unhealthy} unhealthy: {cause}"));
    }
    if let Some(failure) = state.failures.get(&app.id) {
        parts.push(format!("last failure: {}", failure.message));
    }
    parts.join("; ")
}

/// What a failing health check last found.
fn unhealthy_cause(state: &State, app: &App) -> Option<String> {
    let results = state.tasks_of(&app.id).flat_map(|task| task.health.iter().flatten());
    let failing = results.filter(|result| !result.alive);
    failing.filter_map(|result| result.last_failure_cause.clone()).next()
}

/// `2/3 healthy`, or `running` where nothing checks the health.
pub fn counted(row: &Row) -> String {
    let word = if row.checked { "healthy" } else { "running" };
    format!("{}/{} {word}", row.good, row.wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_say_what_they_count() {
        let app = AppId::parse("/a").unwrap();
        let row = Row { app, good: 1, wanted: 3, checked: true, ready: false, note: String::new() };
        assert_eq!(counted(&row), "1/3 healthy");
        assert_eq!(counted(&Row { checked: false, ..row }), "1/3 running");
    }
}
