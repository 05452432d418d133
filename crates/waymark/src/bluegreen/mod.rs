//! `waymark zdd` and `waymark bluegreen`: an app deployed as two alternating colours.
//!
//! ```text
//! flags, document ─► prepare ─► create ─► drive: look ─► waymark_bluegreen::Conduct ─► orders
//!                                           ▲ Marathon, balancers                └──► exit code
//! ```
//!
//! What is decided is decided in `waymark_bluegreen`; here it is asked for and carried out. Everything
//! that a deployment needs to go on is in Marathon, so nothing is written anywhere else.

mod balancers;
mod drive;
mod ending;
mod flags;
mod hook;
mod marathon;
mod talk;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ArgMatches;
use serde_json::Value;
use waymark_bluegreen::{self as engine, Direction, Plan, number_label};

use crate::settings::Surroundings;
use crate::terminal;
use balancers::Balancers;
use drive::{Colours, Drive};
use ending::Ending;
use flags::{Flags, Going};
pub use flags::{Kind, command};
use marathon::{Marathon, Ordered};
use talk::Talk;

const TARGET: &str = "HAPROXY_DEPLOYMENT_TARGET_INSTANCES";
const NEW_INSTANCES: &str = "HAPROXY_DEPLOYMENT_NEW_INSTANCES";

/// The most steps of a deployment that are shown before it begins.
const SHOWN_STEPS: usize = 30;

/// Runs one of the two commands.
pub fn run(kind: Kind, matches: &ArgMatches, around: &Surroundings) -> ExitCode {
    if matches.get_flag("longhelp") {
        terminal::print(&command(kind).render_long_help().to_string());
        return ExitCode::SUCCESS;
    }
    let flags = flags::read(kind, matches);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            let ending = Ending::Usage(format!("cannot start: {e}"));
            terminal::note(&format!("error: {ending}"));
            return (&ending).into();
        }
    };
    let ended = runtime.block_on(deploy(&flags, around));
    // A question that nobody has answered may still wait for a line.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => {
            terminal::note(&format!("error: {ending}"));
            (&ending).into()
        }
    }
}

async fn deploy(flags: &Flags, around: &Surroundings) -> Result<(), Ending> {
    let document = document(flags)?;
    let marathon = Marathon::new(flags, around)?;
    let balancers = Balancers::new(&flags.balancers)?;
    let mut talk = Talk::new(flags);
    let group = engine::group(&document).unwrap_or_default();
    let members = engine::members(marathon.apps().await?, group);
    if members.len() > 2 {
        talk.note(&format!(
            "warning: {} apps are of the group {group}; only the last two are looked at",
            members.len()
        ));
    }
    if let Some((newer, older)) = engine::last_two(&members) {
        let (plan, colours) = under_way(flags, newer, older)?;
        talk.plan(&plan, &colours);
        if flags.dry_run {
            return Ok(());
        }
        return Drive::new(flags, &marathon, &balancers, &mut talk, colours).whole(plan).await;
    }
    if matches!(flags.going, Going::Current | Going::Previous) {
        return Err(Ending::Misfit(
            "--complete-cur and --complete-prev end a hybrid of two colours, and there are not two"
                .to_owned(),
        ));
    }
    begin(flags, document, engine::last(&members), (&marathon, &balancers), &mut talk).await
}

/// The document, which can be deployed.
fn document(flags: &Flags) -> Result<Value, Ending> {
    let file = flags.document.display().to_string();
    let wrong = |reason: String| Ending::Usage(format!("{file}: {reason}"));
    let text = fs::read_to_string(&flags.document).map_err(|e| wrong(e.to_string()))?;
    let document: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let document = engine::without_nulls(document);
    engine::validate(&document).map_err(|error| Ending::Document { file, error })?;
    Ok(document)
}

