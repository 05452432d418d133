//! `waymark lb --dry`: prints what would be routed, and ends. Nothing is listened on, and the data
//! folder stays as it is, so it may be asked beside a balancer that runs.

use std::time::Duration;

use clap::{Arg, ArgAction};
use tokio::time::sleep;
use tracing::warn;
use waymark_catalog::Writer;
use waymark_proxy::{admin, routes_of};
use waymark_sources::marathon::MarathonSource;

use crate::balancer;
use crate::client::routes;
use crate::exit::Exit;
use crate::fronts::Fronts;
use crate::settings::Loaded;
use crate::terminal;

/// How long Marathon has to tell its apps.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often each Marathon is asked that cannot be reached or makes no sense.
const ATTEMPTS: u64 = 2;
/// How often it is looked how often that was.
const LOOK: Duration = Duration::from_millis(20);

/// `--dry`, `-d`
pub fn arg() -> Arg {
    Arg::new("dry")
        .long("dry")
        .short('d')
        .action(ArgAction::SetTrue)
        .help("Print the routes that Marathon's apps would have, and end; nothing is listened on")
}

/// Asks Marathon once and prints what follows.
pub fn run(loaded: &Loaded, source: MarathonSource) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return terminal::fail(Exit::Failed, &format!("cannot start: {e}")),
    };
    let exit = runtime.block_on(show(loaded, source));
    // Look-ups of host names may still wait for a resolver that does not answer.
    runtime.shutdown_timeout(super::END_GRACE);
    exit
}

async fn show(loaded: &Loaded, source: MarathonSource) -> Exit {
    let (writer, mut reader) = Writer::new(0);
    let status = source.status();
    let following = tokio::spawn(source.run(writer));
    let attempts = ATTEMPTS * loaded.settings.marathon.0.len() as u64;
    let failing = async {
        while status.report().failures < attempts {
            sleep(LOOK).await;
        }
    };
    let told = tokio::select! {
        told = reader.changed() => told,
        () = failing => None,
        () = sleep(PATIENCE) => None,
    };
    following.abort();
    let Some(catalog) = told else {
        let reason = status.report().last_failure.unwrap_or_else(|| "it said nothing".to_owned());
        let text = format!("Marathon has not told its apps: {reason}");
        return terminal::fail(Exit::Unreachable, &text);
    };
    for (app, problem) in status.report().problems {
        warn!(%app, problem, "the app makes no sense");
    }
    let fronts = Fronts::wanted(loaded);
    let config = balancer::proxy_config(loaded, &fronts, fronts.numbers().collect());
    let table = routes_of(&config, catalog.clone());
    let mut text = format!(
        "{} apps of {}: {} services, {} host names\n\n",
        catalog.apps.len(),
        loaded.settings.marathon.0.join(", "),
        table.pools.values().filter(|pool| pool.id.shared.is_none()).count(),
        table.hosts.len(),
    );
    text.push_str(&routes::table(&admin::preview(&table), usize::MAX));
    text.push_str(&routes::troubles(&admin::quarantine(&table)));
    terminal::print(&text)
}
