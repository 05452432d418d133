//! `/v2/queue`: apps whose tasks wait to be launched, and why.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use waymark_marathon_api::{ApiError, AppView};
use waymark_model::{App, Timestamp};

use super::answer::{self, Answer};
use super::{Api, app_id, now};
use crate::{Request, State};

/// One app that waits, with the fields of Marathon 1.5 to 1.8.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    app: AppView<'a>,
    /// How many tasks are still to be launched.
    count: u32,
    since: String,
    delay: DelayView,
    processed_offers_summary: OffersSummary,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DelayView {
    time_left_seconds: u64,
    /// No longer delayed: it waits for something else.
    overdue: bool,
}

/// There are no offers on one machine; the fields are there for clients that read them.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct OffersSummary {
    processed_offers_count: u32,
    unused_offers_count: u32,
    reject_summary_last_offers: [(); 0],
    reject_summary_launch_attempt: [(); 0],
}

/// `GET /v2/queue`
pub(super) fn list(api: &Api) -> Result<Answer, ApiError> {
    let state = api.handle.state();
    let now = now();
    let items = state.root.apps.values().filter_map(|app| item(&state, app, now));
    Ok(answer::json(StatusCode::OK, &BTreeMap::from([("queue", items.collect::<Vec<_>>())])))
}

/// `DELETE /v2/queue/{app}/delay`
pub(super) async fn reset_delay(api: &Api, app: &str) -> Result<Answer, ApiError> {
    let id = app_id(app)?;
    {
        let state = api.handle.state();
        let queued = state.app(&id).is_some_and(|app| waiting_count(&state, app) > 0);
        if !queued {
            return Err(ApiError::not_queued(&id));
        }
    }
    api.submit(Request::ResetDelay(id)).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn item<'a>(state: &State, app: &'a App, now: Timestamp) -> Option<Item<'a>> {
    let count = waiting_count(state, app);
    let delay = state.delays.get(&app.id);
    let left = delay.map_or(0, |d| (d.reference + d.delay).since(now).as_millis().div_ceil(1000));
    (count > 0).then(|| Item {
        app: AppView::plain(app),
        count,
        since: delay.map_or(app.version, |d| d.reference).to_string(),
        delay: DelayView {
            time_left_seconds: u64::try_from(left).unwrap_or(u64::MAX),
            overdue: left == 0,
        },
        processed_offers_summary: OffersSummary::default(),
    })
}

/// How many tasks the app lacks.
fn waiting_count(state: &State, app: &App) -> u32 {
    let there = state.tasks.get(&app.id).map_or(0, |tasks| tasks.len());
    app.instances.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use waymark_model::AppId;

    use super::*;

    #[test]
    fn shape() {
        let app = App::new(AppId::parse("/a").unwrap());
        let item = Item {
            app: AppView::plain(&app),
            count: 2,
            since: Timestamp(0).to_string(),
            delay: DelayView { time_left_seconds: 3, overdue: false },
            processed_offers_summary: OffersSummary::default(),
        };
        let text = waymark_marathon_api::to_text(&item);
        assert!(text.starts_with(r#"{"app":{"id":"/a""#), "{text}");
        let rest = r#","count":2,"since":"1970-01-01T00:00:00.000Z","delay":{"timeLeftSeconds":3,"overdue":false},"processedOffersSummary":{"processedOffersCount":0,"unusedOffersCount":0,"rejectSummaryLastOffers":[],"rejectSummaryLaunchAttempt":[]}}"#;
        assert!(text.ends_with(rest), "{text}");
    }
}