/// What is to be done about two colours that are there already.
fn under_way(flags: &Flags, newer: &Value, older: &Value) -> Result<(Plan, Colours), Ending> {
    let hybrid = match flags.going {
        Going::Anew => {
            return Err(Ending::Usage(format!(
                "{} and {} are both there: a deployment was interrupted or is a hybrid. --resume goes \
                 on, --complete-cur ends it with the newer colour, --complete-prev with the older",
                id(older),
                id(newer),
            )));
        }
        Going::Resume => number_label(newer, NEW_INSTANCES).filter(|new| *new > 0),
        Going::Current | Going::Previous => None,
    };
    let (new, old) = match flags.going {
        Going::Previous => (older, newer),
        _ => (newer, older),
    };
    let target = number_label(newer, TARGET).unwrap_or_else(|| instances(newer));
    let colours = Colours {
        force: flags.going == Going::Previous,
        can_go_back: flags.going == Going::Resume,
        ..Colours::new(new, old)
    };
    Ok((plan(flags, target, hybrid), colours))
}

/// A new deployment.
async fn begin(
    flags: &Flags,
    document: Value,
    last: Option<&Value>,
    (marathon, balancers): (&Marathon, &Balancers),
    talk: &mut Talk,
) -> Result<(), Ending> {
    let file = flags.document.display().to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wished = document.get("instances").and_then(Value::as_u64);
    let app = engine::prepare(document, last, flags.wanted, now)
        .map_err(|error| Ending::Document { file, error })?;
    let target = number_label(&app, TARGET).unwrap_or_default();
    let hybrid = number_label(&app, NEW_INSTANCES).filter(|new| *new > 0);
    let plan = plan(flags, target, hybrid);
    talk.document(&app, flags.dry_run);
    if let Some(last) = last {
        talk.plan(&plan, &Colours::new(&app, last));
        talk.warn(&app, wished.filter(|wished| *wished != u64::from(target)));
    }
    if flags.dry_run {
        return Ok(());
    }
    talk.first_question("Continue with deployment?").await?;
    if last.is_some() {
        let (_, troubles) = balancers.look("").await?;
        if !troubles.is_empty() {
            return Err(Ending::Balancer(format!("no statistics from {}", troubles.join("; "))));
        }
    }
    create(flags, marathon, talk, &app).await?;
    let Some(last) = last else {
        return match flags.kind {
            Kind::Zdd => Ok(()),
            Kind::BlueGreen => drive::until_deployed(flags, marathon, talk, id(&app)).await,
        };
    };
    let colours = Colours { can_go_back: true, ..Colours::new(&app, last) };
    Drive::new(flags, marathon, balancers, talk, colours).whole(plan).await
}

/// Creates the app. The one that had its id before may still be on its way out, which Marathon calls a
/// conflict.
async fn create(
    flags: &Flags,
    marathon: &Marathon,
    talk: &mut Talk,
    app: &Value,
) -> Result<(), Ending> {
    let begun = talk.elapsed();
    loop {
        match marathon.create(app).await {
            Ordered::Taken => {
                talk.progress(&format!("created {} with {} tasks", id(app), instances(app)));
                return Ok(());
            }
            Ordered::Locked(reason) => {
                let waited = talk.elapsed().saturating_sub(begun);
                let is_there = marathon.app(id(app)).await?.is_some();
                if is_there || waited >= flags.max_wait || talk.is_stopped() {
                    return Err(Ending::Create(reason));
                }
                talk.progress(&format!("{reason}; trying again"));
                talk.pause(drive::pause(flags)).await;
            }
            Ordered::Unheard(reason) => {
                let text = format!("{reason}. It may be there all the same; --resume goes on then");
                return Err(Ending::Create(text));
            }
            Ordered::Refused(reason) => return Err(Ending::Create(reason)),
        }
    }
}

fn plan(flags: &Flags, target: u32, hybrid: Option<u32>) -> Plan {
    Plan {
        target,
        hybrid,
        growth: flags.growth,
        max_wait: flags.max_wait,
        start_wait: flags.start_wait,
        direction: Direction::Forward,
    }
}

fn id(app: &Value) -> &str {
    app.get("id").and_then(Value::as_str).unwrap_or_default()
}

fn instances(app: &Value) -> u32 {
    let instances = app.get("instances").and_then(Value::as_u64);
    instances.map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// How long something has lasted, for people.
fn seconds(time: Duration) -> String {
    format!("{:>4}s", time.as_secs())
}
